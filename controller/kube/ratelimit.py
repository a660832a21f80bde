"""How long a failing key waits: per key exponential with jitter, and one bucket over all keys. Pure.

Guarantee: :meth:`RateLimiter.when` counts a failure, so it is called once per failure; the longer of
the two delays wins. Non-guarantee: nothing sleeps here.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(slots=True)
class TokenBucket:
    """``rate`` a second on average and ``burst`` at once; beyond that, reservations into the future."""

    rate: float = 10.0
    burst: int = 100
    _tokens: float = 0.0
    _at: float | None = None

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.burst < 1:
            raise ValueError("a bucket needs a positive rate and a burst of at least one")

    def reserve(self, now: float) -> float:
        """Take a token and return the seconds until it is there."""
        self._refill(now)
        self._tokens -= 1.0
        return max(0.0, -self._tokens / self.rate)

    def take(self, now: float) -> bool:
        """Take a token if one is there."""
        self._refill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def _refill(self, now: float) -> None:
        refill = self.burst if self._at is None else (now - self._at) * self.rate
        self._tokens = min(float(self.burst), self._tokens + refill)
        self._at = now


class RateLimiter(Generic[K]):
    """``first``·2ⁿ seconds up to ``cap``, stretched by jitter, but at least what the bucket says."""

    def __init__(
        self,
        *,
        first: float = 0.5,
        cap: float = 300.0,
        stretch: float = 0.25,
        bucket: TokenBucket | None = None,
    ) -> None:
        if not 0 < first <= cap:
            raise ValueError("the first delay must be positive and not above the cap")
        self._first, self._cap, self._stretch = first, cap, stretch
        self._bucket = bucket or TokenBucket()
        self._failures: dict[K, int] = {}

    def when(self, key: K, now: float, jitter: float) -> float:
        """Note a failure of ``key`` and return its delay; ``jitter`` is in [0, 1)."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        delay = min(self._cap, self._first * 2.0 ** min(failures, 64)) * (1.0 + self._stretch * jitter)
        return max(delay, self._bucket.reserve(now))

    def failures(self, key: K) -> int:
        """Failures in a row."""
        return self._failures.get(key, 0)

    def forget(self, key: K) -> None:
        """It worked, or it is given up: the next failure is the first again."""
        self._failures.pop(key, None)

    def __len__(self) -> int:
        return len(self._failures)
