"""exec and logs of a running pod."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
import pytest_asyncio

from tests.contract.api import Api, Json
from tests.contract.conftest import eventually

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("pods"), pytest.mark.timeout(300)]

IMAGE = os.environ.get("CONTRACT_IMAGE", "localhost/busybox:1")
"""Any image with a shell that the control plane can run."""

V4, V5 = "v4.channel.k8s.io", "v5.channel.k8s.io"
_SCRIPT = "echo one; echo two; echo three; trap 'exit 0' TERM; while :; do sleep 0.1; done"


@dataclass(slots=True)
class Session:
    """One exec. Byte 0 of each message is its channel."""

    socket: aiohttp.ClientWebSocketResponse
    output: dict[int, bytes] = field(default_factory=dict)

    async def send(self, data: bytes) -> None:
        await self.socket.send_bytes(b"\x00" + data)

    async def close_input(self) -> None:
        await self.socket.send_bytes(b"\xff\x00")

    async def end(self) -> Json:
        """Read to the end; the Status that came on channel 3."""
        async for message in self.socket:
            if message.type == aiohttp.WSMsgType.BINARY:
                channel, data = message.data[0], message.data[1:]
                self.output[channel] = self.output.get(channel, b"") + data
        status: Json = json.loads(self.output[3])
        return status


@asynccontextmanager
async def executing(
    api: Api, pod: str, *command: str, protocol: str = V4, stdin: bool = False
) -> AsyncIterator[Session]:
    query = [("container", "main"), ("stdout", "true"), ("stderr", "true"), ("stdin", str(stdin).lower())]
    query += [("command", word) for word in command]
    url = f"{api.server}{pod}/exec?{urlencode(query)}"
    async with api.session.ws_connect(url, protocols=(protocol,), headers=api.headers) as socket:
        assert socket.protocol == protocol
        yield Session(socket)


@pytest_asyncio.fixture
async def pod(api: Api, namespace: str) -> str:
    """The path of a running pod with one container, ``main``."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    container = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent"}
    container["command"] = ["sh", "-c", _SCRIPT]  # type: ignore[assignment]
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts/default"

    async def account_is_there() -> bool:
        return not await api.gone(account)

    await eventually(account_is_there, "the namespace has its service account")
    spec = {"containers": [container], "terminationGracePeriodSeconds": 1}

    async def is_made() -> bool:
        # Old servers want the account's token secret first, and say 500 until it is there.
        return (await api.request("POST", pods, {"metadata": {"name": "p"}, "spec": spec})).status == 201

    await eventually(is_made, "the pod is made")

    async def runs() -> bool:
        phase: str = (await api.get(f"{pods}/p"))["status"].get("phase", "")
        return phase == "Running"

    await eventually(runs, "the pod runs", 120)
    return f"{pods}/p"


@pytest.mark.parametrize("code", [0, 3])
async def test_the_exit_code_comes_back(api: Api, pod: str, code: int) -> None:
    async with executing(api, pod, "sh", "-c", f"echo out; echo err >&2; exit {code}") as session:
        status = await session.end()
    assert (session.output[1], session.output[2]) == (b"out\n", b"err\n")
    if code == 0:
        assert status["status"] == "Success"
    else:
        assert (status["status"], status["reason"]) == ("Failure", "NonZeroExitCode")
        assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "3"}]


async def test_words_of_a_command_are_not_split(api: Api, pod: str) -> None:
    async with executing(api, pod, "printf", "[%s]", "a b", "$HOME", "") as session:
        await session.end()
    assert session.output[1] == b"[a b][$HOME][]"


async def test_input_goes_in(api: Api, pod: str) -> None:
    data = bytes(range(256)) * 400
    script = f"head -c {len(data)} | wc -c"
    async with executing(api, pod, "sh", "-c", script, stdin=True) as session:
        for start in range(0, len(data), 16_000):
            await session.send(data[start : start + 16_000])
        status = await session.end()
    assert status["status"] == "Success", session.output
    assert session.output[1].strip() == str(len(data)).encode()


async def test_version_5_closes_the_input(api: Api, pod: str) -> None:
    minor = int((await api.get("/version"))["minor"].rstrip("+"))
    if minor < 30:
        with pytest.raises((aiohttp.WSServerHandshakeError, AssertionError)):
            async with executing(api, pod, "cat", protocol=V5, stdin=True):
                pass
        return
    async with executing(api, pod, "cat", protocol=V5, stdin=True) as session:
        await session.send(b"hello")
        await session.close_input()
        status = await session.end()
    assert status["status"] == "Success"
    assert session.output[1] == b"hello"


async def test_a_program_that_is_not_there(api: Api, pod: str) -> None:
    async with executing(api, pod, "/no/such/program") as session:
        status = await session.end()
    assert status["status"] == "Failure"
    assert status.get("reason") in ("InternalError", "NonZeroExitCode")


async def test_exec_names_a_container_that_is_there(api: Api, pod: str) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        async with api.session.ws_connect(
            f"{api.server}{pod}/exec?container=nobody&command=true&stdout=true",
            protocols=(V4,),
            headers=api.headers,
        ):
            pass
    assert refusal.value.status == 400


async def _log(api: Api, pod: str, **query: Any) -> str:
    answer = await api.request("GET", f"{pod}/log", **query)
    assert answer.status == 200, answer.body
    text: str = answer.body
    return text


async def test_logs(api: Api, pod: str) -> None:
    async def has_three_lines() -> bool:
        return (await _log(api, pod)).count("\n") == 3

    await eventually(has_three_lines, "the container has written")
    assert await _log(api, pod) == "one\ntwo\nthree\n"
    assert await _log(api, pod, tailLines="1") == "three\n"
    assert await _log(api, pod, limitBytes="5") == "one\nt"
    (stamp, word) = (await _log(api, pod, tailLines="1", timestamps="true")).split()
    assert word == "three"
    assert stamp.startswith("20")
    assert (await api.request("GET", f"{pod}/log", container="nobody")).status == 400
    assert (await api.request("GET", f"{pod}/log", previous="true")).status == 400


async def test_a_followed_log_ends_with_the_pod(api: Api, pod: str) -> None:
    async with api.session.get(
        f"{api.server}{pod}/log", params={"follow": "true"}, headers=api.headers
    ) as response:
        first = await response.content.readline()
        await api.ok("DELETE", pod)
        rest = await response.content.read()
    # A real node may add that the container is gone.
    assert (first + rest).startswith(b"one\ntwo\nthree\n")


async def test_a_pod_ends_gracefully(api: Api, pod: str) -> None:
    going = await api.ok("DELETE", pod)
    assert going["metadata"]["deletionGracePeriodSeconds"] == 1
    await eventually(lambda: api.gone(pod), "the pod is gone")
