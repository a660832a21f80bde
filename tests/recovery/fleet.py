"""Real operator processes on the embedded API server, which remembers who wrote what and when.

Moments are the API server's: the event loop's time when a request arrived. How late this machine was with
everything else meanwhile is measured too, because a busy one delays both ends of what is timed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process

from controller.kube.client import Client
from controller.kube.config import load_config
from controller.plan import kinds
from hack.devcluster.audit import Entry
from hack.devcluster.cluster import DevCluster
from tests.unit.reconcile.bench import NAMESPACE, install

COMMAND = [sys.executable, "-m", "controller", "operator", "--image", "operator:1", "--port", "0"]
COMMAND += ["--host", "127.0.0.1", "--lease-namespace", NAMESPACE]
LEASES = "/apis/coordination.k8s.io/"
STEP_SECONDS = 0.02
PATIENCE_SECONDS = 90.0


@dataclass
class Replica:
    """One process."""

    name: str
    process: Process
    log: Path

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, event: str, **fields: object) -> bool:
        return any(line.get("event") == event and fields.items() <= line.items() for line in self.lines())

    @property
    def port(self) -> int:
        return int(next(line["port"] for line in self.lines() if line["event"] == "listening"))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@dataclass
class Fleet:
    """The control plane and the replicas on it."""

    cluster: DevCluster
    client: Client
    _stack: AsyncExitStack
    _lateness: list[tuple[float, float]] = field(default_factory=list)
    _made: int = 0

    async def start(self, name: str, kubeconfig: Path | None = None) -> Replica:
        """A replica, gone when the fleet is."""
        path = str(kubeconfig or self.cluster.kubeconfig)
        log = self.cluster.directory / f"{name}.log"
        environment = {**os.environ, "KUBECONFIG": path, "POD_NAME": name}
        return await self._stack.enter_async_context(_a_process(name, environment, log))

    async def a_leader_and_a_standby(self) -> tuple[Replica, Replica]:
        one = await self.start("one")
        await until(lambda: bool(self.leases_taken("one")))
        two = await self.start("two")
        await until(lambda: two.said("starting", part="leader"))
        return one, two

    def requests(self, replica: str) -> list[Entry]:
        return [entry for entry in self.cluster.audit.entries if entry.agent.endswith(f"/{replica}")]

    def writes(self, replica: str) -> list[Entry]:
        """All that it sent to change anything, whatever became of it."""
        return [entry for entry in self.requests(replica) if entry.writes]

    def leases_taken(self, replica: str) -> list[Entry]:
        """Its writes of the Lease that were accepted."""
        return [e for e in self.writes(replica) if e.path.startswith(LEASES) and 200 <= e.code < 300]

    def work(self, replica: str) -> list[Entry]:
        """Its writes for backups that were accepted."""
        return [e for e in self.writes(replica) if not e.path.startswith(LEASES) and 200 <= e.code < 300]

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """There is something new to do all the time."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._feed)
            yield
            group.cancel_scope.cancel()

    async def _feed(self) -> None:
        while True:
            await self.backups(1)
            await anyio.sleep(0.05)

    async def backups(self, number: int) -> None:
        """So many new ones."""
        for _ in range(number):
            await self.backup()

    async def backup(self) -> str:
        """A new one, of a cluster that is not there; its name."""
        self._made += 1
        name = f"b{self._made}"
        body = {
            "apiVersion": kinds.BACKUPS.api_version,
            "kind": kinds.BACKUPS.kind,
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "target": {"kind": "Cluster", "name": "none"},
                "storage": {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}},
            },
        }
        await self.client.create(kinds.BACKUPS, body)
        return name

    def late(self, start: float, end: float) -> float:
        """How late this machine was, altogether, with what was due in between."""
        return sum(late for at, late in self._lateness if start <= at and at - late <= end)

    async def watch_the_machine(self) -> None:
        while True:
            due = anyio.current_time() + STEP_SECONDS
            await anyio.sleep(STEP_SECONDS)
            now = anyio.current_time()
            self._lateness.append((now, now - due))


@asynccontextmanager
async def a_fleet(directory: Path, *, machine: bool = True) -> AsyncIterator[Fleet]:
    """An API server with the definitions, and no operator yet; ``machine``: its lateness is measured."""
    async with (
        DevCluster(directory, run_pods=False) as cluster,
        Client(load_config(str(cluster.kubeconfig))) as client,
        AsyncExitStack() as stack,
        anyio.create_task_group() as group,
    ):
        await install(client)
        fleet = Fleet(cluster, client, stack)
        if machine:
            group.start_soon(fleet.watch_the_machine)
        yield fleet
        group.cancel_scope.cancel()


@asynccontextmanager
async def _a_process(name: str, environment: Mapping[str, str], log: Path) -> AsyncIterator[Replica]:
    with log.open("ab") as sink:
        process = await anyio.open_process(COMMAND, env=environment, stdout=sink, stderr=sink)
    try:
        yield Replica(name, process, log)
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


async def until(holds: Callable[[], bool], *, step: float = STEP_SECONDS) -> None:
    """Wait for it, patiently: what is timed is timed by the API server's log."""
    for _ in range(int(PATIENCE_SECONDS / STEP_SECONDS)):
        if holds():
            return
        await anyio.sleep(step)
    raise AssertionError(f"not within {PATIENCE_SECONDS / STEP_SECONDS * step:.0f} s")
