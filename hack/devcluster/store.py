"""Versioned storage in memory: current objects, and the changes that led there, for a while.

Guarantee: one counter for everything; every change gets the next version; whoever reads changes from a
version gets exactly the later ones, in order, or is told that they are forgotten. A past state can be
listed as long as its changes are remembered.
Non-guarantee: nothing is checked here and nothing survives the process.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

import anyio

from hack.devcluster.errors import expired
from hack.devcluster.objects import GroupResource, Key, Obj, key_of

FIRST_VERSION = 100
"""Not 1, so that a client can ask for a version from before the beginning, as on every real cluster."""


@dataclass(frozen=True, slots=True)
class Change:
    """An object became another one; ``old`` is None when it was made, ``new`` when it went."""

    version: int
    old: Obj | None
    new: Obj | None
    last: Obj
    """The new object, or the one that went, carrying the version of its deletion."""

    @property
    def type(self) -> str:
        if self.old is None:
            return "ADDED"
        return "DELETED" if self.new is None else "MODIFIED"


class Store:
    """``history`` is how many changes of each resource are remembered."""

    def __init__(self, history: int = 5000) -> None:
        self.version = FIRST_VERSION
        self._history = history
        self._objects: defaultdict[GroupResource, dict[Key, Obj]] = defaultdict(dict)
        self._changes: defaultdict[GroupResource, deque[Change]] = defaultdict(deque)
        self._forgotten: defaultdict[GroupResource, int] = defaultdict(lambda: FIRST_VERSION)
        self._changed = anyio.Event()

    def get(self, gr: GroupResource, key: Key) -> Obj | None:
        return self._objects[gr].get(key)

    def put(self, gr: GroupResource, obj: Obj) -> Obj:
        """Takes ``obj`` over and gives it its version."""
        key = key_of(obj)
        old = self._objects[gr].get(key)
        self._stamp(obj)
        self._objects[gr][key] = obj
        self._record(gr, Change(self.version, old, obj, obj))
        return obj

    def remove(self, gr: GroupResource, key: Key, final: Obj | None = None) -> Obj:
        """``final`` is what the object was changed into by the very write that removes it."""
        old = self._objects[gr].pop(key)
        final = final or old
        last = {**final, "metadata": dict(final["metadata"])}
        self._stamp(last)
        self._record(gr, Change(self.version, old, None, last))
        return last

    def list(self, gr: GroupResource, at: int | None = None) -> list[Obj]:
        """Objects by namespace and name, now or as of version ``at``. Raises ApiStatus(410)."""
        objects = self._objects[gr]
        if at is not None and at < self.version:
            objects = dict(objects)
            for change in reversed(self.changes(gr, at)):
                if change.old is None:
                    del objects[key_of(change.last)]
                else:
                    objects[key_of(change.last)] = change.old
        return [objects[key] for key in sorted(objects)]

    def changes(self, gr: GroupResource, since: int) -> Sequence[Change]:
        """The changes after ``since``. Raises ApiStatus(410) when some are forgotten."""
        if since < self._forgotten[gr]:
            raise expired(f"too old resource version: {since} ({self._forgotten[gr]})")
        found: list[Change] = []
        for change in reversed(self._changes[gr]):
            if change.version <= since:
                break
            found.append(change)
        return found[::-1]

    async def watch(self, gr: GroupResource, since: int) -> AsyncIterator[Change]:
        """The changes after ``since``, for ever. Raises ApiStatus(410) also for a reader that fell behind."""
        while True:
            signal = self._changed
            changes = self.changes(gr, since)
            for change in changes:
                since = change.version
                yield change
            if not changes:
                await signal.wait()

    @property
    def next_change(self) -> anyio.Event:
        """Set by the next change; taken before looking at the state, it misses nothing."""
        return self._changed

    async def wait_for_change(self) -> None:
        await self._changed.wait()

    def rewrite(self, gr: GroupResource, change: Callable[[Obj], Obj]) -> None:
        """Read every stored object in another way from now on: no new versions, nothing for watchers."""
        objects = self._objects[gr]
        for key, obj in objects.items():
            objects[key] = change(obj)

    def compact(self) -> None:
        """Forget all changes: every older version is expired from now on."""
        for gr in list(self._objects):
            self._changes[gr].clear()
            self._forgotten[gr] = self.version

    def _stamp(self, obj: Obj) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def _record(self, gr: GroupResource, change: Change) -> None:
        log = self._changes[gr]
        log.append(change)
        if len(log) > self._history:
            self._forgotten[gr] = log.popleft().version
        signal, self._changed = self._changed, anyio.Event()
        signal.set()
