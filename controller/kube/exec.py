"""Commands in containers, over the WebSocket channel protocol (v5 where the server has it, else v4).

Guarantee: binary safe in both directions; the sender waits when the process does not read; the exit
code is the one that the kubelet reported, and a connection that ended without any report raises
:class:`ConnectionFailed` instead of looking like success. A failure that is not the command's own
(no such container, runtime trouble) is an :class:`ApiError`.

Non-guarantee: what was sent need not have been read. A process that closes its output early loses
input in silence (containerd), so a protocol on top must confirm what arrived.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiohttp
import anyio
import msgspec

from controller.kube.errors import ConnectionFailed, status_error
from controller.kube.transport import Transport
from controller.kube.websocket import WebSocket

STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3
CLOSE = 255
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
CHUNK = 32 * 1024
"""Bytes a message of ours carries: small enough that progress is smooth and buffers stay flat."""
AFTER_REPORT_SECONDS = 5.0
"""How long a server may leave the connection open after it reported the command's end."""


class ExecSession:
    """A running command: send its input, iterate its output, then look at ``exit_code``.

    Iterating yields ``(channel, bytes)`` with channel 1 for stdout and 2 for stderr, until the command
    ended. One task may send while another iterates.
    """

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._status: dict[str, Any] | None = None
        self.exit_code: int | None = None
        self.error: str = ""

    @property
    def can_close_stdin(self) -> bool:
        """Whether the server understands the end of input (v5, Kubernetes 1.30 and later)."""
        return self._socket.protocol == V5

    async def send(self, data: bytes) -> None:
        """Write to the command's standard input; waits while the connection is full."""
        for start in range(0, len(data), CHUNK):
            await self._send(bytes([STDIN]) + data[start : start + CHUNK])

    async def close_stdin(self) -> None:
        """End of input. Servers before v5 cannot be told: the protocol on top needs its own end mark."""
        if self.can_close_stdin:
            await self._send(bytes([CLOSE, STDIN]))

    async def _send(self, message: bytes) -> None:
        try:
            await self._socket.send_bytes(message)
        except (aiohttp.ClientError, OSError) as error:
            raise ConnectionFailed(f"exec: the connection ended while sending: {error}") from error

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        while (message := await self._receive()) is not None:
            channel, content = message[0], message[1:]
            if channel == ERROR:
                self._note_report(content)
            elif channel in (STDOUT, STDERR) and content:
                yield channel, content
        self._conclude()

    async def _receive(self) -> bytes | None:
        """The next message with a channel byte; None at the end of the stream."""
        while True:
            message = await self._next_message()
            if message is None or message.type in _ENDS:
                return None
            if message.type is aiohttp.WSMsgType.BINARY and message.data:
                return bytes(message.data)
            if message.type is aiohttp.WSMsgType.TEXT and message.data:
                return str(message.data).encode()

    async def _next_message(self) -> aiohttp.WSMessage | None:
        if self._status is None:
            return await self._socket.receive()
        with anyio.move_on_after(AFTER_REPORT_SECONDS):
            return await self._socket.receive()
        return None

    def _note_report(self, content: bytes) -> None:
        with contextlib.suppress(msgspec.DecodeError):
            document = msgspec.json.decode(content)
            if isinstance(document, dict):
                self._status = document
                return
        self._status = {"status": "Failure", "message": content.decode("utf-8", "replace")}

    def _conclude(self) -> None:
        if self._status is None:
            raise ConnectionFailed("exec: the connection ended before the command's end was reported")
        self.exit_code = exit_code(self._status)
        self.error = "" if self.exit_code == 0 else str(self._status.get("message") or "")
        if self.exit_code is None:
            raise status_error(self._status)


_ENDS = frozenset(
    {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }
)


def exit_code(status: dict[str, Any]) -> int | None:
    """The command's exit code in a Status of channel 3; None when the failure is not the command's."""
    if status.get("status") == "Success":
        return 0
    causes = (status.get("details") or {}).get("causes") or []
    for cause in causes:
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdecimal():
            return int(cause["message"])
    return None


@contextlib.asynccontextmanager
async def open_exec(
    transport: Transport, path: str, container: str, command: Sequence[str]
) -> AsyncIterator[ExecSession]:
    """Start ``command``; leaving the block cuts the connection if the command still runs."""
    if not command:
        raise ValueError("a command needs at least its program")
    query = [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    query += [("command", argument) for argument in command]
    async with transport.websocket(path, query=query, protocols=(V5, V4)) as socket:
        yield ExecSession(socket)
