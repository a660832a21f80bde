"""Stands in front of an S3 server and does to requests what a trouble asks for.

Guarantee: without a trouble every request goes through unchanged; nothing is done to what tests ask the
server directly.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from tests.faults.plan import Kind, Trouble

SLOW_SECONDS = 0.15
_HOP_BY_HOP = {"connection", "transfer-encoding", "keep-alive", "content-length"}
_ANSWERS = {
    Kind.STORE_REFUSES: (503, "SlowDown"),
    Kind.STORE_DENIES: (403, "AccessDenied"),
    Kind.STORE_FULL: (507, "XMinioStorageFull"),
    Kind.BUCKET_GONE: (404, "NoSuchBucket"),
}


@dataclass
class Gate:
    """The armed trouble and how much of it has happened."""

    target: str
    endpoint: str = ""
    trouble: Trouble | None = None
    seen: int = 0
    done: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def arm(self, trouble: Trouble | None) -> None:
        with self._lock:
            self.trouble, self.seen, self.done = trouble, 0, 0

    def strikes(self, method: str, path: str) -> Trouble | None:
        """The trouble, when this request is one that it hits."""
        with self._lock:
            trouble = self.trouble
            if trouble is None or not _matches(trouble.kind, method, path):
                return None
            self.seen += 1
            if self.seen < _first(trouble) or (self.done >= trouble.count and not trouble.for_ever):
                return None
            self.done += 1
            return trouble


def _first(trouble: Trouble) -> int:
    # A run has few artifacts and one manifest; of requests in all it has about fifteen.
    if trouble.kind in {Kind.UPLOAD_CORRUPT, Kind.ROT}:
        return 1 + trouble.at_request % 2
    return 1 if trouble.kind is Kind.MANIFEST_LOST else trouble.at_request


def _matches(kind: Kind, method: str, path: str) -> bool:
    key = urlsplit(path).path
    match kind:
        case Kind.UPLOAD_CORRUPT:
            return method == "PUT" and "/databases/" in key
        case Kind.ROT:
            # A part alone is no object yet: the end of its upload makes it one.
            whole = "uploadId=" in path if method == "POST" else "uploadId=" not in path
            return method in {"POST", "PUT"} and whole and "/databases/" in key
        case Kind.MANIFEST_LOST:
            return method == "PUT" and "/runs/" in key
        case Kind.STORE_SLOW | Kind.STORE_CUTS:
            return True
    return kind in _ANSWERS


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        trouble = self.server.gate.strikes(self.command, self.path)
        length = int(self.headers.get("Content-Length", 0))
        kind = trouble.kind if trouble else None
        if trouble and kind is Kind.STORE_CUTS:
            self.rfile.read(int(length * trouble.fraction))
            self._hang_up()
            return
        body = self.rfile.read(length)
        if trouble and kind in _ANSWERS:
            self._refuse(*_ANSWERS[trouble.kind])
            return
        if kind is Kind.STORE_SLOW:
            time.sleep(SLOW_SECONDS)
        if trouble and kind is Kind.UPLOAD_CORRUPT:
            body = _flipped(body, trouble.fraction)
        status, headers, answer = self._forward(self.command, self.path, body)
        if trouble and kind is Kind.ROT:
            self._spoil(trouble.fraction)
        if kind is Kind.MANIFEST_LOST:
            self._hang_up()
            return
        self._reply(status, headers, answer)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - http.server's names

    def _spoil(self, fraction: float) -> None:
        """Change the object that has just been written, without the writer."""
        path = urlsplit(self.path).path
        _, _, body = self._forward("GET", path, b"")
        self._forward("PUT", path, _flipped(body, fraction))

    def _forward(self, method: str, path: str, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        upstream = urlsplit(self.server.gate.target)
        connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=30)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
            connection.request(method, path, body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        length = str(len(body))
        for name, value in headers:
            if name.lower() == "content-length" and self.command == "HEAD":
                length = value
            elif name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: int, code: str) -> None:
        text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
        self._reply(status, [("Content-Type", "application/xml")], text.encode())

    def _hang_up(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Tests read the runner's log, not this one's."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A runner that was killed leaves its connections as they are."""


def _flipped(body: bytes, fraction: float) -> bytes:
    if not body:
        return body
    data = bytearray(body)
    data[min(len(data) - 1, int(len(data) * fraction))] ^= 0x20
    return bytes(data)


@contextmanager
def gate_before(target: str) -> Iterator[Gate]:
    """A gate before the server at the URL ``target``."""
    gate = Gate(target)
    with _Server(gate) as server:
        gate.endpoint = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield gate
        finally:
            server.shutdown()
