"""Whoever does not lead does not write, however it came to be so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import pytest
from aiohttp import web

from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.controller import Done, run_workers
from controller.kube.errors import ConnectionFailed, Fenced
from controller.kube.eventcore import ObjectRef
from controller.kube.events import EventRecorder
from controller.kube.lease import Record
from controller.kube.workqueue import WorkQueue
from tests.support.scripted_api import an_object, answer, hang, listing, scripted_api
from tests.unit.kube.leases import TIMES, Candidate, LeaseServer, a_candidate
from tests.unit.kube.things import THINGS
from tests.unit.kube.virtual import jump, virtual

OK = answer({"metadata": {"name": "a"}})
BODY = {"metadata": {"name": "a", "namespace": "ns"}}

WRITES: dict[str, Callable[[Client], Awaitable[object]]] = {
    "create": lambda client: client.create(THINGS, BODY),
    "replace": lambda client: client.replace(THINGS, BODY),
    "replace status": lambda client: client.replace(THINGS, BODY, subresource="status"),
    "apply": lambda client: client.apply(THINGS, BODY, field_manager="me"),
    "merge patch": lambda client: client.merge_patch(THINGS, "a", "ns", {}),
    "json patch": lambda client: client.json_patch(THINGS, "a", "ns", []),
    "delete": lambda client: client.delete(THINGS, "a", "ns"),
}


@pytest.mark.parametrize("verb", WRITES)
@virtual
async def test_behind_a_closed_fence_nothing_is_sent(verb: str) -> None:
    async with scripted_api(otherwise=OK) as api, Client(api.config(), fence=lambda: 0.0) as client:
        with pytest.raises(Fenced):
            await WRITES[verb](client)
    assert api.calls == []


@pytest.mark.parametrize("verb", WRITES)
@virtual
async def test_through_an_open_fence_everything_is_sent_with_what_is_left_as_its_limit(verb: str) -> None:
    async with scripted_api(otherwise=OK) as api, Client(api.config(), fence=lambda: 2.5) as client:
        await WRITES[verb](client)
    assert [call.query["timeout"] for call in api.calls] == ["2500ms"]


@virtual
async def test_reading_needs_no_lease() -> None:
    script = [OK, listing("1", an_object("a", "1"))]
    async with scripted_api(*script) as api, Client(api.config(), fence=lambda: 0.0) as client:
        await client.get(THINGS, "a", "ns")
        await client.list(THINGS, "ns")
    assert [call.query.get("timeout") for call in api.calls] == [None, None]


@virtual
async def test_a_command_in_a_container_is_a_write() -> None:
    async with scripted_api() as api, Client(api.config(), fence=lambda: 0.0) as client:
        with pytest.raises(Fenced):
            await client.exec("ns", "pod", "container", ["true"]).__aenter__()
    assert api.calls == []


@virtual
async def test_a_write_in_flight_is_given_up_when_its_time_is_over() -> None:
    async with scripted_api(hang) as api, Client(api.config(), fence=lambda: 3.0) as client:
        start = anyio.current_time()
        with pytest.raises(ConnectionFailed):
            await client.create(THINGS, BODY)
        assert 3.0 <= anyio.current_time() - start <= 3.5


@virtual
async def test_a_fence_that_closes_while_connecting_stops_the_write() -> None:
    left = iter([5.0, 0.0])
    async with scripted_api(otherwise=OK) as api, Client(api.config(), fence=lambda: next(left)) as client:
        with pytest.raises(Fenced):
            await client.create(THINGS, BODY)
    assert api.calls == []


# --- with the elector's own fence ----------------------------------------------------------------


class Worker:
    """Writes again and again, as long as it is let, and never looks whether it leads."""

    def __init__(self, client: Client, name: str) -> None:
        self._client, self._name = client, name
        self.refused = 0

    async def run(self) -> None:
        while True:
            try:
                await self._client.merge_patch(THINGS, self._name, "ns", {})
            except (Fenced, ConnectionFailed):
                self.refused += 1
            await anyio.sleep(0.1)


@virtual
async def test_a_candidate_that_never_led_cannot_write() -> None:
    server = LeaseServer()
    server.write(Record("other", 600.0, "a", "b", 1).to_spec())
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        standby = a_candidate(api, "me")
        client = await _fenced(group, standby, api.config())
        with pytest.raises(Fenced):
            await client.create(THINGS, BODY)
        group.cancel_scope.cancel()
    assert server.writes == []


@virtual
async def test_a_leader_that_cannot_renew_writes_nothing_after_the_renew_deadline() -> None:
    """The lease cannot be written, everything else can: the worst case, for nothing slows the work down."""
    server = LeaseServer()
    renewals_hang = False

    async def handle(request: web.Request) -> web.StreamResponse:
        if renewals_hang and "coordination.k8s.io" in request.path:
            await anyio.sleep_forever()
        return await server.handle(request)

    async with scripted_api(otherwise=handle) as api, anyio.create_task_group() as group:
        leader = a_candidate(api, "me")
        worker = Worker(await _fenced(group, leader, api.config()), "me")
        group.start_soon(worker.run)
        await leader.leading.wait()
        await anyio.sleep(30)
        renewals_hang, last = True, anyio.current_time()
        await anyio.sleep(60)
        group.cancel_scope.cancel()
    assert worker.refused
    assert last < server.writes[-1][0] <= last + TIMES.renew_deadline


@pytest.mark.parametrize("seconds", [TIMES.renew_deadline + 1.0, TIMES.duration + 5.0])
@virtual
async def test_a_leader_that_was_frozen_sends_nothing_when_it_wakes_not_even_a_renewal(
    seconds: float,
) -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        old = a_candidate(api, "old")
        client = await _fenced(group, old, api.config())
        await old.leading.wait()
        await client.merge_patch(THINGS, "before", "ns", {})
        jump(seconds)
        server.write(Record("new", 15.0, "a", "b", 1).to_spec())
        calls = len(api.calls)
        # In the same step: no timer has fired, nothing was cancelled, and the connection is open.
        with pytest.raises(Fenced):
            await client.merge_patch(THINGS, "after", "ns", {})
        await old.ended.wait()
        await anyio.sleep(60)
        assert len(api.calls) == calls
        group.cancel_scope.cancel()
    assert "could not be renewed in time" in old.lost
    assert [name for _, name in server.writes] == ["before"]


@virtual
async def test_a_leader_that_was_frozen_while_it_connected_does_not_write_when_it_wakes() -> None:
    server = LeaseServer()
    async with scripted_api(otherwise=server.handle) as api, anyio.create_task_group() as group:
        old = a_candidate(api, "old")
        client = await _fenced(group, old, api.config())
        await old.leading.wait()
        outcome: list[type[BaseException]] = []

        async def write() -> None:
            try:
                await client.merge_patch(THINGS, "late", "ns", {})
            except (Fenced, ConnectionFailed) as error:
                outcome.append(type(error))

        group.start_soon(write)
        # One turn: the connection is being made, and it is there before any time limit is looked at.
        await anyio.lowlevel.checkpoint()
        jump(TIMES.duration + 5.0)
        await old.ended.wait()
        await anyio.sleep(1.0)
        assert len(outcome) == 1
        group.cancel_scope.cancel()
    assert server.writes == []


async def _fenced(group: anyio.abc.TaskGroup, candidate: Candidate, config: ClusterConfig) -> Client:
    """A client that writes as ``candidate`` may; both live as long as the group."""

    async def live(*, task_status: anyio.abc.TaskStatus[Client]) -> None:
        async with Client(config, fence=candidate.elector.seconds_left) as client:
            task_status.started(client)
            await anyio.sleep_forever()

    client: Client = await group.start(live)
    group.start_soon(candidate.run)
    return client


# --- what writes in the operator -----------------------------------------------------------------


@virtual
async def test_events_of_a_deposed_leader_are_dropped() -> None:
    async with scripted_api(otherwise=OK) as api, Client(api.config(), fence=lambda: 0.0) as client:
        recorder = EventRecorder(client, component="c", instance="i")
        recorder.event(ObjectRef("v1", "Thing", "a", "ns"), "Normal", "Reason", "message")
        async with anyio.create_task_group() as group:
            group.start_soon(recorder.run)
            await recorder.flush()
            group.cancel_scope.cancel()
    assert api.calls == []


@virtual
async def test_a_reconcile_that_is_fenced_is_tried_again_and_not_given_up() -> None:
    queue: WorkQueue[str] = WorkQueue("fenced", jitter=lambda: 0.0)
    tries = 0

    async def reconcile(_: str) -> Done:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Fenced("not sent")
        queue.shutdown()
        return Done()

    queue.add("a")
    await run_workers(queue, reconcile, 1)
    assert tries == 2
