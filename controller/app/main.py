"""The operator's program: settings → client → caches → lease → workers, and the way back.

Guarantee: health answers before anything else and last of all; an API server that is away is waited for;
caches are warm on every replica, and only the holder of the lease reconciles; whatever it writes but the
lease goes through one client, which the lease fences; on SIGTERM workers finish the key in hand, what was
to be said is said, and then the lease is given up. A lost lease ends the process, with an error.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeVar

import anyio
import structlog

from controller.app.logs import configure_logs
from controller.app.settings import OperatorSettings, read_settings
from controller.kube import chance
from controller.kube.backoff import Backoff
from controller.kube.client import Client
from controller.kube.config import load_config
from controller.kube.controller import run_workers
from controller.kube.discovery import first_served, server_version
from controller.kube.errors import ConfigError, ConnectionFailed, KubeError, ServerError, TooManyRequests
from controller.kube.events import EventRecorder
from controller.kube.health import Health, LoopLag, serve_health
from controller.kube.informer import wait_all_synced
from controller.kube.leader import LeaderElector
from controller.kube.ownwrites import OwnWrites
from controller.kube.store import Key
from controller.kube.supervisor import Life, PartFailed, Supervisor, run_until
from controller.kube.workqueue import WorkQueue
from controller.plan import kinds
from controller.plan.observed import Settings
from controller.reconcile.announce import Announcer
from controller.reconcile.backup import BackupReconciler
from controller.reconcile.caches import Caches, build_caches
from controller.reconcile.watches import Waker

NAME = "neo4j-backup-operator"
TIME_ZONE_SINCE = (1, 27)
"""CronJobs know ``timeZone`` on every server from here on; before, a feature gate decides."""
RECONCILE_SECONDS = 120.0
STOP_SECONDS = 15.0

log = structlog.get_logger(__name__)
T = TypeVar("T")


def main(argv: Sequence[str]) -> int:
    """Run until a signal; 0 after an ordered stop, 1 after a failure, 2 when it could not start."""
    settings = read_settings(argv, os.environ)
    configure_logs(settings.log_format, settings.log_level)
    try:
        anyio.run(run, settings)
    except ConfigError as error:
        log.error("cannot start", error=str(error))
        return 2
    except (PartFailed, KubeError) as error:
        log.error("ended by a failure", error=str(error))
        return 1
    log.info("stopped")
    return 0


async def run(settings: OperatorSettings) -> None:
    """Everything, until it is told to stop."""
    instance = _instance(settings)
    # After the slash, so that the name of the field manager stays: the audit log can tell replicas apart.
    agent = f"{NAME}/{instance}"
    config = replace(load_config(settings.kubeconfig, settings.context), user_agent=agent)
    elector = LeaderElector(
        config,
        namespace=settings.lease_namespace or config.namespace,
        name=settings.lease_name,
        # A restarted container has the same name, but is not the one that held the lease.
        identity=f"{instance}_{uuid.uuid4()}",
    )
    async with Client(config) as reader, Client(config, fence=elector.seconds_left) as writer:
        operator = _Operator(settings, elector, reader, writer)
        supervisor = Supervisor()
        supervisor.add("http", operator.http)
        supervisor.add("events", operator.events)
        supervisor.add("caches", operator.caches)
        supervisor.add("leader", operator.leader, stop_seconds=STOP_SECONDS)
        await supervisor.run()


@dataclass(frozen=True, slots=True)
class _Machine:
    """What exists once the server was asked what it has."""

    caches: Caches
    reconciler: BackupReconciler


class _Operator:
    """The parts, in the order in which they start; each knows only those before it."""

    def __init__(
        self, settings: OperatorSettings, elector: LeaderElector, reader: Client, writer: Client
    ) -> None:
        """``writer`` is fenced by the lease; nothing may be changed through ``reader``."""
        self._settings, self._elector, self._reader, self._writer = settings, elector, reader, writer
        self._health, self._lag = Health(), LoopLag()
        self._recorder = EventRecorder(writer, component=NAME, instance=_instance(settings))
        self._queue: WorkQueue[Key] = WorkQueue("neo4jbackup")
        self._machine: _Machine | None = None
        self._health.liveness |= {"event-loop": self._lag.check, "lease": elector.check}
        self._health.readiness["caches"] = self._caches_check

    def _caches_check(self) -> str | None:
        machine = self._machine
        if machine is None:
            return "not started yet"
        late = sorted({item.resource.plural for item in machine.caches.informers if not item.has_synced})
        return f"not synced: {', '.join(late)}" if late else None

    async def http(self, life: Life) -> None:
        """Health and metrics."""
        async with serve_health(self._health, port=self._settings.port, host=self._settings.host) as port:
            log.info("listening", port=port)
            life.ready.set()
            async with anyio.create_task_group() as group:
                group.start_soon(self._queue.run_meter)
                await run_until(life.stop, self._lag.run)
                group.cancel_scope.cancel()

    async def events(self, life: Life) -> None:
        """What is said on objects; it was said before the lease was given up."""
        life.ready.set()
        await run_until(life.stop, self._recorder.run)

    async def caches(self, life: Life) -> None:
        """The informers; on a standby too, so that it can take over at once."""
        await run_until(life.stop, self._assemble)
        machine = self._machine
        if machine is None:
            return
        async with anyio.create_task_group() as group:
            for informer in machine.caches.informers:
                group.start_soon(informer.run)
            await run_until(life.stop, lambda: wait_all_synced(machine.caches.informers))
            life.ready.set()
            await life.stop.wait()
            group.cancel_scope.cancel()

    async def _assemble(self) -> None:
        client = self._reader
        version = await _patiently(lambda: server_version(client))
        served = await _patiently(lambda: first_served(client, (kinds.CRON_JOBS, kinds.CRON_JOBS_BETA)))
        cron_jobs = served or kinds.CRON_JOBS
        caches = build_caches(client, self._settings.namespaces, cron_jobs)
        own: OwnWrites[Key] = OwnWrites(self._queue.add)
        Waker(caches, own, self._queue.add, self._queue.add_low).connect()
        settings = Settings(
            image=self._settings.image,
            image_pull_policy=self._settings.image_pull_policy,
            cron_jobs=cron_jobs,
            time_zone="Etc/UTC" if version >= TIME_ZONE_SINCE else "",
            log_level=self._settings.log_level,
        )
        log.info("server", version=".".join(map(str, version)), cron_jobs=cron_jobs.api_version)
        reconciler = BackupReconciler(self._writer, caches, Announcer(self._recorder), settings, _now, own)
        self._machine = _Machine(caches, reconciler)

    async def leader(self, life: Life) -> None:
        """Wait for the lease, then reconcile."""
        life.ready.set()
        machine = self._machine
        assert machine is not None

        async def lead(_term: int) -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(self._stop_workers, life)
                await run_workers(
                    self._queue, machine.reconciler, self._settings.workers, timeout=RECONCILE_SECONDS
                )
                await self._recorder.flush()
                group.cancel_scope.cancel()

        await self._elector.run(lead, life.stop)

    async def _stop_workers(self, life: Life) -> None:
        await life.stop.wait()
        self._queue.shutdown()


def _instance(settings: OperatorSettings) -> str:
    return settings.instance or socket.gethostname()


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """An outage is nothing that a restart would mend: wait for its end."""
    backoff = Backoff()
    while True:
        try:
            return await ask()
        except (ConnectionFailed, ServerError, TooManyRequests) as error:
            log.warning("the API server cannot be asked yet", error=str(error))
            backoff, delay = backoff.failed(anyio.current_time(), chance.jitter())
            await anyio.sleep(delay)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
