"""How soon a lease that is free is taken: watched, and where it cannot be watched, polled."""

from __future__ import annotations

import anyio
import pytest
from aiohttp import web

from controller.kube.lease import RETRY_JITTER, Record
from tests.support.scripted_api import (
    Answer,
    ScriptedApi,
    answer,
    chunks,
    events,
    refuse,
    scripted_api,
    status,
)
from tests.unit.kube.leases import TIMES, Candidate, LeaseServer, a_candidate
from tests.unit.kube.virtual import virtual

POLL = TIMES.retry * (1.0 + RETRY_JITTER)


async def _seconds_until_leading(candidate: Candidate) -> float:
    start = anyio.current_time()
    await candidate.leading.wait()
    return anyio.current_time() - start


@virtual
async def test_a_released_lease_is_taken_at_once() -> None:
    server = LeaseServer()
    server.write(Record("other", 15.0, "a", "b", 3).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me")
        group.start_soon(standby.run)
        await anyio.sleep(TIMES.retry / 2)
        server.write(Record("", 1.0, "a", "c", 3).to_spec())
        assert await _seconds_until_leading(standby) < 0.5
        standby.stop.set()
    assert standby.terms == [4]


@virtual
async def test_a_lease_that_somebody_deletes_is_made_again_at_once() -> None:
    server = LeaseServer()
    server.write(Record("other", 15.0, "a", "b", 3).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me")
        group.start_soon(standby.run)
        await anyio.sleep(TIMES.retry / 2)
        server.delete()
        assert await _seconds_until_leading(standby) < 0.5
        standby.stop.set()
    assert standby.terms == [4], "a term is never given twice"


@virtual
async def test_where_the_lease_must_not_be_watched_it_is_taken_with_the_next_look() -> None:
    server = LeaseServer(watchable=False)
    server.write(Record("other", 15.0, "a", "b", 3).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me", jitter=1.0)
        group.start_soon(standby.run)
        await anyio.sleep(60.5)
        server.write(Record("", 1.0, "a", "c", 3).to_spec())
        assert await _seconds_until_leading(standby) <= POLL + 0.5
        standby.stop.set()
    watches = [call for call in api.calls if "watch" in call.query]
    assert len(watches) <= 6, "being refused costs ever fewer requests"


@virtual
async def test_a_dead_holders_lease_is_taken_when_it_runs_out_whatever_the_polls_are_doing() -> None:
    server = LeaseServer()
    server.write(Record("dead", 15.0, "a", "b", 7).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me", jitter=1.0)
        group.start_soon(standby.run)
        await anyio.sleep(5.3)
        server.write(Record("dead", 15.0, "a", "its last renewal", 7).to_spec())
        waited = await _seconds_until_leading(standby)
        standby.stop.set()
    assert TIMES.duration <= waited <= TIMES.duration + 0.5


@virtual
async def test_a_holder_that_renews_is_not_disturbed_by_standbys_that_watch() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        leader, standby = a_candidate(api, "leader"), a_candidate(api, "standby")
        group.start_soon(leader.run)
        await leader.leading.wait()
        group.start_soon(standby.run)
        await anyio.sleep(600)
        assert set(server.holders) == {"leader"}
        assert not standby.leading.is_set()
        standby.stop.set()
        await standby.ended.wait()
        leader.stop.set()


@pytest.mark.parametrize(
    "answers",
    [
        [events(("ERROR", status(410, "Expired")))],
        [refuse(500)],
        [chunks(b"no json\n")],
        [chunks(b'{"type":"MODIFIED"}\n')],
        [chunks(b'{"type":"MODIFIED","object":{"metadata":{}}}\n', hold=True)],
        [chunks(cut=True)],
        [answer({})],
    ],
)
@virtual
async def test_whatever_a_watch_brings_the_candidate_goes_on(answers: list[Answer]) -> None:
    server = LeaseServer()
    server.write(Record("other", 15.0, "a", "b", 3).to_spec())
    script = iter(answers)

    async def handle(request: web.Request) -> web.StreamResponse:
        rude = next(script, None) if "watch" in request.query else None
        return await (rude or server.handle)(request)

    async with scripted_api(otherwise=handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me")
        group.start_soon(standby.run)
        await anyio.sleep(10)
        server.write(Record("", 1.0, "a", "c", 3).to_spec())
        assert await _seconds_until_leading(standby) <= POLL + 0.5
        standby.stop.set()
    assert standby.terms == [4]


@virtual
async def test_an_unreachable_server_is_asked_at_a_bounded_rate() -> None:
    async with scripted_api(otherwise=refuse(503)) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me")
        group.start_soon(standby.run)
        await anyio.sleep(600)
        standby.stop.set()
    assert _per_minute(api, 600) <= 60 / TIMES.retry + 5


def _per_minute(api: ScriptedApi, seconds: float) -> float:
    return len(api.calls) / seconds * 60
