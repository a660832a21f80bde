"""A simulated process's operator: the machinery as the real program puts it together, less its HTTP port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import anyio

from controller.kube import chance
from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.controller import Done, run_workers
from controller.kube.credentials import NoCredentials
from controller.kube.informer import Informer, wait_all_synced
from controller.kube.leader import LeaderElector
from controller.kube.supervisor import Life, Supervisor, run_until
from controller.kube.workqueue import WorkQueue
from hack.devcluster.objects import GroupResource
from hack.devcluster.store import Change
from tests.sim.checks import CacheCheck, Checks
from tests.sim.http import Incoming
from tests.sim.processes import Process
from tests.sim.widgets import Key, WidgetReconciler, build_caches

LEASE_NAMESPACE, LEASE_NAME = "default", "sim"
RECONCILE_SECONDS = 60.0
STOP_SECONDS = 15.0
WORKERS = 3


class Operator(Protocol):
    """One life of an operator; ``main`` is its program."""

    process: Process
    caches: list[CacheCheck]

    async def main(self) -> None: ...


class Surroundings(Protocol):
    """The world around operators: users and the cluster's own controllers."""

    observed: tuple[GroupResource, ...]
    """The kinds whose changes are checked."""

    def script(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When somebody does something, and what."""

    def do(self, what: str) -> None:
        """One step of the script; raises ApiStatus where it makes no sense any more."""

    def committed(self, request: Incoming | None, gr: GroupResource, change: Change) -> tuple[str, float]:
        """Checks a change; what the cluster's own controllers do about it, and after how long."""

    def follow(self, what: str) -> None:
        """Do it; raises ApiStatus when it is no longer there."""

    def unfinished(self) -> Iterator[str]:
        """What is not yet as its users want it."""


class WidgetOperator:
    """The operator of widgets."""

    def __init__(self, process: Process, checks: Checks) -> None:
        self.process, self._checks, self._trace = process, checks, checks.trace
        self.caches: list[CacheCheck] = []
        self._config = ClusterConfig("http://api", None, NoCredentials())
        self.elector = LeaderElector(
            self._config, namespace=LEASE_NAMESPACE, name=LEASE_NAME, identity=process.identity
        )
        self._queue: WorkQueue[Key] = WorkQueue("sim")
        checks.leadership.watch(process, lambda: self.elector.seconds_left() > 0)

    async def main(self) -> None:
        """As :func:`controller.app.main.run`."""
        fence = self.elector.seconds_left
        async with Client(self._config) as reader, Client(self._config, fence=fence) as writer:
            informers = build_caches(reader, self._queue, streamed=chance.jitter() < 0.5)
            self.caches = [
                CacheCheck(self._trace, self.process, informer, self._checks.deleted)
                for informer in informers
            ]
            reconcile = self._checks.work.watched(self.process, WidgetReconciler(writer, *informers))
            supervisor = Supervisor()
            supervisor.add("caches", lambda life: self._run_caches(life, informers))
            supervisor.add(
                "leader", lambda life: self._run_leader(life, reconcile), stop_seconds=STOP_SECONDS
            )
            await supervisor.run()

    async def _run_caches(self, life: Life, informers: tuple[Informer[Any], ...]) -> None:
        async with anyio.create_task_group() as group:
            for informer in informers:
                group.start_soon(informer.run)
            await run_until(life.stop, lambda: wait_all_synced(informers))
            self._trace.add(self.process.identity, "has synced")
            life.ready.set()
            await life.stop.wait()
            group.cancel_scope.cancel()

    async def _run_leader(self, life: Life, reconcile: Callable[[Key], Awaitable[Done]]) -> None:
        life.ready.set()

        async def lead(term: int) -> None:
            self._trace.add(self.process.identity, f"leads in term {term}")
            async with anyio.create_task_group() as group:
                group.start_soon(self._stop_workers, life)
                await run_workers(self._queue, reconcile, WORKERS, timeout=RECONCILE_SECONDS)
                group.cancel_scope.cancel()

        await self.elector.run(lead, life.stop)

    async def _stop_workers(self, life: Life) -> None:
        await life.stop.wait()
        self._queue.shutdown()
