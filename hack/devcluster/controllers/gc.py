"""The garbage collector and the end of namespaces.

Guarantee: owners are known by uid; what lost its last owner is deleted; foreground deletion waits for
blocking dependents, orphaning cuts the references first; a namespace ends when it is empty.
Non-guarantee: everything is looked at after every change, which suits hundreds of objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress

import anyio

from hack.devcluster.errors import ApiStatus
from hack.devcluster.lifecycle import FOREGROUND, ORPHAN, without_finalizer
from hack.devcluster.objects import GroupResource, Obj, is_deleting, key_of
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import NAMESPACES, name_of, namespace_of, uid_of

_PAUSE_SECONDS = 0.05
Item = tuple[GroupResource, Obj]


class GarbageCollector:
    """Sweeps after changes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def run(self) -> None:
        while True:
            version = self._registry.version
            self.sweep()
            if self._registry.version == version:
                await self._registry.wait_for_change()
            await anyio.sleep(_PAUSE_SECONDS)

    def sweep(self) -> None:
        """Do once all that can be done now; what is refused is tried in the next sweep."""
        items = [(kind.gr, obj) for kind in self._registry.kinds for obj in self._registry.list(kind.gr)[0]]
        owners = {uid_of(obj): obj for _, obj in items}
        dependents: defaultdict[str, list[Item]] = defaultdict(list)
        for resource, obj in items:
            for reference in _references(obj):
                dependents[reference["uid"]].append((resource, obj))
            if _references(obj) and not is_deleting(obj):
                self._collect(resource, obj, owners)
        for resource, obj in items:
            if is_deleting(obj):
                self._finalize(resource, obj, dependents[uid_of(obj)])
            if is_deleting(obj) and resource == NAMESPACES:
                self._empty(obj, [each for each in items if namespace_of(each[1]) == name_of(obj)])

    def _collect(self, resource: GroupResource, obj: Obj, owners: dict[str, Obj]) -> None:
        """Delete ``obj`` when no owner is left, or when all that are left wait for it to go."""
        live = [owners[each["uid"]] for each in _references(obj) if each["uid"] in owners]
        waiting = [owner for owner in live if is_deleting(owner) and FOREGROUND in _finalizers(owner)]
        if len(live) == len(waiting):
            self._delete(resource, obj, "Foreground" if waiting else "Background")

    def _delete(self, resource: GroupResource, obj: Obj, propagation: str) -> None:
        with suppress(ApiStatus):
            self._registry.delete(
                resource, namespace_of(obj), name_of(obj), uid=uid_of(obj), propagation=propagation
            )

    def _finalize(self, resource: GroupResource, owner: Obj, dependents: list[Item]) -> None:
        finalizers = _finalizers(owner)
        if ORPHAN in finalizers:
            for kind, obj in dependents:
                self._disown(kind, obj, owner)
            self._drop_finalizer(resource, owner, ORPHAN)
        elif FOREGROUND in finalizers and not any(_blocks(obj, owner) for _, obj in dependents):
            self._drop_finalizer(resource, owner, FOREGROUND)

    def _disown(self, resource: GroupResource, obj: Obj, owner: Obj) -> None:
        rest = [each for each in _references(obj) if each["uid"] != uid_of(owner)]
        with suppress(ApiStatus):
            self._registry.modify(
                resource,
                key_of(obj),
                lambda old: old | {"metadata": old["metadata"] | {"ownerReferences": rest}},
            )

    def _drop_finalizer(self, resource: GroupResource, obj: Obj, finalizer: str) -> None:
        with suppress(ApiStatus):
            self._registry.modify(resource, key_of(obj), lambda old: without_finalizer(old, finalizer))

    def _empty(self, namespace: Obj, content: Iterable[Item]) -> None:
        left = list(content)
        for resource, obj in left:
            if not is_deleting(obj):
                self._delete(resource, obj, "Background")
        if not left and namespace["spec"].get("finalizers"):
            with suppress(ApiStatus):
                self._registry.update(
                    NAMESPACES, namespace | {"spec": {"finalizers": []}}, subresource="finalize"
                )


def _references(obj: Obj) -> list[Obj]:
    return obj["metadata"].get("ownerReferences") or []


def _finalizers(obj: Obj) -> list[str]:
    return obj["metadata"].get("finalizers") or []


def _blocks(obj: Obj, owner: Obj) -> bool:
    return any(each["uid"] == uid_of(owner) and each.get("blockOwnerDeletion") for each in _references(obj))
