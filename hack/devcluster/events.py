"""Events of the node and the controllers, as ``kubectl describe`` shows them.

Guarantee: the same thing said again about the same object counts one Event up.
Non-guarantee: an Event is never the reason for anything to fail; one that the registry refuses is dropped.
"""

from __future__ import annotations

from typing import Literal

from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import Obj, copy, timestamp
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import EVENTS, name_of, namespace_of, now, short_hash, uid_of


def record(
    registry: Registry, about: Obj, kind: Literal["Normal", "Warning"], reason: str, message: str
) -> None:
    """``about`` must carry its apiVersion and kind."""
    namespace = namespace_of(about) or "default"
    name = f"{name_of(about)}.{short_hash(uid_of(about), reason, message)}"
    at = timestamp(now())
    try:
        known = copy(registry.get(EVENTS, namespace, name))
        registry.update(EVENTS, known | {"count": known.get("count", 1) + 1, "lastTimestamp": at})
        return
    except ApiStatus:
        pass
    try:
        registry.create(
            EVENTS, _new(about, namespace, name, at) | {"type": kind, "reason": reason, "message": message}
        )
    except ApiStatus:  # the namespace is going away
        return


def _new(about: Obj, namespace: str, name: str, at: str) -> Obj:
    source = "kubelet" if about["kind"] == "Pod" else f"{about['kind'].lower()}-controller"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "name": name_of(about),
            "namespace": namespace_of(about),
            "uid": uid_of(about),
        },
        "count": 1,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "source": {"component": source},
        "reportingComponent": source,
    }
