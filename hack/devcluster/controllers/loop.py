"""The loop that all controllers share: changes become keys, keys are reconciled one at a time.

Guarantee: after the last change of anything that a controller watches, it reconciles the key once more; a
refused write is tried again shortly after.
Non-guarantee: no rate limits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import anyio

from hack.devcluster.errors import ApiStatus
from hack.devcluster.following import follow
from hack.devcluster.objects import GroupResource, Key, Obj, key_of
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import controller_of, namespace_of

_RETRY_SECONDS = 0.2
_log = logging.getLogger(__name__)

KeysOf = Callable[[Obj], Iterable[Key]]


class Reconciler(Protocol):
    """One controller. It writes through the registry and never waits."""

    watches: Mapping[GroupResource, KeysOf]

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Bring the world one step nearer; seconds after which to look again, where time changes things."""


def itself(obj: Obj) -> Iterable[Key]:
    return [key_of(obj)]


def controlled_by(kind: str) -> KeysOf:
    """The key of the owner of that kind which controls an object."""

    def keys(obj: Obj) -> Iterable[Key]:
        owner = controller_of(obj)
        return [(namespace_of(obj), owner["name"])] if owner is not None and owner["kind"] == kind else []

    return keys


async def run_controller(registry: Registry, reconciler: Reconciler) -> None:
    """Run ``reconciler`` until cancelled."""
    loop = _Loop(reconciler)
    async with anyio.create_task_group() as group:
        for resource, keys in reconciler.watches.items():
            group.start_soon(loop.observe, registry, resource, keys)
        await loop.work()


class _Loop:
    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._due: dict[Key, float] = {}
        self._wake = anyio.Event()

    async def observe(self, registry: Registry, resource: GroupResource, keys: KeysOf) -> None:
        async for _, obj in follow(registry, resource):
            for key in keys(obj):
                self._due[key] = 0.0
            self._wake.set()

    async def work(self) -> None:
        while True:
            self._wake = anyio.Event()
            now = anyio.current_time()
            for key in [key for key, due in self._due.items() if due <= now]:
                del self._due[key]
                self._reconcile(key)
            earliest = min(self._due.values(), default=now + 3600)
            with anyio.move_on_after(max(earliest - anyio.current_time(), 0)):
                await self._wake.wait()

    def _reconcile(self, key: Key) -> None:
        try:
            after = self._reconciler.reconcile(*key)
        except ApiStatus as error:
            _log.debug("%s %s: %s", type(self._reconciler).__name__, key, error)
            after = _RETRY_SECONDS
        if after is not None:
            self._due.setdefault(key, anyio.current_time() + after)
