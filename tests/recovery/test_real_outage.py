"""An API server that is away for longer than the lease, and two real processes."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from controller.kube.lease import LeaseTimes
from hack.devcluster.audit import Entry
from tests.recovery.fleet import Fleet, Replica, a_fleet, until
from tests.recovery.pods import OPERATORS, trouble

OUTAGE_SECONDS = LeaseTimes().duration + 10.0
LONGEST_BACKOFF = 60.0

Record = Callable[[str, object], None]
pytestmark = pytest.mark.asyncio


async def test_operators_outlive_an_outage_and_go_on(tmp_path: Path, record_property: Record) -> None:
    async with a_fleet(tmp_path) as fleet:
        one, two = await fleet.a_leader_and_a_standby()
        trouble(fleet, drop=True)
        fleet.cluster.faults.cut_open(OPERATORS)
        start, name = anyio.current_time(), await fleet.backup()
        healthy = await _watched(two, OUTAGE_SECONDS)
        assert await one.process.wait() == 1, "it cannot know that it leads"
        again = await fleet.start("one-again")
        requests = [len([e for e in fleet.requests(r) if e.at >= start]) for r in ("one", "two")]
        written = [entry for entry in fleet.work("one") if entry.at >= start]
        end = anyio.current_time()
        fleet.cluster.faults.clear()
        path = f"/{name}/status"
        await until(lambda: any(entry.path.endswith(path) for entry in _work(fleet)))
        seconds = anyio.current_time() - end
        late = fleet.late(end, anyio.current_time())
        assert two.process.returncode is None
        assert again.process.returncode is None
    record_property("seconds without an API server", end - start)
    record_property("requests of the leader and of the standby meanwhile", requests)
    record_property("seconds from its return until the work went on", seconds)
    record_property("answers of /healthz meanwhile, all good", healthy)
    assert written == []
    assert seconds <= LONGEST_BACKOFF + LeaseTimes().duration + late


def _work(fleet: Fleet) -> list[Entry]:
    return [entry for name in ("one", "two", "one-again") for entry in fleet.work(name)]


async def _watched(replica: Replica, seconds: float) -> int:
    """Ask for its health all the while; how often it was well, and an error when it was not."""
    answers = 0
    end = anyio.current_time() + seconds
    while anyio.current_time() < end:
        assert await anyio.to_thread.run_sync(_health, replica.port) == 200
        answers += 1
        await anyio.sleep(0.5)
    return answers


def _health(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status
    finally:
        connection.close()
