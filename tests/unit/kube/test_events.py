"""Events: what repeats is counted, what floods is cut, and nothing ever stands in the way."""

from __future__ import annotations

from datetime import UTC, datetime

import anyio

from controller.kube import eventcore
from controller.kube.client import Client
from controller.kube.eventcore import Correlator, Happening, ObjectRef
from controller.kube.events import BUFFER, EventRecorder, reference
from controller.kube.resource import PODS
from tests.support.scripted_api import an_object, answer, hang, refuse, scripted_api
from tests.unit.kube.virtual import virtual

REF = ObjectRef("v1", "Pod", "p", "ns", "uid", "7")
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def happening(message: str = "m", *, ref: ObjectRef = REF, reason: str = "Tried") -> Happening:
    return Happening(ref, "Normal", reason, message)


def test_the_same_again_raises_the_count_of_the_same_event() -> None:
    correlator = Correlator()
    first, second = correlator.observe(happening(), 0.0), correlator.observe(happening(), 10.0)
    assert first is not None
    assert second is not None
    assert (first.name, first.count, second.count, second.first, second.last) == (
        second.name,
        1,
        2,
        0.0,
        10.0,
    )


def test_a_newer_version_of_the_object_is_the_same_object() -> None:
    correlator = Correlator()
    correlator.observe(happening(), 0.0)
    entry = correlator.observe(happening(ref=ObjectRef("v1", "Pod", "p", "ns", "uid", "8")), 1.0)
    assert entry is not None
    assert entry.count == 2


def test_long_after_it_is_a_new_event() -> None:
    correlator = Correlator()
    first = correlator.observe(happening(), 0.0)
    later = correlator.observe(happening(), eventcore.SAME_SECONDS + 1.0)
    assert first is not None
    assert later is not None
    assert later.count == 1
    assert later.name != first.name


def test_many_that_differ_only_in_their_message_become_one() -> None:
    correlator = Correlator()
    entries = [correlator.observe(happening(f"m{number}"), 0.0) for number in range(15)]
    messages = [entry.happening.message for entry in entries if entry]
    assert messages[:10] == [f"m{number}" for number in range(10)]
    assert set(messages[10:]) == {"(combined from similar events): Tried"}
    assert [entry.count for entry in entries[10:] if entry] == [1, 2, 3, 4, 5]


def test_an_object_that_floods_is_cut_to_a_burst_and_a_trickle() -> None:
    correlator = Correlator()
    said = [correlator.observe(happening(reason=f"R{number}"), 0.0) for number in range(100)]
    assert sum(entry is not None for entry in said) == eventcore.BURST
    assert correlator.observe(happening(reason="Later"), 301.0) is not None
    assert correlator.observe(happening(ref=ObjectRef("v1", "Pod", "q", "ns")), 0.0) is not None


def test_memory_is_bounded() -> None:
    correlator = Correlator()
    for number in range(eventcore.REMEMBERED + 500):
        correlator.observe(happening(ref=ObjectRef("v1", "Pod", f"p{number}", "ns")), float(number))
    assert len(correlator._entries) == eventcore.REMEMBERED


def test_messages_are_cut_to_what_the_server_takes() -> None:
    entry = Correlator().observe(happening("ü" * 2000), 0.0)
    assert entry is not None
    assert len(entry.happening.message.encode()) <= eventcore.MESSAGE_LIMIT
    assert entry.happening.message.endswith("ü…")


def recorder(client: Client) -> EventRecorder:
    return EventRecorder(client, component="op", instance="op-1", clock=lambda: NOON)


@virtual
async def test_an_event_is_written_and_its_repetition_patched() -> None:
    async with (
        scripted_api(answer({}, 201), answer({})) as api,
        Client(api.config()) as client,
        anyio.create_task_group() as group,
    ):
        events = recorder(client)
        group.start_soon(events.run)
        events.event(REF, "Warning", "Failed", "why", "Backup")
        events.event(REF, "Warning", "Failed", "why", "Backup")
        await events.flush()
        group.cancel_scope.cancel()
    made = api.calls[0].json
    assert made["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": "p",
        "namespace": "ns",
        "uid": "uid",
        "resourceVersion": "7",
    }
    assert (made["type"], made["reason"], made["message"]) == ("Warning", "Failed", "why")
    assert (made["action"], made["count"], made["firstTimestamp"]) == ("Backup", 1, "2026-01-01T12:00:00Z")
    assert made["source"] == {"component": "op"}
    assert (api.calls[1].method, api.calls[1].json["count"]) == ("PATCH", 2)
    assert api.calls[1].path.endswith(made["metadata"]["name"])


@virtual
async def test_an_event_that_the_server_forgot_is_written_again_with_its_count() -> None:
    async with (
        scripted_api(answer({}, 201), refuse(404), answer({}, 201)) as api,
        Client(api.config()) as client,
        anyio.create_task_group() as group,
    ):
        events = recorder(client)
        group.start_soon(events.run)
        for _ in range(2):
            events.event(REF, "Normal", "Tried", "m")
        await events.flush()
        group.cancel_scope.cancel()
    assert [call.method for call in api.calls] == ["POST", "PATCH", "POST"]
    assert api.calls[2].json["count"] == 2


@virtual
async def test_a_refused_event_is_dropped_and_the_next_one_written() -> None:
    async with (
        scripted_api(refuse(403, "Forbidden", "terminating"), answer({}, 201)) as api,
        Client(api.config()) as client,
        anyio.create_task_group() as group,
    ):
        events = recorder(client)
        group.start_soon(events.run)
        events.event(REF, "Normal", "One", "m")
        events.event(REF, "Normal", "Two", "m")
        await events.flush()
        group.cancel_scope.cancel()
    assert [call.json["reason"] for call in api.calls] == ["One", "Two"]


@virtual
async def test_telling_never_waits_and_the_buffer_is_bounded() -> None:
    async with (
        scripted_api(otherwise=hang) as api,
        Client(api.config()) as client,
        anyio.create_task_group() as group,
    ):
        events = recorder(client)
        group.start_soon(events.run)
        for number in range(BUFFER * 2):
            events.event(REF, "Normal", f"R{number}", "m")
        assert len(events._waiting) == BUFFER
        start = anyio.current_time()
        await events.flush(3.0)
        assert anyio.current_time() - start < 4.0
        group.cancel_scope.cancel()


def test_a_reference_is_made_from_an_object() -> None:
    assert reference(PODS, an_object("p", "7", uid="uid")) == REF


def test_events_of_cluster_objects_go_to_the_default_namespace() -> None:
    found = reference(PODS, {"metadata": {"name": "n"}})
    assert (found.namespace, found.uid) == ("", "")
