"""The channel protocol of exec, against a server that speaks it badly on request."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from aiohttp import web

from controller.kube.client import Client
from controller.kube.errors import ConnectionFailed, NotFound, ServerError
from controller.kube.exec import CHUNK, V4, V5, ExecSession, exit_code
from tests.support.scripted_api import Answer, refuse, scripted_api, status
from tests.unit.kube.virtual import virtual

SUCCESS = {"metadata": {}, "status": "Success"}
Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


def exited(code: str) -> dict[str, Any]:
    causes = [{"reason": "ExitCode", "message": code}]
    return status(500, "NonZeroExitCode", f"command terminated with exit code {code}", causes=causes)


def speaking(talk: Talk, protocol: str = V4) -> Answer:
    async def respond(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse(protocols=(protocol,), max_msg_size=0)
        await opened.prepare(request)
        await talk(opened)
        await opened.close()
        return opened

    return respond


def saying(*messages: bytes, report: dict[str, Any] | None = None, protocol: str = V4) -> Answer:
    async def talk(opened: web.WebSocketResponse) -> None:
        for message in messages:
            await opened.send_bytes(message)
        if report is not None:
            await opened.send_bytes(b"\x03" + json.dumps(report).encode())

    return speaking(talk, protocol)


async def collect(*answers: Answer) -> tuple[ExecSession, list[tuple[int, bytes]]]:
    async with scripted_api(*answers) as api, Client(api.config()) as client:
        async with client.exec("ns", "pod", "box", ["echo", "a b", "ü"]) as session:
            output = [item async for item in session]
        query = [("container", "box"), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
        assert api.calls[0].path == "/api/v1/namespaces/ns/pods/pod/exec"
        assert {key: api.calls[0].query[key] for key, _ in query} == dict(query)
        return session, output


@virtual
async def test_output_comes_by_channel_and_byte_for_byte() -> None:
    session, output = await collect(saying(b"\x01", b"\x01a\xff\x00", b"\x02e", report=SUCCESS))
    assert output == [(1, b"a\xff\x00"), (2, b"e")]
    assert (session.exit_code, session.error) == (0, "")


@virtual
async def test_the_exit_code_is_the_commands_own() -> None:
    session, output = await collect(saying(b"\x02no\n", report=exited("3")))
    assert (session.exit_code, session.error) == (3, "command terminated with exit code 3")
    assert output == [(2, b"no\n")]


@virtual
async def test_a_failure_that_is_not_the_commands_is_raised() -> None:
    with pytest.raises(ServerError, match="no such file in the image"):
        await collect(saying(report=status(500, "InternalError", "no such file in the image")))


@virtual
async def test_an_end_without_a_report_is_not_success() -> None:
    with pytest.raises(ConnectionFailed, match="before the command's end was reported"):
        await collect(saying(b"\x01half"))


@virtual
async def test_a_report_that_is_no_json_is_a_failure_with_its_text() -> None:
    with pytest.raises(ServerError, match="container is gone"):
        await collect(saying(b"\x03container is gone"))


@virtual
async def test_a_refused_exec_says_why() -> None:
    refusal = refuse(404, "NotFound", 'pods "pod" not found')
    async with scripted_api(refusal, refusal) as api, Client(api.config()) as client:
        with pytest.raises(NotFound, match='pods "pod" not found'):
            async with client.exec("ns", "pod", "box", ["true"]):
                pass


@virtual
async def test_input_arrives_whole_and_in_order_and_its_end_only_where_it_can_be_told() -> None:
    received: list[bytes] = []

    async def talk(opened: web.WebSocketResponse) -> None:
        while True:
            message = await opened.receive_bytes()
            received.append(message)
            if message in (b"\xff\x00", b"\x00end"):
                return await opened.send_bytes(b"\x03" + json.dumps(SUCCESS).encode())

    data = bytes(range(256)) * 1024
    async with (
        scripted_api(speaking(talk, V5), speaking(talk, V4)) as api,
        Client(api.config()) as client,
    ):
        for can_close in (True, False):
            received.clear()
            async with client.exec("ns", "pod", "box", ["cat"]) as session:
                assert session.can_close_stdin is can_close
                await session.send(data)
                await session.close_stdin()
                if not can_close:
                    await session.send(b"end")
                _ = [item async for item in session]
            assert b"".join(message[1:] for message in received[:-1]) == data
            assert all(message[0] == 0 and len(message) <= CHUNK + 1 for message in received[:-1])


@virtual
async def test_a_server_that_keeps_the_connection_after_the_report_is_left() -> None:
    async def talk(opened: web.WebSocketResponse) -> None:
        await opened.send_bytes(b"\x03" + json.dumps(SUCCESS).encode())
        await anyio.sleep_forever()

    start = anyio.current_time()
    session, _ = await collect(speaking(talk))
    assert session.exit_code == 0
    assert anyio.current_time() - start < 30.0


@virtual
async def test_sending_into_a_closed_connection_is_a_connection_failure() -> None:
    async with (
        scripted_api(saying(report=SUCCESS)) as api,
        Client(api.config()) as client,
        client.exec("ns", "pod", "box", ["true"]) as session,
    ):
        _ = [item async for item in session]
        with pytest.raises(ConnectionFailed):
            await session.send(b"too late" * CHUNK)


@virtual
async def test_a_command_needs_a_program() -> None:
    async with scripted_api() as api, Client(api.config()) as client:
        with pytest.raises(ValueError, match="program"):
            async with client.exec("ns", "pod", "box", []):
                pass


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (SUCCESS, 0),
        (exited("137"), 137),
        (exited("many"), None),
        ({"status": "Failure", "details": None}, None),
        ({}, None),
    ],
)
def test_exit_codes_are_only_what_the_kubelet_reported(report: dict[str, Any], code: int | None) -> None:
    assert exit_code(report) == code
