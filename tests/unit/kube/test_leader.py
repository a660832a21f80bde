"""The lease: what is decided, and what the driver makes of a server that is slow, gone or rude."""

from __future__ import annotations

import anyio
import pytest

from controller.kube.leader import LeaderElector
from controller.kube.lease import LeaseTimes, Observed, Record, Wait, Write, decide, observe, released
from tests.support.scripted_api import ScriptedApi, scripted_api
from tests.unit.kube.leases import TIMES, LeaseServer, a_candidate
from tests.unit.kube.virtual import virtual

# --- decisions -----------------------------------------------------------------------------------


def test_no_lease_is_made() -> None:
    verdict = decide("me", None, 0.0, "now", TIMES)
    assert verdict == Write(Record("me", 15.0, "now", "now", 0), taking=True)


def test_our_own_lease_is_renewed_and_keeps_its_start_and_term() -> None:
    seen = Observed(Record("me", 15.0, "start", "before", 3), 0.0)
    assert decide("me", seen, 99.0, "now", TIMES) == Write(
        Record("me", 15.0, "start", "now", 3), taking=False
    )


def test_a_lease_of_somebody_else_is_respected_until_it_stood_still_for_its_duration() -> None:
    seen = Observed(Record("other", 15.0, "a", "b", 3), since=10.0)
    assert decide("me", seen, 24.0, "now", TIMES) == Wait("other", 1.0)
    assert decide("me", seen, 25.0, "now", TIMES) == Write(Record("me", 15.0, "now", "now", 4), taking=True)


def test_a_longer_promise_of_the_holder_counts() -> None:
    seen = Observed(Record("other", 60.0, "a", "b", 3), since=0.0)
    assert decide("me", seen, 20.0, "now", TIMES) == Wait("other", 40.0)


