"""The promises about two real processes and one lease: stopped, killed, frozen."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from controller.kube.lease import LeaseTimes
from tests.recovery.fleet import Fleet, a_fleet, until

TIMES = LeaseTimes()
CLEAN_SECONDS = 1.0
KILLED_SECONDS = TIMES.duration + 2.0

Record = Callable[[str, object], None]
pytestmark = pytest.mark.asyncio


async def test_a_leader_that_is_told_to_stop_hands_over_in_less_than_a_second(
    tmp_path: Path, record_property: Record
) -> None:
    async with a_fleet(tmp_path) as fleet:
        one, _ = await fleet.a_leader_and_a_standby()
        async with fleet.busy():
            await until(lambda: len(fleet.work("one")) > 20)
            one.signal(signal.SIGTERM)
            await until(lambda: bool(fleet.work("two")))
        assert await one.process.wait() == 0
        last, released = fleet.work("one")[-1].at, fleet.leases_taken("one")[-1].at
        taken, first = fleet.leases_taken("two")[0].at, fleet.work("two")[0].at
        assert last <= released <= taken <= first, "whoever is not asked any more has finished"
        late = fleet.late(last, first)
        record_property("seconds from the last write of the old to the first of the new", first - last)
        record_property("of them from the release to the next holder", taken - released)
        record_property("seconds that the machine was late meanwhile", late)
        assert first - last < CLEAN_SECONDS + late


async def test_a_killed_leaders_work_goes_on_within_the_lease_and_two_seconds(
    tmp_path: Path, record_property: Record
) -> None:
    async with a_fleet(tmp_path) as fleet:
        one, _ = await fleet.a_leader_and_a_standby()
        async with fleet.busy():
            await until(lambda: len(fleet.work("one")) > 20)
            killed = anyio.current_time()
            one.signal(signal.SIGKILL)
            await until(lambda: bool(fleet.work("two")))
        first = fleet.work("two")[0].at
        late = fleet.late(killed, first)
        record_property("seconds from the kill to the first write of the next leader", first - killed)
        record_property("seconds that the machine was late meanwhile", late)
        assert fleet.leases_taken("two")[0].at - fleet.leases_taken("one")[-1].at >= TIMES.duration
        assert first - killed < KILLED_SECONDS + late


async def test_a_frozen_leader_that_wakes_after_it_was_replaced_writes_nothing(
    tmp_path: Path, record_property: Record
) -> None:
    async with a_fleet(tmp_path) as fleet:
        one, _ = await fleet.a_leader_and_a_standby()
        async with fleet.busy():
            # More than it can have done: it is stopped with requests under way, and wakes to their answers.
            await fleet.backups(200)
            await until(lambda: len(fleet.work("one")) > 20)
            one.signal(signal.SIGSTOP)
            frozen = anyio.current_time()
            await until(lambda: bool(fleet.work("two")))
            # It wakes to a pile of events, each of which would have been work.
            await fleet.backups(50)
            thawed = anyio.current_time()
            one.signal(signal.SIGCONT)
            assert await one.process.wait() == 1, "and it ends, for another leads"
            await _settle(fleet)
        taken = fleet.leases_taken("two")[0].at
        since = [entry for entry in fleet.writes("one") if entry.at >= taken]
        record_property("seconds frozen", thawed - frozen)
        record_property("writes of the old leader after another one led", len(since))
        record_property("writes of the new leader", len(fleet.work("two")))
        assert since == []
        assert one.said("lost the lease")


async def _settle(fleet: Fleet) -> None:
    """Until the new leader has dealt with whatever there is: whoever else would write has had the time."""
    done = len(fleet.work("two"))
    await until(lambda: len(fleet.work("two")) > done + 20)
    await anyio.sleep(1.0)
