"""Follow a resource in the registry for ever.

Guarantee: the current objects first, then every change; a follower that fell too far behind gets what it
missed as the difference to what it saw last, deletions included.
Non-guarantee: it may miss states in between.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import uid_of


async def follow(registry: Registry, resource: GroupResource) -> AsyncIterator[tuple[str, Obj]]:
    """``ADDED``, ``MODIFIED`` and ``DELETED`` with the object."""
    seen: dict[str, Obj] = {}
    while True:
        objects, version = registry.list(resource)
        present = {uid_of(obj): obj for obj in objects}
        for uid in seen.keys() - present.keys():
            yield "DELETED", seen.pop(uid)
        for uid, obj in present.items():
            seen[uid] = obj
            yield "ADDED", obj
        try:
            async for kind, obj in registry.watch(resource, version):
                if kind == "DELETED":
                    seen.pop(uid_of(obj), None)
                else:
                    seen[uid_of(obj)] = obj
                yield kind, obj
        except ApiStatus as error:
            if error.code != 410:
                raise
