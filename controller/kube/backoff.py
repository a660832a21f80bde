"""How long to wait after a failure: exponential, jittered, forgotten after a quiet time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Backoff:
    """A value: :meth:`failed` returns the next one. The defaults are client-go's for list and watch."""

    first: float = 0.8
    factor: float = 2.0
    cap: float = 30.0
    quiet: float = 120.0
    """After so many seconds without a failure the next one counts as the first."""
    failures: int = 0
    last: float = float("-inf")

    def failed(self, now: float, jitter: float) -> tuple[Backoff, float]:
        """Note a failure; ``jitter`` in [0, 1) stretches the delay by up to its own length."""
        failures = 0 if now - self.last >= self.quiet else self.failures
        # The exponent is bounded, because a float overflows long before an outage must end.
        delay = min(self.cap, self.first * self.factor ** min(failures, 64))
        return replace(self, failures=failures + 1, last=now), delay * (1.0 + jitter)
