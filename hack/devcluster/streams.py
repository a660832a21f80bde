"""``exec`` over WebSocket and ``log`` of pods, from the API server's side.

Guarantee: protocols v4 and v5 (half-close of standard input); the exit code, or why there is none, comes
as a Status on channel 3 after all output.
Non-guarantee: SPDY, which kubectl before 1.30 asks for; attach and port-forward. A process whose
connection is cut is killed; a real node lets it run.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Protocol

import anyio
from aiohttp import WSMsgType, web
from anyio.abc import ByteReceiveStream

from hack.devcluster.errors import ApiStatus, bad_request
from hack.devcluster.node import LogOptions, NodeError, Process
from hack.devcluster.objects import Obj
from hack.devcluster.pod_rules import containers
from hack.devcluster.registry import Registry
from hack.devcluster.requests import is_true
from hack.devcluster.verbs import Call

STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"


class PodRunner(Protocol):
    """What serves exec and logs: the node, or nothing at all."""

    async def exec(self, pod: Obj, container: str, command: list[str], tty: bool, stdin: bool) -> Process: ...

    def log(self, pod: Obj, container: str, options: LogOptions) -> AsyncIterator[bytes]: ...


class Streams:
    def __init__(self, registry: Registry, runner: PodRunner | None) -> None:
        self._registry = registry
        self._runner = runner

    # --- logs ---------------------------------------------------------------------------------------

    async def log(self, call: Call) -> web.StreamResponse:
        pod, container = self._container(call)
        chunks = aiter(self._node.log(pod, container, _log_options(call.request)))
        try:
            # The first chunk is asked for before the head goes out: a refusal is an answer of its own.
            first = await anext(chunks, b"")
        except NodeError as error:
            raise _as_status(error) from error
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        await response.prepare(call.request)
        if first:
            await response.write(first)
        async for chunk in chunks:
            await response.write(chunk)
        await response.write_eof()
        return response

    # --- exec ---------------------------------------------------------------------------------------

    async def exec(self, call: Call) -> web.StreamResponse:
        query = call.request.query
        if call.request.headers.get("Upgrade", "").lower() != "websocket":
            raise bad_request("unable to upgrade: this server speaks WebSocket only (kubectl 1.30 or newer)")
        pod, container = self._container(call)
        command = query.getall("command", [])
        if not command:
            raise bad_request("you must specify at least 1 command for the container")
        tty, stdin = is_true(query.get("tty")), is_true(query.get("stdin"))
        socket = web.WebSocketResponse(protocols=(V5, V4), max_msg_size=0)
        try:
            process = await self._node.exec(pod, container, command, tty, stdin)
        except NodeError as error:
            return await _refuse(call.request, socket, error)
        try:
            await socket.prepare(call.request)
            await _converse(socket, process, query.get("stdout") != "false", query.get("stderr") != "false")
        finally:
            with anyio.CancelScope(shield=True):
                await process.aclose()
        return socket

    @property
    def _node(self) -> PodRunner:
        if self._runner is None:
            raise ApiStatus(503, "ServiceUnavailable", "this control plane has no node")
        return self._runner

    def _container(self, call: Call) -> tuple[Obj, str]:
        pod = self._registry.get(call.gr, *call.key)
        asked = call.request.query.get("container", "")
        names = [each["name"] for each in containers(pod["spec"])]
        annotated = pod["metadata"].get("annotations", {}).get("kubectl.kubernetes.io/default-container")
        main = [each["name"] for each in pod["spec"].get("containers") or ()]
        if not asked and len(main) > 1 and annotated not in names:
            choice = f"choose one of: [{' '.join(main)}]"
            raise bad_request(f"a container name must be specified for pod {call.target.name}, {choice}")
        container = asked or annotated or main[0]
        if container not in names:
            raise bad_request(f"container {container} is not valid for pod {call.target.name}")
        if not pod["spec"].get("nodeName"):
            raise bad_request(f"pod {call.target.name} does not have a host assigned")
        return pod, container


def _as_status(error: NodeError) -> ApiStatus:
    reason = {400: "BadRequest", 404: "NotFound"}.get(error.status, "InternalError")
    return ApiStatus(error.status, reason, error.message)


async def _refuse(
    request: web.Request, socket: web.WebSocketResponse, error: NodeError
) -> web.StreamResponse:
    """A container that is not there is an answer; a program that does not start is told in the stream."""
    if error.status != 500 or error.message.startswith("unable to upgrade connection"):
        raise _as_status(error)
    await socket.prepare(request)
    status = {
        "metadata": {},
        "status": "Failure",
        "message": error.message,
        "reason": "InternalError",
        "code": 500,
    }
    await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
    await socket.close()
    return socket


def _log_options(request: web.Request) -> LogOptions:
    query = request.query

    def number(name: str) -> int | None:
        return int(query[name]) if name in query else None

    since = query.get("sinceTime")
    return LogOptions(
        previous=is_true(query.get("previous")),
        follow=is_true(query.get("follow")),
        timestamps=is_true(query.get("timestamps")),
        tail_lines=number("tailLines"),
        limit_bytes=number("limitBytes"),
        since_seconds=number("sinceSeconds"),
        since_time=datetime.fromisoformat(since.replace("Z", "+00:00")) if since else None,
    )


async def _converse(socket: web.WebSocketResponse, process: Process, stdout: bool, stderr: bool) -> None:
    # Real servers announce themselves with one empty message on the first output channel.
    await socket.send_bytes(bytes([STDOUT if stdout else STDERR if stderr else ERROR]))
    async with anyio.create_task_group() as group:
        group.start_soon(_feed, socket, process, group.cancel_scope.cancel)
        async with anyio.create_task_group() as outputs:
            outputs.start_soon(_drain, socket, STDOUT, process.stdout, stdout)
            if process.stderr is not None:
                outputs.start_soon(_drain, socket, STDERR, process.stderr, stderr)
        status = _exit_status(await process.wait())
        await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
        group.cancel_scope.cancel()
    with anyio.CancelScope(shield=True), anyio.move_on_after(5):
        await socket.close()


async def _feed(socket: web.WebSocketResponse, process: Process, gone: Callable[[], None]) -> None:
    """Client to process. A client that goes away ends the conversation."""
    async for message in socket:
        if message.type != WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and process.stdin is not None and data:
            try:
                await process.stdin.send(data)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                continue  # the program does not read any more: what comes is thrown away, as everywhere
        elif channel == CLOSE and data[:1] == bytes([STDIN]) and process.stdin is not None:
            await process.stdin.aclose()
        elif channel == RESIZE:
            size = json.loads(data)
            process.resize(size["Width"], size["Height"])
    gone()


async def _drain(
    socket: web.WebSocketResponse, channel: int, stream: ByteReceiveStream, wanted: bool
) -> None:
    async for chunk in stream:
        if wanted:
            await socket.send_bytes(bytes([channel]) + chunk)


def _exit_status(code: int) -> Obj:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: error executing command, exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
