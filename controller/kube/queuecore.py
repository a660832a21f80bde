"""The work queue without waiting: sets, an order, a heap of delays. Pure; time is an argument.

Guarantee: a key is handed out to one worker at a time; a key that is added while it is being worked on
is handed out again afterwards; adding a key that waits changes nothing but can make it earlier or more
urgent. Ready keys go first in, first out within their priority, and a held key holds nobody up. The
urgent go first, but every :data:`FAIR_TURN`-th take is the oldest ready key whatever its priority: no
key waits for more than that many takes for each one that was ready before it.

Non-guarantee: order across priorities. Strict priority would be simpler, and would starve the rest of a
first list for as long as changes keep coming.

Invariants, asserted by :meth:`QueueCore.check`: ready ⊆ dirty, ready ∩ processing = ∅,
delayed ∩ ready = ∅.
"""

from __future__ import annotations

import heapq
import itertools
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K", bound=Hashable)

FAIR_TURN = 8
"""Every so many takes the oldest ready key is next."""


class Priority(IntEnum):
    """How urgent a key is; merging keeps the higher one."""

    LOW = -100
    """Nothing happened that we know of: a first list, a look for its own sake."""
    NORMAL = 0

    # An Enum hashes its name, in Python, and every add asks for it twice.
    __hash__ = int.__hash__


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the queue looks like now, and what went through it."""

    ready: int
    low: int
    """How many of the ready ones have a low priority."""
    delayed: int
    processing: int
    adds: int
    longest_running: float
    unfinished_seconds: float
    shut_down: bool


class Taken(NamedTuple, Generic[K]):
    """A key in hand, and how long it was ready before."""

    key: K
    waited: float


class _Held(NamedTuple):
    since: float
    priority: Priority


class QueueCore(Generic[K]):
    """See the module; every method is one step, and none waits."""

    def __init__(self) -> None:
        # Of a dict the first key is searched for among the places of all that went before it: the last of
        # fifty thousand that were there at once took a hundred times as long as the first.
        self._ready: dict[Priority, OrderedDict[K, tuple[float, int]]] = {
            level: OrderedDict() for level in sorted(Priority, reverse=True)
        }
        """Ready keys in their order, the most urgent first: since when, and their place in the order in
        which keys got ready at their priority."""
        self._dirty: dict[K, Priority] = {}
        self._processing: dict[K, _Held] = {}
        self._due: dict[K, tuple[float, Priority]] = {}
        self._heap: list[tuple[float, int, K]] = []
        """By due time; an entry that ``_due`` no longer agrees with is skipped when it surfaces."""
        self._order = itertools.count()
        self._adds = 0
        self._takes = 0
        self.shut_down = False

    def add(self, key: K, now: float, priority: Priority = Priority.NORMAL) -> None:
        """The key needs work; after :meth:`shutdown` ignored."""
        if self.shut_down:
            return
        self._adds += 1
        # One pending run is enough: the work looks at the whole state, so a delayed run is included.
        if self._due and (delayed := self._due.pop(key, None)) is not None:
            priority = max(priority, delayed[1])
        before = self._dirty.get(key)
        if before is not None and before >= priority:
            return
        self._dirty[key] = priority
        if key in self._processing:
            return
        if before is None:
            self._ready[priority][key] = (now, next(self._order))
        else:
            self._make_ready(key, before, priority, now)

    def merge(self, key: K, priority: Priority = Priority.NORMAL) -> bool:
        """Whether an :meth:`add` would change nothing, which most of a storm's do; it is counted then."""
        before = self._dirty.get(key)
        if before is None or before < priority or self.shut_down:
            return False
        self._adds += 1
        return True

    def _make_ready(self, key: K, before: Priority | None, priority: Priority, now: float) -> None:
        # Who becomes urgent goes behind the urgent that are there, but its waiting time goes on.
        old = self._ready[before].pop(key) if before is not None else None
        self._ready[priority][key] = (old[0] if old else now, next(self._order))

    def add_after(self, key: K, delay: float, now: float, priority: Priority | None = None) -> None:
        """The key needs work in ``delay`` seconds; the earliest wish per key wins.

        Without a priority it keeps the one that it is in hand with.
        """
        if priority is None:
            held = self._processing.get(key)
            priority = held.priority if held else Priority.NORMAL
        if delay <= 0 or key in self._dirty:
            # Already ready means earlier. Dirty while in hand does too: `done` makes it ready at once.
            self.add(key, now, priority)
            return
        if self.shut_down:
            return
        due = now + delay
        before = self._due.get(key, (float("inf"), priority))
        self._due[key] = min(due, before[0]), max(priority, before[1])
        if due < before[0]:
            heapq.heappush(self._heap, (due, next(self._order), key))
            self._compact()

    def _compact(self) -> None:
        # A key that is added long before its due time leaves its entry behind; without this, one that
        # is requeued for an hour and wakes every second would leave thousands.
        if len(self._heap) > 2 * len(self._due) + 64:
            self._heap = [(due, next(self._order), key) for key, (due, _) in self._due.items()]
            heapq.heapify(self._heap)

    def take(self, now: float) -> Taken[K] | None:
        """The next ready key; its dirty mark is cleared first, so a change during the work counts."""
        if self._heap:
            self.advance(now)
        levels = [level for level, keys in self._ready.items() if keys]
        if not levels:
            return None
        self._takes += 1
        level = min(levels, key=self._head) if self._takes % FAIR_TURN == 0 else levels[0]
        key, (since, _) = self._ready[level].popitem(last=False)
        self._processing[key] = _Held(now, self._dirty.pop(key))
        return Taken(key, now - since)

    def _head(self, level: Priority) -> int:
        return next(iter(self._ready[level].values()))[1]

    def done(self, key: K, now: float) -> float:
        """The work on a taken key ended; returns how long it was in hand."""
        if key not in self._processing:
            raise ValueError(f"{key!r} is not being processed")
        seconds = now - self._processing.pop(key).since
        if key in self._dirty:
            self._make_ready(key, None, self._dirty[key], now)
        return seconds

    def advance(self, now: float) -> None:
        """Move what is due to the ready keys."""
        while self._heap and self._heap[0][0] <= now:
            due, _, key = heapq.heappop(self._heap)
            wish = self._due.get(key)
            if wish is not None and wish[0] == due:
                self.add(key, now, wish[1])

    def next_due(self) -> float | None:
        """When :meth:`advance` will find something."""
        while self._heap and self._due.get(self._heap[0][2], (None,))[0] != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def shutdown(self) -> None:
        """Accept nothing more, and drop what is delayed: a process that ends will not see it through."""
        self.shut_down = True
        self._due.clear()
        self._heap.clear()

    def statistics(self, now: float) -> Statistics:
        """A snapshot."""
        running = [now - held.since for held in self._processing.values()]
        return Statistics(
            ready=sum(map(len, self._ready.values())),
            low=len(self._ready[Priority.LOW]),
            delayed=len(self._due),
            processing=len(running),
            adds=self._adds,
            longest_running=max(running, default=0.0),
            unfinished_seconds=sum(running),
            shut_down=self.shut_down,
        )

    def check(self) -> None:
        """Assert the invariants."""
        levels = {key: level for level, keys in self._ready.items() for key in keys}
        ready, held, delayed = set(levels), set(self._processing), set(self._due)
        assert len(levels) == sum(map(len, self._ready.values())), "a key is ready twice"
        assert all(self._dirty.get(key) == level for key, level in levels.items()), "a priority is lost"
        assert ready <= set(self._dirty), "a ready key is not dirty"
        assert not ready & held, "a key is ready and in hand"
        assert not ready & delayed, "a key is ready and delayed"
        assert set(self._dirty) <= ready | held, "a dirty key is lost"
