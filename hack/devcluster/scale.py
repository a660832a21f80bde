"""``autoscaling/v1`` Scale: one number of an object through a door of its own."""

from __future__ import annotations

from collections.abc import Callable

from hack.devcluster.errors import bad_request
from hack.devcluster.jsonpath import find
from hack.devcluster.kinds import Version
from hack.devcluster.objects import Obj, copy, dig
from hack.devcluster.selectors import to_text


def of(version: Version, obj: Obj) -> Obj:
    metadata = obj["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    selector = _first(version.scale.get("labelSelectorPath", ""), obj)
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in kept if name in metadata},
        "spec": {"replicas": _first(version.scale["specReplicasPath"], obj) or 0},
        "status": {
            "replicas": _first(version.scale["statusReplicasPath"], obj) or 0,
            "selector": to_text(selector) if isinstance(selector, dict) else selector or "",
        },
    }


def replacing(version: Version, wanted: Obj) -> Callable[[Obj], Obj]:
    replicas = dig(wanted, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or replicas < 0:
        raise bad_request("spec.replicas must be a number that is not negative")

    def change(obj: Obj) -> Obj:
        new: Obj = copy(obj)
        *parents, last = version.scale["specReplicasPath"].lstrip(".").split(".")
        place = new
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = replicas
        if asked := dig(wanted, "metadata", "resourceVersion"):
            new["metadata"]["resourceVersion"] = asked
        return new

    return change


def patching(version: Version, change: Callable[[Obj], Obj]) -> Callable[[Obj], Obj]:
    return lambda obj: replacing(version, change(of(version, obj)))(obj)


def _first(path: str, obj: Obj) -> object:
    found = find(path, obj) if path else []
    return found[0] if found else None
