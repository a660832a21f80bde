"""``events.k8s.io/v1`` and core ``v1`` are two spellings of one stored Event, as in a real cluster."""

from __future__ import annotations

from hack.devcluster.objects import GroupResource, Obj

ALIAS: GroupResource = ("events.k8s.io", "events")
STORED: GroupResource = ("", "events")
_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_BACK = {new: old for old, new in _NAMES.items()}


def from_stored(event: Obj) -> Obj:
    return {_NAMES.get(name, name): value for name, value in event.items()} | {
        "apiVersion": "events.k8s.io/v1"
    }


def to_stored(event: Obj) -> Obj:
    return {_BACK.get(name, name): value for name, value in event.items()} | {"apiVersion": "v1"}
