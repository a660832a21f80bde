"""A simulated process's operator: the machinery as the real program puts it together, less its HTTP port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

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
from tests.sim.checks import CacheCheck, Checks
from tests.sim.processes import Process
from tests.sim.widgets import Key, WidgetReconciler, build_caches

LEASE_NAMESPACE, LEASE_NAME = "default", "sim"
RECONCILE_SECONDS = 60.0
STOP_SECONDS = 15.0
WORKERS = 3


class Operator:
    """One life of an operator; ``main`` is its program."""

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
            reconcile = self._watched(WidgetReconciler(writer, *informers))
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

    def _watched(self, reconcile: Callable[[Key], Awaitable[Done]]) -> Callable[[Key], Awaitable[Done]]:
        async def watched(key: Key) -> Done:
            self._checks.work.begins(self.process, key)
            try:
                return await reconcile(key)
            finally:
                self._checks.work.ends(self.process, key)

        return watched
