"""As much of HTTP/1.1 as our own client speaks: one request at a time, answers whole or in chunks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from tests.sim.faults import RequestFault

if TYPE_CHECKING:
    from tests.sim.processes import Process


@dataclass(slots=True)
class Incoming:
    """A request; also what :class:`hack.devcluster.verbs.Call` wants of one."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    number: int = 0
    fault: RequestFault | None = None
    process: Process | None = None

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"

    @property
    def is_write(self) -> bool:
        return self.method != "GET"

    @property
    def can_read_body(self) -> bool:
        return bool(self.body)

    async def text(self) -> str:
        return self.body.decode()

    async def read(self) -> bytes:
        return self.body

    def __str__(self) -> str:
        verb = "WATCH" if self.is_watch else self.method
        return f"#{self.number} {verb} {self.path.removeprefix('/apis/')}"


class RequestReader:
    """Feed it what a connection wrote."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Incoming | None:
        """The request, once it is complete."""
        data = self._rest + data
        head, separator, body = data.partition(b"\r\n\r\n")
        if not separator:
            self._rest = data
            return None
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        if len(body) < int(headers.get("Content-Length", 0)):
            self._rest = data
            return None
        self._rest = b""
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        return Incoming(method, unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers, body)


def whole(status: int, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    """An answer with its length."""
    lines = [f"HTTP/1.1 {status} Something", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A part of a stream."""
    return b"%x\r\n%b\r\n" % (len(data), data)
