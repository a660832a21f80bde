"""The work queue without waiting: sets, an order, a heap of delays. Pure; time is an argument.

Guarantee: a key is handed out to one worker at a time; a key that is added while it is being worked on
is handed out again afterwards; adding a key that waits changes nothing but can make it earlier. Ready
keys go first in, first out, and a held key holds nobody up.

Invariants, asserted by :meth:`QueueCore.check`: ready ⊆ dirty, ready ∩ processing = ∅,
delayed ∩ ready = ∅.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the queue looks like now, and what went through it."""

    ready: int
    delayed: int
    processing: int
    adds: int
    longest_running: float
    unfinished_seconds: float
    shut_down: bool


@dataclass(frozen=True, slots=True)
class Taken(Generic[K]):
    """A key in hand, and how long it was ready before."""

    key: K
    waited: float


class QueueCore(Generic[K]):
    """See the module; every method is one step, and none waits."""

    def __init__(self) -> None:
        self._ready: dict[K, float] = {}
        """Ready keys in their order, with the time since when."""
        self._dirty: set[K] = set()
        self._processing: dict[K, float] = {}
        """Keys in hand, with the time since when."""
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        """By due time; an entry that ``_due`` no longer agrees with is skipped when it surfaces."""
        self._order = itertools.count()
        self._adds = 0
        self.shut_down = False

    def add(self, key: K, now: float) -> None:
        """The key needs work; after :meth:`shutdown` ignored."""
        if self.shut_down:
            return
        self._adds += 1
        # One pending run is enough: the work looks at the whole state, so a delayed run is included.
        self._due.pop(key, None)
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._processing:
            self._ready[key] = now

    def add_after(self, key: K, delay: float, now: float) -> None:
        """The key needs work in ``delay`` seconds; the earliest wish per key wins."""
        if delay <= 0:
            self.add(key, now)
            return
        # Already ready means earlier. Dirty while in hand does not: `done` makes it ready at once.
        if self.shut_down or key in self._dirty:
            return
        due = now + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._compact()

    def _compact(self) -> None:
        # A key that is added long before its due time leaves its entry behind; without this, one that
        # is requeued for an hour and wakes every second would leave thousands.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, next(self._order), key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def take(self, now: float) -> Taken[K] | None:
        """The oldest ready key; its dirty mark is cleared first, so a change during the work counts."""
        self.advance(now)
        if not self._ready:
            return None
        key = next(iter(self._ready))
        since = self._ready.pop(key)
        self._dirty.discard(key)
        self._processing[key] = now
        return Taken(key, now - since)

    def done(self, key: K, now: float) -> float:
        """The work on a taken key ended; returns how long it was in hand."""
        if key not in self._processing:
            raise ValueError(f"{key!r} is not being processed")
        seconds = now - self._processing.pop(key)
        if key in self._dirty:
            self._ready[key] = now
        return seconds

    def advance(self, now: float) -> None:
        """Move what is due to the ready keys."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            if self._due.get(key) == due:
                self.add(key, now)

    def next_due(self) -> float | None:
        """When :meth:`advance` will find something."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def shutdown(self) -> None:
        """Accept nothing more, and drop what is delayed: a process that ends will not see it through."""
        self.shut_down = True
        self._due.clear()
        self._heap.clear()

    def statistics(self, now: float) -> Statistics:
        """A snapshot."""
        running = [now - since for since in self._processing.values()]
        return Statistics(
            ready=len(self._ready),
            delayed=len(self._due),
            processing=len(running),
            adds=self._adds,
            longest_running=max(running, default=0.0),
            unfinished_seconds=sum(running),
            shut_down=self.shut_down,
        )

    def check(self) -> None:
        """Assert the invariants."""
        ready, held, delayed = set(self._ready), set(self._processing), set(self._due)
        assert ready <= self._dirty, "a ready key is not dirty"
        assert not ready & held, "a key is ready and in hand"
        assert not ready & delayed, "a key is ready and delayed"
        assert self._dirty <= ready | held, "a dirty key is lost"
