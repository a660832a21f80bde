"""Reading an HTTP/1.1 answer out of bytes, however they are cut. Pure: no sockets, no waiting.

Guarantee: an answer is complete only when its own framing says so (chunks, Content-Length, or the end of
the connection where neither is given); what breaks the framing raises :class:`BrokenAnswer`, and what
follows a complete answer is never taken for the next one. Interim answers (1xx) are skipped.

Non-guarantee: nothing is decompressed, because nothing compressed is asked for: on the paths between an
operator and its API server the processor is dearer than the network.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

HEAD_LIMIT = 64 * 1024
LINE_LIMIT = 4 * 1024
_MORE = -1
_HEX = b"0123456789abcdefABCDEF"


class BrokenAnswer(ConnectionError):
    """What arrived is no HTTP answer, or only a part of one."""


class AnswerParser:
    """Feed it bytes; look at ``status`` and ``headers``, then :meth:`take` the content as it comes."""

    __slots__ = (
        "_left",
        "_parts",
        "_rest",
        "_state",
        "complete",
        "headers",
        "keep_alive",
        "status",
        "waiting",
    )

    def __init__(self) -> None:
        self.status = 0
        """0 until the head is complete."""
        self.headers: dict[str, str] = {}
        """By lower-case name."""
        self.complete = False
        self.keep_alive = False
        """Whether another answer may follow on this connection."""
        self.waiting = 0
        """Bytes of content that nobody took yet."""
        self._parts: list[bytes] = []
        self._rest = b""
        self._left = 0
        self._state: Callable[[bytes, int], int] = self._head

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection."""
        if self._rest:
            data, self._rest = self._rest + data, b""
        at = 0
        while at < len(data) and not self.complete:
            following = self._state(data, at)
            if following == _MORE:
                self._rest = data[at:]
                return
            at = following
        if at < len(data):
            self.keep_alive = False

    def ended(self) -> None:
        """The connection's end: of an answer without any framing the only mark there is."""
        if self._state == self._open_end and not self._rest:
            self.complete = True
        if not self.complete:
            raise BrokenAnswer("the connection ended before the answer was complete")

    def take(self) -> list[bytes]:
        """The content that arrived since the last time, in the parts that it came in."""
        parts, self._parts, self.waiting = self._parts, [], 0
        return parts

    def _keep(self, part: bytes) -> None:
        self._parts.append(part)
        self.waiting += len(part)

    def _head(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            if len(data) - at > HEAD_LIMIT:
                raise BrokenAnswer("the head of the answer does not end")
            return _MORE
        first, *lines = data[at:end].decode("latin-1").split("\r\n")
        version, status = _status_line(first)
        # 101 would change the protocol, which nobody asks for here.
        if status == 101:
            raise BrokenAnswer("the server wants to change the protocol")
        if status >= 200:
            self.headers = _headers(lines)
            self._frame(version, status)
            self.status = status
        return end + 4

    def _frame(self, version: str, status: int) -> None:
        headers = self.headers
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise BrokenAnswer(f"the answer is {headers['content-encoding']}, which was not asked for")
        self.keep_alive = version == "HTTP/1.1" and "close" not in headers.get("connection", "").lower()
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if status in (204, 304):
            self.complete = True
        elif coding is not None:
            if coding.lower() != "chunked":
                raise BrokenAnswer(f"the transfer encoding {coding!r} is unknown")
            self._state = self._chunks
        elif length is not None:
            if not (length.isascii() and length.isdecimal()):
                raise BrokenAnswer(f"the content length {length!r} is no number")
            self._left, self._state = int(length), self._counted
            self.complete = self._left == 0
        else:
            self.keep_alive, self._state = False, self._open_end

    def _counted(self, data: bytes, at: int) -> int:
        part = data[at : at + self._left]
        self._keep(part)
        self._left -= len(part)
        self.complete = self._left == 0
        return at + len(part)

    def _open_end(self, data: bytes, at: int) -> int:
        self._keep(data[at:])
        return len(data)

    def _chunks(self, data: bytes, at: int) -> int:
        """Whole chunks, as many as there are: of a busy watch hundreds arrive at once."""
        keep, total, begin = self._parts.append, 0, at
        while (end := data.find(b"\r\n", at)) >= 0:
            size = _size(data[at:end])
            start, at_end = end + 2, end + 2 + size
            if size == 0 or at_end + 2 > len(data):
                self._state, self._left = (self._chunk, size) if size else (self._trailer, 0)
                at = start
                break
            if not data.startswith(b"\r\n", at_end):
                raise BrokenAnswer("a chunk is longer than it says")
            keep(data[start:at_end])
            total += size
            at = at_end + 2
        self.waiting += total
        # What was kept is behind us, even where the next size is not all here yet.
        return at if at > begin else self._no_line(data, at)

    @staticmethod
    def _no_line(data: bytes, at: int) -> int:
        if len(data) - at > LINE_LIMIT:
            raise BrokenAnswer("the size of a chunk does not end")
        return _MORE if at < len(data) else at

    def _chunk(self, data: bytes, at: int) -> int:
        """A chunk that is not all here yet."""
        part = data[at : at + self._left]
        self._keep(part)
        self._left -= len(part)
        if not self._left:
            self._state = self._chunk_end
        return at + len(part)

    def _chunk_end(self, data: bytes, at: int) -> int:
        if len(data) - at < 2:
            return _MORE
        if data[at : at + 2] != b"\r\n":
            raise BrokenAnswer("a chunk is longer than it says")
        self._state = self._chunks
        return at + 2

    def _trailer(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            return self._no_line(data, at)
        self.complete = end == at
        return end + 2


def _status_line(line: str) -> tuple[str, int]:
    version, _, rest = line.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (
        code.isascii() and code.isdecimal() and len(code) == 3
    ):
        raise BrokenAnswer(f"this is no HTTP answer: {line[:80]!r}")
    return version, int(code)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or name != name.strip():
            raise BrokenAnswer(f"this is no header: {line[:80]!r}")
        name, value = name.lower(), value.strip()
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


@functools.lru_cache(maxsize=4096)
def _size(line: bytes) -> int:
    digits = line if line.isalnum() else line.partition(b";")[0].strip()
    if not digits or digits.translate(None, _HEX):
        raise BrokenAnswer(f"this is no size of a chunk: {line[:40]!r}")
    return int(digits, 16)
