"""The verb ``serve``: one run's artifacts over HTTPS, for one runner, for one transfer.

Guarantee: TLS 1.3 with the certificate that came through standard input, which never touches a disk
(neither does its key: both are handed to OpenSSL as anonymous memory); only a request with the run's
token gets an answer other than 401, and only the artifacts that the run's status lists can be read.
It ends when standard input closes, or when nothing was asked for during the idle time.
Non-guarantee: a client that reads slowly keeps its connection; memory stays flat.
"""

from __future__ import annotations

import hmac
import os
import re
import selectors
import socket
import ssl
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from controller.agent.answers import NO_SUCH_RUN, answer, complain, read_line
from controller.agent.artifacts import Shelf
from controller.agent.places import default_places
from controller.wire.locations import ENV_POD_IP
from controller.wire.messages import ServeReady, ServeRequest, Unreadable, decode

CHUNK = 1024 * 1024
STALL_SECONDS = 60.0
_PREFIX = "/artifacts/"
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
_ANYWHERE = "0.0.0.0"  # noqa: S104 - where no pod address is given; the token guards it


class Server(ThreadingHTTPServer):
    """A thread a connection: a runner opens a handful."""

    daemon_threads = True

    def __init__(self, address: str, context: ssl.SSLContext, shelf: Shelf, token: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.context = context
        self.shelf = shelf
        self.token = token.encode()
        self.busy = 0
        self.last_used = time.monotonic()
        self._lock = threading.Lock()
        super().__init__((address, 0), Handler)

    def get_request(self) -> tuple[socket.socket, object]:
        """The handshake is left to the connection's thread: a silent client must not block the others."""
        connection, peer = super().get_request()
        connection.settimeout(STALL_SECONDS)
        return self.context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), peer

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away or speaks no TLS is its own problem: it comes back and resumes."""

    def server_bind(self) -> None:
        """Without the base class's reverse look-up, which can hang for seconds in a cluster."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def enter(self, change: int) -> None:
        with self._lock:
            self.busy += change
            self.last_used = time.monotonic()

    def idle_seconds(self) -> float:
        with self._lock:
            return 0.0 if self.busy else time.monotonic() - self.last_used


class Handler(BaseHTTPRequestHandler):
    """``GET`` and ``HEAD`` of ``/artifacts/<file>`` with ``Range``."""

    protocol_version = "HTTP/1.1"
    server_version = "neo4j-backup-agent"
    sys_version = ""
    server: Server

    def do_GET(self) -> None:
        self.server.enter(+1)
        try:
            self._answer(with_body=True)
        finally:
            self.server.enter(-1)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:
        """Standard output and error belong to the protocol."""

    def _answer(self, with_body: bool) -> None:
        if not self._is_authorised():
            self._refuse(HTTPStatus.UNAUTHORIZED)
            return
        path = self._path()
        if path is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        with path.open("rb") as source:
            self._send(source, with_body)

    def _is_authorised(self) -> bool:
        given = self.headers.get("Authorization", "").encode()
        return hmac.compare_digest(given, b"Bearer " + self.server.token)

    def _path(self) -> Path | None:
        if not self.path.startswith(_PREFIX):
            return None
        return self.server.shelf.find(unquote(self.path.removeprefix(_PREFIX)))

    def _send(self, source: BinaryIO, with_body: bool) -> None:
        found = os.fstat(source.fileno())
        tag = f'"{found.st_size}-{found.st_mtime_ns}"'
        asked = self.headers.get("Range", "")
        if asked and self.headers.get("If-Range", tag) == tag:
            span = parse_range(asked, found.st_size)
            if span is None:
                self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, found.st_size)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT)
            self.send_header("Content-Range", f"bytes {span[0]}-{span[1] - 1}/{found.st_size}")
        else:
            span = (0, found.st_size)
            self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(span[1] - span[0]))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", tag)
        self.end_headers()
        if with_body:
            self._copy(source, *span)

    def _copy(self, source: BinaryIO, start: int, end: int) -> None:
        source.seek(start)
        left = end - start
        while left:
            chunk = source.read(min(CHUNK, left))
            if not chunk:
                # shorter than announced: closing tells the client, who asks for the rest
                self.close_connection = True
                return
            self.wfile.write(chunk)
            left -= len(chunk)

    def _refuse(self, status: HTTPStatus, size: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        if size is not None:
            self.send_header("Content-Range", f"bytes */{size}")
        self.end_headers()


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """Start and end (exclusive) of a single range; ``None`` when it cannot be satisfied."""
    match = _RANGE.match(text.strip())
    if not match or not (match[1] or match[2]):
        return None
    if not match[1]:
        start, end = max(0, size - int(match[2])), size
    else:
        start, end = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
    return (start, end) if start < end else None


def tls_context(certificate_pem: str, private_key_pem: str) -> ssl.SSLContext:
    """Certificate and key reach OpenSSL, which only reads files, through memory that has no name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    descriptor = os.memfd_create("tls")
    try:
        os.write(descriptor, f"{private_key_pem}\n{certificate_pem}\n".encode())
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


def serve() -> int:
    """Until standard input closes or nobody asks any more."""
    try:
        request = decode(read_line(), ServeRequest)
        context = tls_context(request.certificate_pem, request.private_key_pem)
    except (Unreadable, ssl.SSLError) as error:
        return complain(f"standard input is no request to serve: {type(error).__name__}", 64)
    if not request.token:
        return complain("a token is missing", 64)
    shelf = Shelf(default_places(), request.run_id)
    if not shelf.exists():
        return complain(f"run {request.run_id} has no artifacts", NO_SUCH_RUN)
    with _listen(context, shelf, request.token) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
        thread.start()
        address = os.environ.get(ENV_POD_IP) or server.server_name
        answer(ServeReady(address=address, port=server.server_port))
        _wait(server, request.idle_timeout_seconds)
        server.shutdown()
    return 0


def _listen(context: ssl.SSLContext, shelf: Shelf, token: str) -> Server:
    try:
        return Server(os.environ.get(ENV_POD_IP) or _ANYWHERE, context, shelf, token)
    except OSError:
        # the pod's address may be one that is translated on the way and not ours to bind to
        return Server(_ANYWHERE, context, shelf, token)


def _wait(server: Server, idle_timeout_seconds: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        while server.idle_seconds() < idle_timeout_seconds:
            if selector.select(min(0.5, idle_timeout_seconds)) and not os.read(0, 65536):
                return
