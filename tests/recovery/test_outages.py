"""Ten bad minutes: the API server is away, forgets, or is behind a proxy that cuts. Virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

from controller.kube.lease import LeaseTimes
from tests.recovery.fleet import Fleet, a_fleet, until
from tests.recovery.pods import OPERATORS, Pod, peak, trouble
from tests.unit.kube.virtual import virtual

TEN_MINUTES = 600.0
LONGEST_BACKOFF = 60.0
"""Thirty seconds, jittered: whoever just failed looks again after so long."""
TIMES = LeaseTimes()
KINDS_WATCHED = 12
LEASE_PER_MINUTE = 60.0 / TIMES.retry + 4
"""A look every retry at most, and the watch."""
STEADY_PER_MINUTE = KINDS_WATCHED * 2 * 2 + LEASE_PER_MINUTE
"""A list and a watch of each kind every thirty seconds, once back-offs have grown."""
PEAK_PER_MINUTE = KINDS_WATCHED * 2 * 7 + LEASE_PER_MINUTE
"""In the first minute they grow from 0.8 s on: seven tries, of which each may be two requests."""

Record = Callable[[str, object], None]


@asynccontextmanager
async def two_pods(directory: Path) -> AsyncIterator[tuple[Fleet, Pod, Pod]]:
    """The first leads, the second stands by, and there was something to do."""
    async with a_fleet(directory, machine=False) as fleet, anyio.create_task_group() as group:
        first, second = Pod("first", fleet), Pod("second", fleet)
        group.start_soon(first.run)
        await fleet.backups(5)
        await until(lambda: bool(fleet.work("first")), step=1.0)
        group.start_soon(second.run)
        await anyio.sleep(30.0)
        yield fleet, first, second
        group.cancel_scope.cancel()


async def _seconds_until_seen(fleet: Fleet, name: str) -> float:
    """From now until a leader has written the backup's status."""
    start = anyio.current_time()
    path = f"/{name}/status"

    def seen() -> bool:
        return any(e.path.endswith(path) for r in ("first", "second") for e in fleet.work(r))

    await until(seen, step=0.5)
    return anyio.current_time() - start


@dataclass
class Figures:
    """What a time of trouble cost, and what came after it."""

    worst: int
    """Requests of one replica in its worst minute."""
    steady: int
    """The same for the second half of the trouble, when back-offs have grown."""
    seconds: float
    """Until something that happened meanwhile was seen and written."""

    def tell(self, record: Record) -> None:
        record("requests of a replica in its worst minute", self.worst)
        record("requests of a replica in a later minute, at most", self.steady)
        record("seconds until the work went on", self.seconds)


def _rates(fleet: Fleet, since: float) -> tuple[int, int]:
    half = since + (anyio.current_time() - since) / 2
    worst = steady = 0
    for replica in ("first", "second"):
        entries = [entry for entry in fleet.requests(replica) if entry.at >= since]
        worst = max(worst, peak(entries))
        steady = max(steady, peak([entry for entry in entries if entry.at >= half]))
    return worst, steady


async def ten_minutes_of(fleet: Fleet, **kind: Any) -> Figures:
    """Trouble, a backup that nobody can see, and the end of it."""
    start = anyio.current_time()
    trouble(fleet, **kind)
    fleet.cluster.faults.cut_open(OPERATORS)
    name = await fleet.backup()
    await anyio.sleep(TEN_MINUTES)
    worst, steady = _rates(fleet, start)
    fleet.cluster.faults.clear()
    return Figures(worst, steady, await _seconds_until_seen(fleet, name))


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param({"drop": True}, id="connections-cut"),
        pytest.param({"status": 503}, id="503"),
        pytest.param({"status": 429, "reason": "TooManyRequests", "retry_after_seconds": 1}, id="429"),
        pytest.param({"hang": True}, id="no-answer"),
    ],
)
@virtual
async def test_ten_minutes_without_an_api_server_are_recovered_from(
    tmp_path: Path, record_property: Record, kind: dict[str, Any]
) -> None:
    async with two_pods(tmp_path) as (fleet, first, second):
        figures = await ten_minutes_of(fleet, **kind)
        ends = [*first.ends, *second.ends]
    figures.tell(record_property)
    assert figures.worst <= PEAK_PER_MINUTE
    assert figures.steady <= STEADY_PER_MINUTE
    assert figures.seconds <= LONGEST_BACKOFF + TIMES.duration
    assert len(ends) == 1, "who led gives up once; whoever waits, waits"
    assert "could not be renewed in time" in ends[0]


@virtual
async def test_a_storm_of_410s_is_ridden_out_at_a_bounded_rate_and_work_goes_on_in_it(
    tmp_path: Path, record_property: Record
) -> None:
    """No watch is served, all of them are too old: everything that is known comes from lists."""
    async with two_pods(tmp_path) as (fleet, first, second):
        start = anyio.current_time()
        trouble(fleet, status=410, reason="Expired", watch_only=True)
        fleet.cluster.faults.cut_open(OPERATORS)
        await anyio.sleep(TEN_MINUTES)
        worst, steady = _rates(fleet, start)
        during = await _seconds_until_seen(fleet, await fleet.backup())
        fleet.cluster.faults.clear()
        await anyio.sleep(LONGEST_BACKOFF)
        after = await _seconds_until_seen(fleet, await fleet.backup())
        ends = [*first.ends, *second.ends]
    Figures(worst, steady, during).tell(record_property)
    record_property("seconds once watches are served again", after)
    assert ends == [], "the lease does not depend on a watch"
    assert worst <= PEAK_PER_MINUTE
    assert steady <= STEADY_PER_MINUTE
    assert during <= 2 * LONGEST_BACKOFF + 5.0, "a stream is tried, then a list"
    assert after <= 2.0


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        pytest.param({"cut_after_seconds": 1.0}, TEN_MINUTES, id="cut"),
        # Ended in order, which is no failure: the next watch is opened at once.
        pytest.param({"end_after_seconds": 1.0}, 90.0, id="end"),
    ],
)
@virtual
async def test_behind_a_proxy_that_ends_every_watch_after_a_second_work_goes_on(
    tmp_path: Path, record_property: Record, kind: dict[str, Any], seconds: float
) -> None:
    async with two_pods(tmp_path) as (fleet, first, second):
        start = anyio.current_time()
        trouble(fleet, watch_only=True, **kind)
        fleet.cluster.faults.cut_open(OPERATORS)
        await anyio.sleep(seconds)
        worst, steady = _rates(fleet, start)
        during = await _seconds_until_seen(fleet, await fleet.backup())
        ends = [*first.ends, *second.ends]
    Figures(worst, steady, during).tell(record_property)
    assert ends == []
    assert worst <= KINDS_WATCHED * 60 + PEAK_PER_MINUTE
    assert during <= LONGEST_BACKOFF + 2.0