def test_what_the_record_says_about_time_is_never_looked_at() -> None:
    seen = Observed(Record("other", 15.0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", 3), since=0.0)
    assert isinstance(decide("me", seen, 1.0, "2999-01-01T00:00:00Z", TIMES), Wait)


def test_a_released_lease_is_taken_at_once_in_the_next_term() -> None:
    seen = Observed(released(Record("other", 15.0, "a", "b", 3), "c"), since=0.0)
    assert decide("me", seen, 0.0, "now", TIMES) == Write(Record("me", 15.0, "now", "now", 4), taking=True)


def test_only_a_change_of_the_record_moves_its_time() -> None:
    record = Record("other", 15.0, "a", "b", 3)
    first = observe(None, record, 1.0)
    assert observe(first, record, 9.0) is first
    assert observe(first, Record("other", 15.0, "a", "c", 3), 9.0).since == 9.0


def test_records_survive_the_wire_and_missing_fields() -> None:
    record = Record("me", 15.0, "a", "b", 3)
    assert Record.from_spec(record.to_spec()) == record
    assert Record.from_spec({"holderIdentity": None}) == Record()
    assert Record(duration=0.2).to_spec()["leaseDurationSeconds"] == 1


@pytest.mark.parametrize("numbers", [(10.0, 10.0, 2.0), (15.0, 2.0, 2.0), (15.0, 10.0, 0.0)])
def test_times_that_cannot_work_are_refused(numbers: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="renew deadline"):
        LeaseTimes(*numbers)


# --- the driver ----------------------------------------------------------------------------------


@virtual
async def test_one_leads_the_other_waits_and_a_clean_stop_hands_over_at_once() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        first, second = a_candidate(api, "first"), a_candidate(api, "second")
        group.start_soon(first.run)
        await first.leading.wait()
        group.start_soon(second.run)
        await anyio.sleep(120)
        assert not second.leading.is_set()
        start = anyio.current_time()
        first.stop.set()
        await second.leading.wait()
        assert anyio.current_time() - start <= 0.5
        second.stop.set()
    assert (first.terms, second.terms) == ([0], [1])
    assert (first.lost, second.lost) == ("", "")
    assert server.lease is not None
    assert server.lease["spec"]["holderIdentity"] == ""


@virtual
async def test_a_holder_that_is_dead_is_replaced_after_its_duration() -> None:
    server = LeaseServer()
    server.write(Record("dead", 15.0, "a", "b", 7).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        candidate, start = a_candidate(api, "me"), anyio.current_time()
        group.start_soon(candidate.run)
        await candidate.leading.wait()
        waited = anyio.current_time() - start
        candidate.stop.set()
    assert TIMES.duration <= waited <= TIMES.duration + 0.5
    assert candidate.terms == [8]


@virtual
async def test_a_leader_that_cannot_renew_stops_before_anybody_may_take_over() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        leader = a_candidate(api, "me")
        group.start_soon(leader.run)
        await leader.leading.wait()
        await anyio.sleep(60)
        server.broken, start = True, anyio.current_time()
        await leader.ended.wait()
        assert anyio.current_time() - start <= TIMES.renew_deadline + 0.5
    assert "could not be renewed in time" in leader.lost
    assert not leader.elector.leading
    assert server.holders[-1] == "me", "a lost lease is not released: nobody knows whose it is"


@virtual
async def test_a_lease_that_was_taken_ends_the_leader_at_once() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        leader = a_candidate(api, "me")
        group.start_soon(leader.run)
        await leader.leading.wait()
        server.write(Record("thief", 15.0, "a", "b", 4).to_spec())
        start = anyio.current_time()
        await leader.ended.wait()
        assert anyio.current_time() - start <= TIMES.retry + 0.5
    assert leader.lost == "thief took the lease l"
    assert server.holders[-1] == "thief"


@virtual
async def test_a_renewal_whose_answer_is_lost_is_found_out_by_looking() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        leader = a_candidate(api, "me")
        group.start_soon(leader.run)
        await leader.leading.wait()
        server.swallow = True
        await anyio.sleep(4.0)
        server.swallow = False
        await anyio.sleep(60)
        assert leader.elector.leading
        leader.stop.set()
    assert (leader.lost, leader.terms) == ("", [0])


@virtual
async def test_a_lease_that_is_deleted_is_made_again_in_the_same_term() -> None:
    server = LeaseServer()
    server.write(Record("", 1.0, "a", "b", 7).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        leader = a_candidate(api, "me")
        group.start_soon(leader.run)
        await leader.leading.wait()
        server.delete()
        await anyio.sleep(60)
        assert leader.elector.leading
        assert server.term == 8
        leader.stop.set()
    assert leader.terms == [8]


@virtual
async def test_stopping_a_candidate_that_never_led_writes_nothing() -> None:
    server = LeaseServer()
    server.write(Record("other", 15.0, "a", "b", 7).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        candidate = a_candidate(api, "me")
        group.start_soon(candidate.run)
        await anyio.sleep(5)
        candidate.stop.set()
        await candidate.ended.wait()
    assert server.holders == ["other"]


@virtual
async def test_a_leader_that_is_cancelled_still_releases() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api:
        with anyio.move_on_after(5.0):
            await a_candidate(api, "me").run()
    assert server.holders[-1] == ""


@virtual
async def test_a_leader_whose_work_crashes_releases_after_it_ended() -> None:
    server = LeaseServer()

    async def crash(_term: int) -> None:
        raise ZeroDivisionError

    async with scripted_api(otherwise=server.handle) as api:
        with pytest.raises(ExceptionGroup) as caught:
            await a_candidate(api, "me").elector.run(crash, anyio.Event())
    assert caught.group_contains(ZeroDivisionError)
    assert server.holders[-1] == ""


@virtual
async def test_the_watchdog_sees_a_leader_that_forgot_to_renew() -> None:
    async with scripted_api() as api:
        elector = a_candidate(api, "me").elector
        assert elector.check() is None
        elector.leading, elector._renewed = True, anyio.current_time()
        assert elector.check() is None
        await anyio.sleep(TIMES.renew_deadline + TIMES.duration)
        assert "without having renewed" in (elector.check() or "")


def test_a_candidate_needs_a_name() -> None:
    with pytest.raises(ValueError, match="identity"):
        LeaderElector(ScriptedApi().config(), namespace="ns", name="l", identity="")
