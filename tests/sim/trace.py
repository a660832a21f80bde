"""What happened in a run, as lines of time, actor and effect; their digest tells one run from another."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterator

KEPT = 400


class Violation(AssertionError):
    """Something that must never be, or that had to come and did not."""


class Trace:
    """Every effect counts for the digest; the last ones are kept to be shown."""

    def __init__(self, now: Callable[[], float], *, keep: int = KEPT) -> None:
        self._now = now
        self._last: deque[str] = deque(maxlen=keep)
        self._closed = False
        self._hash = hashlib.sha256()
        self.violation: Violation | None = None
        """The first, which ends the run: whoever runs at that moment may catch what is raised."""
        self.counts: Counter[str] = Counter()
        """Of what is worth a summary, by name."""

    def add(self, actor: str, effect: str) -> None:
        """Something happened now."""
        if self._closed:
            return
        line = f"{self._now():11.4f}  {actor:<8} {effect}"
        self._last.append(line)
        self._hash.update(line.encode())

    def note(self, actor: str, effect: str) -> None:
        """As :meth:`add`, for people only: what is said must not decide whether two runs are the same."""
        self._last.append(f"{self._now():11.4f}  {actor:<8} · {effect}")

    def fail(self, actor: str, what: str) -> Violation:
        """The violation to raise, which is the last line of the trace too."""
        self.add(actor, f"VIOLATION: {what}")
        violation = Violation(what)
        self.violation = self.violation or violation
        return violation

    def close(self) -> None:
        """Nothing counts any more."""
        self._closed = True

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:16]

    def lines(self) -> Iterator[str]:
        """The last lines, oldest first."""
        yield from self._last
