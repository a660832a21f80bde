"""What was written and a cache may not show yet: the memory that lets work read its own writes. Pure.

Guarantee: after :meth:`OwnWrites.wrote` and :meth:`OwnWrites.deleted`, :meth:`OwnWrites.look` names what
the caches lack until they have it, for this owner and nobody else; an owner that was made again under its
name starts with nothing. It fails open: what cannot be compared, what no cache can see and what does not
come for :data:`LIMIT_SECONDS` holds nobody up, and is counted. :meth:`OwnWrites.is_echo` tells the event
of an own write from everybody else's; one that overtakes the answer to its write is judged when that
arrives.

Non-guarantee: a write whose answer was lost is not remembered. Names, versions and uids make its
repetition harmless.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, Protocol, TypeVar

from controller.kube.resource import Resource
from controller.kube.versions import is_at_least

K = TypeVar("K", bound=Hashable)

LIMIT_SECONDS = 60.0
"""Longer than an informer is ever behind, and short enough for a mistake of ours to be survived."""
FIRST_LOOK_SECONDS, LAST_LOOK_SECONDS = 0.05, 5.0


class Place(NamedTuple):
    """Where an object is."""

    resource: Resource
    namespace: str
    name: str


class Views(Protocol):
    """What the caches show."""

    def version_of(self, resource: Resource, namespace: str) -> str | None:
        """The version that the cache of these objects is at; None when there is no such cache."""

    def shows(self, place: Place, uid: str) -> bool:
        """Whether this very object is there and not on its way out."""


class Sight(NamedTuple):
    """Whether an owner's own writes can be seen."""

    lacking: str
    """What the caches lack, in words; empty when nothing is."""
    again: float
    """After how many seconds to look again: as long as it took so far, within bounds."""
    given_up: int
    """How many writes were not waited for any longer."""


@dataclass(slots=True)
class _Writes:
    uid: str
    versions: dict[tuple[Resource, str], tuple[str, float]] = field(default_factory=dict)
    """By kind and namespace: the newest version written, and when."""
    objects: dict[Place, str] = field(default_factory=dict)
    deletions: dict[tuple[Place, str], float] = field(default_factory=dict)


@dataclass(slots=True)
class Write:
    """One that is under way; set ``version`` from its answer."""

    version: str = ""
    heard: set[str] = field(default_factory=set)
    """Versions of the object that events told of meanwhile."""


class OwnWrites(Generic[K]):
    """``wake`` is called for an owner when an event that waited for a write turned out to be no echo."""

    def __init__(self, wake: Callable[[K], None]) -> None:
        self._wake = wake
        self._of: dict[K, _Writes] = {}
        self._under_way: dict[tuple[K, Place], Write] = {}

    @contextlib.contextmanager
    def writing(self, key: K, uid: str, place: Place, clock: Callable[[], float]) -> Iterator[Write]:
        """Around a request that writes ``place`` on behalf of ``key``."""
        write = self._under_way[key, place] = Write()
        try:
            yield write
        finally:
            del self._under_way[key, place]
            if write.version:
                self.wrote(key, uid, place, write.version, clock())
            if write.heard - {write.version}:
                self._wake(key)

    def wrote(self, key: K, uid: str, place: Place, version: str, now: float) -> None:
        """The server answered a write with ``version``."""
        writes = self._writes(key, uid)
        scope = (place.resource, place.namespace)
        before = writes.versions.get(scope)
        if before is None or is_at_least(version, before[0]) is not False:
            writes.versions[scope] = (version, now)
        writes.objects[place] = version

    def deleted(self, key: K, uid: str, place: Place, object_uid: str, now: float) -> None:
        """The server accepted the deletion of exactly this object."""
        writes = self._writes(key, uid)
        writes.objects.pop(place, None)
        writes.deletions[place, object_uid] = now

    def forget(self, key: K) -> None:
        """The owner is gone."""
        self._of.pop(key, None)

    def look(self, key: K, uid: str, views: Views, now: float) -> Sight:
        """Whether the caches show all that was written for the owner; what they do is forgotten."""
        writes = self._of.get(key)
        if writes is None:
            return Sight("", 0.0, 0)
        if writes.uid != uid:
            # A namesake of an owner that is gone must not wait for what was written for that one.
            del self._of[key]
            return Sight("", 0.0, 0)
        behind = [*_behind(writes, views)]
        late = [since for _, since in behind if now - since < LIMIT_SECONDS]
        if not late:
            del self._of[key]
            return Sight("", 0.0, len(behind))
        waited = now - min(late)
        again = min(LAST_LOOK_SECONDS, max(FIRST_LOOK_SECONDS, waited))
        return Sight(", ".join(what for what, _ in behind), again, 0)

    def is_echo(self, key: K, place: Place, version: str) -> bool:
        """Whether an event that shows ``place`` at ``version`` tells ``key`` only what it did itself."""
        under_way = self._under_way.get((key, place))
        if under_way is not None:
            under_way.heard.add(version)
            return True
        writes = self._of.get(key)
        return writes is not None and writes.objects.get(place) == version

    def __len__(self) -> int:
        return len(self._of)

    def _writes(self, key: K, uid: str) -> _Writes:
        writes = self._of.get(key)
        if writes is None or writes.uid != uid:
            writes = self._of[key] = _Writes(uid)
        return writes


def _behind(writes: _Writes, views: Views) -> Iterator[tuple[str, float]]:
    for (resource, namespace), (version, since) in writes.versions.items():
        seen = views.version_of(resource, namespace)
        if seen is not None and is_at_least(seen, version) is False:
            yield f"{resource.plural} at {version}", since
    for (place, uid), since in writes.deletions.items():
        if views.shows(place, uid):
            yield f"the deletion of {place.resource.kind} {place.name}", since
