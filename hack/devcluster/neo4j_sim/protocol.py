"""The private protocol between simulated tools and servers: one JSON object a line, then raw bytes.

Guarantee: a peer that goes away in the middle is a ConnectionError, never a short answer.

On the devcluster's node every pod has its own loopback address, to which it maps ``localhost``, while
127.0.0.1 is everybody's. So what binds to "this host" binds to that address, and a client calls from it, by
which a server that listens on loopback only can tell its own pod from the others, as a kernel would.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, BinaryIO

Json = dict[str, Any]

BOLT_PORT = 7687
BACKUP_PORT = 6362
CLUSTER_PORT = 6000
HTTP_PORT = 7474

_LOOPBACK = "127.0.0.1"
_THIS_HOST = ("localhost", _LOOPBACK)
_WILDCARDS = ("0.0.0.0", "::")


def pod_address() -> str:
    """The address that this pod calls ``localhost``."""
    address = os.environ.get("DEVCLUSTER_POD_IP")
    if address:
        return address
    try:
        return socket.gethostbyname("localhost")
    except OSError:
        return _LOOPBACK


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to bind, and whether only this pod may come in."""

    host: str
    port: int
    local_only: bool


def split_address(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, default_port
    return host, int(port)


def listen_on(setting: str, default_host: str, default_port: int) -> Listen:
    """The meaning of a ``…listen_address`` setting on this host."""
    host, port = split_address(setting, default_port)
    host = host or default_host
    pod = pod_address()
    local_only = host in _THIS_HOST
    if pod != _LOOPBACK and (local_only or host in _WILDCARDS):
        host = pod
    return Listen(host, port, local_only)


class Connection:
    """One connection. Used by one thread at a time."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock
        self._reader: BinaryIO = sock.makefile("rb")

    def send(self, message: Json) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    def send_bytes(self, data: bytes) -> None:
        self._socket.sendall(data)

    def receive(self) -> Json:
        line = self._reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("connection closed by peer")
        message: Json = json.loads(line)
        return message

    def receive_bytes(self, length: int, chunk_size: int = 1 << 16) -> Iterator[bytes]:
        remaining = length
        while remaining:
            chunk = self._reader.read(min(remaining, chunk_size))
            if not chunk:
                raise ConnectionError("connection closed by peer")
            remaining -= len(chunk)
            yield chunk

    def ask(self, message: Json) -> Json:
        self.send(message)
        return self.receive()

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def connect(host: str, port: int, timeout: float) -> Connection:
    """Raises OSError when the host cannot be found or reached."""
    pod = pod_address()
    address = pod if host in _THIS_HOST else socket.gethostbyname(host)
    source = (pod, 0) if pod != _LOOPBACK and address.startswith("127.") else None
    return Connection(socket.create_connection((address, port), timeout=timeout, source_address=source))


def ask_once(host: str, port: int, message: Json, timeout: float) -> Json:
    with closing(connect(host, port, timeout)) as connection:
        return connection.ask(message)
