"""Which Events are worth a request: counting what repeats, merging what is alike, limiting what floods. Pure.

Guarantee: the same event again within the window becomes a higher count on the same Event object; many
that differ in their message only become one combined Event; an object that floods is cut to a burst and
then a trickle. Memory is bounded, oldest first.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Generic, Literal, TypeVar

from controller.kube.ratelimit import TokenBucket

V = TypeVar("V")

SAME_SECONDS = 360.0
ALIKE_SECONDS = 600.0
ALIKE_LIMIT = 10
BURST, TRICKLE_PER_SECOND = 25, 1.0 / 300.0
REMEMBERED = 4096
MESSAGE_LIMIT = 1024
"""The API server refuses longer ones."""


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What an Event is about."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something to tell about an object."""

    ref: ObjectRef
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An Event object: the first time makes it, later ones raise its count."""

    name: str
    happening: Happening
    count: int
    first: float
    last: float


class _Remembered(Generic[V]):
    """The newest so many values."""

    def __init__(self) -> None:
        self._values: OrderedDict[object, V] = OrderedDict()

    def get(self, key: object) -> V | None:
        return self._values.get(key)

    def put(self, key: object, value: V) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > REMEMBERED:
            self._values.popitem(last=False)

    def __len__(self) -> int:
        return len(self._values)


class Correlator:
    """Feed it everything that happens; it says what to write."""

    def __init__(self) -> None:
        self._entries: _Remembered[Entry] = _Remembered()
        self._alike: _Remembered[tuple[float, frozenset[str]]] = _Remembered()
        self._buckets: _Remembered[TokenBucket] = _Remembered()

    def observe(self, happening: Happening, now: float) -> Entry | None:
        """What to write, or None when this object has said too much already."""
        happening = replace(happening, message=_fitting(happening.message))
        if not self._allowed(happening.ref, now):
            return None
        happening = self._merged(happening, now)
        key = _key(happening)
        before = self._entries.get(key)
        if before is None or now - before.last > SAME_SECONDS:
            entry = Entry(_name(happening, now), happening, 1, now, now)
        else:
            entry = replace(before, count=before.count + 1, last=now)
        self._entries.put(key, entry)
        return entry

    def _allowed(self, ref: ObjectRef, now: float) -> bool:
        key = replace(ref, resource_version="")
        bucket = self._buckets.get(key) or TokenBucket(TRICKLE_PER_SECOND, BURST)
        self._buckets.put(key, bucket)
        return bucket.take(now)

    def _merged(self, happening: Happening, now: float) -> Happening:
        group = replace(_key(happening), message="")
        since, messages = self._alike.get(group) or (now, frozenset())
        if now - since > ALIKE_SECONDS:
            since, messages = now, frozenset()
        if len(messages) < ALIKE_LIMIT:
            messages |= {happening.message}
        self._alike.put(group, (since, messages))
        if len(messages) < ALIKE_LIMIT or happening.message in messages:
            return happening
        return replace(happening, message=f"(combined from similar events): {happening.reason}")


def _key(happening: Happening) -> Happening:
    """What makes two happenings the same: not the version that the object had at the time."""
    return replace(happening, ref=replace(happening.ref, resource_version=""))


def _fitting(message: str) -> str:
    encoded = message.encode()
    if len(encoded) <= MESSAGE_LIMIT:
        return message
    return encoded[: MESSAGE_LIMIT - 3].decode("utf-8", "ignore") + "…"


def _name(happening: Happening, now: float) -> str:
    digest = hashlib.sha256(repr((happening, now)).encode()).hexdigest()[:16]
    return f"{happening.ref.name[:200].rstrip('.-')}.{digest}"
