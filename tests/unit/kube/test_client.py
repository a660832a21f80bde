"""What goes over the wire, and what comes back as which error."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.credentials import FileCredentials, NoCredentials
from controller.kube.discovery import first_served, has_resource, server_version
from controller.kube.errors import Conflict, ConnectionFailed, ServerError, Unauthorized
from controller.kube.resource import PODS
from tests.support.scripted_api import (
    Answer,
    an_object,
    answer,
    chunks,
    hang,
    listing,
    refuse,
    scripted_api,
)
from tests.unit.kube.things import THINGS, Thing
from tests.unit.kube.virtual import virtual

OK = answer({"metadata": {"name": "a"}})


@virtual
async def test_every_verb_says_what_it_means() -> None:
    async with scripted_api(otherwise=OK) as api, Client(api.config()) as client:
        body = {"metadata": {"name": "a", "namespace": "ns"}}
        await client.get(THINGS, "a", "ns")
        await client.create(THINGS, body)
        await client.replace(THINGS, body, subresource="status")
        await client.apply(THINGS, body, field_manager="me")
        await client.merge_patch(THINGS, "a", "ns", {"x": 1})
        await client.json_patch(THINGS, "a", "ns", [{"op": "test", "path": "/x", "value": 1}])
        await client.delete(THINGS, "a", "ns", uid="u")
    root = "/apis/example.com/v1/namespaces/ns/things"
    assert [(call.method, call.path) for call in api.calls] == [
        ("GET", f"{root}/a"),
        ("POST", root),
        ("PUT", f"{root}/a/status"),
        ("PATCH", f"{root}/a"),
        ("PATCH", f"{root}/a"),
        ("PATCH", f"{root}/a"),
        ("DELETE", f"{root}/a"),
    ]
    assert [call.headers.get("Content-Type") for call in api.calls[1:]] == [
        "application/json",
        "application/json",
        "application/apply-patch+yaml",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/json",
    ]
    assert api.calls[3].query == {"fieldManager": "me", "force": "true"}
    assert api.calls[3].json == {"apiVersion": "example.com/v1", "kind": "Thing", **body}
    assert api.calls[6].json["preconditions"] == {"uid": "u"}
    assert api.calls[6].json["propagationPolicy"] == "Background"


@virtual
async def test_objects_are_decoded_as_dicts_or_typed() -> None:
    found = answer(an_object("a", "5", color="red", surprise=[1]))
    async with scripted_api(found, found) as api, Client(api.config()) as client:
        assert (await client.get(THINGS, "a", "ns"))["surprise"] == [1]
        typed = await client.get(THINGS, "a", "ns", as_=Thing)
    assert (typed.name, typed.color, typed.resource_version) == ("a", "red", "5")


@virtual
async def test_lists_are_read_page_by_page() -> None:
    pages: list[Answer] = [listing("9", an_object("a", "1"), token="t1"), listing("9", an_object("b", "2"))]
    async with scripted_api(*pages) as api, Client(api.config()) as client:
        found = await client.list(THINGS, "ns", label_selector="x=y", field_selector="f=g", as_=Thing)
    assert [item.name for item in found] == ["a", "b"]
    selectors = {"labelSelector": "x=y", "fieldSelector": "f=g", "limit": "500"}
    assert [call.query for call in api.calls] == [selectors, {**selectors, "continue": "t1"}]


@virtual
async def test_items_of_an_untyped_list_get_their_kind_back() -> None:
    empty = answer({"metadata": {"resourceVersion": "1"}, "items": None})
    page = answer({"metadata": {"resourceVersion": "1"}, "items": [{"metadata": {"name": "a"}}]})
    async with scripted_api(page, empty) as api, Client(api.config()) as client:
        assert await client.list(THINGS) == [
            {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
        ]
        assert await client.list(THINGS) == []


@virtual
async def test_a_failure_is_raised_with_the_servers_words() -> None:
    async with scripted_api(refuse(409, "Conflict", "was modified")) as api, Client(api.config()) as client:
        with pytest.raises(Conflict, match="was modified"):
            await client.merge_patch(THINGS, "a", "ns", {})


@virtual
async def test_an_answer_that_does_not_fit_is_the_servers_error() -> None:
    async with scripted_api(answer({"metadata": 3})) as api, Client(api.config()) as client:
        with pytest.raises(ServerError, match="not what was expected"):
            await client.get(THINGS, "a", "ns", as_=Thing)


@virtual
async def test_a_dead_server_and_a_cut_answer_leave_the_outcome_unknown(unused_tcp_port: int) -> None:
    config = ClusterConfig(f"http://127.0.0.1:{unused_tcp_port}", None, NoCredentials())
    async with Client(config) as client:
        with pytest.raises(ConnectionFailed):
            await client.get(THINGS, "a", "ns")
    async with scripted_api(chunks(b'{"metadata"', cut=True)) as api, Client(api.config()) as client:
        with pytest.raises(ConnectionFailed):
            await client.create(THINGS, an_object("a", "1"))


@virtual
async def test_a_server_that_never_answers_costs_the_limit_and_no_more() -> None:
    async with scripted_api(hang) as api, Client(api.config(), timeout=7.0) as client:
        start = anyio.current_time()
        with pytest.raises(ConnectionFailed):
            await client.get(THINGS, "a", "ns")
        assert anyio.current_time() - start == pytest.approx(7.0, abs=1.0)


@virtual
async def test_every_exchange_on_a_connection_has_its_own_limit() -> None:
    async with scripted_api(OK, OK, hang) as api, Client(api.config()) as client:
        # The first arms a timer for much later, the second comes after that moment: neither may count.
        await client.transport.request("GET", "/a", timeout=10.0)
        await anyio.sleep(8.0)
        await client.transport.request("GET", "/b", timeout=100.0)
        start = anyio.current_time()
        with pytest.raises(ConnectionFailed):
            await client.transport.request("GET", "/c", timeout=5.0)
        assert anyio.current_time() - start == pytest.approx(5.0, abs=1.0)


@virtual
async def test_a_limit_that_outlives_an_earlier_timer_is_kept_to_its_end() -> None:
    async with scripted_api(OK, hang) as api, Client(api.config()) as client:
        await client.transport.request("GET", "/a", timeout=10.0)
        start = anyio.current_time()
        with pytest.raises(ConnectionFailed):
            await client.transport.request("GET", "/b", timeout=50.0)
        assert anyio.current_time() - start == pytest.approx(50.0, abs=1.0)


@virtual
async def test_a_silent_stream_ends_at_its_idle_limit() -> None:
    async with scripted_api(chunks(b"x", hold=True)) as api, Client(api.config()) as client:
        start = anyio.current_time()
        with pytest.raises(ConnectionFailed):
            async with client.stream(THINGS, None, [("watch", "true")], idle_seconds=100.0) as stream:
                _ = [chunk async for chunk in stream]
        assert anyio.current_time() - start == pytest.approx(100.0, abs=2.0)


@virtual
async def test_the_callers_own_errors_pass_through_a_stream_untouched() -> None:
    async with scripted_api(chunks(b"x", hold=True)) as api, Client(api.config()) as client:

        async def fail_while_reading() -> None:
            async with client.stream(THINGS, None, [], idle_seconds=100.0) as stream:
                async for _ in stream:
                    raise OSError("my disk")

        with pytest.raises(OSError, match="my disk"):
            await fail_while_reading()


@virtual
async def test_a_rotated_token_is_read_again_and_the_request_repeated(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old\n")
    credentials = FileCredentials(file)

    async def guarded(request: web.Request) -> web.StreamResponse:
        if request.headers["Authorization"] == "Bearer new":
            return web.json_response({"metadata": {"name": "a"}})
        return web.Response(status=401)

    async with scripted_api(otherwise=guarded) as api, Client(api.config(credentials)) as client:
        with pytest.raises(Unauthorized):
            await client.get(THINGS, "a", "ns")
        assert len(api.calls) == 2, "repeated once, not for ever"
        file.write_text("new\n")
        assert await client.create(THINGS, an_object("a", "1")) == {"metadata": {"name": "a"}}
    assert json.loads(api.calls[-1].body)["metadata"]["name"] == "a"


@virtual
async def test_logs_are_text_whatever_the_bytes() -> None:
    async def log(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"ok \xff\n")

    async with scripted_api(log) as api, Client(api.config()) as client:
        assert await client.read_log("ns", "p", container="c", tail_lines=5, limit_bytes=9) == "ok �\n"
    assert api.calls[0].path == PODS.path("ns", "p", "log")
    assert api.calls[0].query == {"container": "c", "tailLines": "5", "limitBytes": "9"}


@virtual
async def test_discovery_tells_absent_from_unreachable() -> None:
    things = answer({"resources": [{"name": "things"}, {"name": "things/status"}]})
    script = (things, answer({"resources": []}), refuse(404), refuse(503))
    async with scripted_api(*script) as api, Client(api.config()) as client:
        assert await has_resource(client, THINGS)
        assert not await has_resource(client, THINGS)
        assert not await has_resource(client, THINGS)
        with pytest.raises(ServerError):
            await has_resource(client, THINGS)
    assert {call.path for call in api.calls} == {"/apis/example.com/v1"}


@virtual
async def test_the_first_version_that_is_served_is_chosen() -> None:
    things = answer({"resources": [{"name": "things"}]})
    async with scripted_api(refuse(404), things, refuse(404)) as api, Client(api.config()) as client:
        assert await first_served(client, [PODS, THINGS]) is THINGS
        assert await first_served(client, [PODS]) is None


@virtual
async def test_the_servers_version_is_a_pair_of_numbers() -> None:
    async with scripted_api(answer({"major": "1", "minor": "20+"})) as api, Client(api.config()) as client:
        assert await server_version(client) == (1, 20)


@virtual
async def test_a_closed_client_refuses_work() -> None:
    async with scripted_api() as api:
        client = Client(api.config())
        with pytest.raises(RuntimeError, match="async with"):
            await client.get(THINGS, "a", "ns")
