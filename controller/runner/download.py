"""One HTTPS request for an artifact, or for the rest of one, in a thread of its own.

Guarantee: nothing, the token least of all, is sent before the peer proved to have the key of the pinned
certificate. What arrives goes into the channel in order; :class:`Interrupted` means that the request can
be repeated from ``channel.received``. A listener that cannot be connected to is told apart
(:class:`Unreachable`), because there is another way then.

Non-guarantee: no retries here; whoever calls decides.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import quote

from controller.runner.channel import Channel
from controller.runner.credentials import fingerprint

CHUNK = 512 * 1024
RECORD = 16 * 1024
"""TLS hands over no more at once, and asking for more makes room for it each time."""


class TransferFailed(Exception):
    """The artifact cannot be carried from this agent; one line says why."""


class Interrupted(Exception):
    """The connection broke or stalled; what came through counts."""


class Unreachable(Interrupted):
    """No connection to the agent's port at all."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A listener, and how to recognise it."""

    address: str
    port: int
    fingerprint: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds."""

    connect: float = 5.0
    stall: float = 30.0


class Download:
    """One request; :meth:`abort` from any thread makes it raise within moments."""

    def __init__(self, endpoint: Endpoint, limits: Limits | None = None) -> None:
        self._endpoint = endpoint
        self._limits = limits or Limits()
        self._socket: ssl.SSLSocket | None = None
        self._lock = threading.Lock()
        self._aborted = False

    def run(self, file: str, size: int, channel: Channel) -> None:
        """Put the bytes of ``file`` from ``channel.received`` to ``size`` into ``channel``."""
        connection = http.client.HTTPConnection(self._endpoint.address, self._endpoint.port)
        try:
            connection.sock = self._connect()
            self._request(connection, file, channel.received)
            self._read(connection.getresponse(), file, size, channel)
        except Interrupted:
            raise
        except (OSError, http.client.HTTPException) as error:
            raise Interrupted(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()

    def abort(self) -> None:
        with self._lock:
            self._aborted = True
            if self._socket:
                # shutdown, unlike close, wakes a thread that is reading
                with suppress(OSError):
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _connect(self) -> ssl.SSLSocket:
        where = (self._endpoint.address, self._endpoint.port)
        try:
            plain = socket.create_connection(where, timeout=self._limits.connect)
        except OSError as error:
            raise Unreachable(f"no connection to {where[0]}:{where[1]}: {error}") from error
        secure = _context().wrap_socket(plain)
        secure.settimeout(self._limits.stall)
        with self._lock:
            self._socket = secure
        seen = fingerprint(secure.getpeercert(binary_form=True) or b"")
        if self._aborted or seen != self._endpoint.fingerprint:
            secure.close()
            # A listener that ended may have left its port to another: a new one is worth a try.
            raise Interrupted(f"{where[0]}:{where[1]} shows a certificate that is not this run's")
        return secure

    def _request(self, connection: http.client.HTTPConnection, file: str, offset: int) -> None:
        headers = {"Authorization": f"Bearer {self._endpoint.token}"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        connection.request("GET", f"/artifacts/{quote(file, safe='')}", headers=headers)

    def _read(self, response: http.client.HTTPResponse, file: str, size: int, channel: Channel) -> None:
        expected = http.HTTPStatus.PARTIAL_CONTENT if channel.received else http.HTTPStatus.OK
        if response.status != expected:
            raise TransferFailed(f"the agent answered {response.status} {response.reason} for {file}")
        if channel.received + (response.length or 0) != size:
            raise TransferFailed(f"{file} is not the {size} bytes that the agent announced any more")
        for chunk in _chunks(response):
            channel.put(chunk)
        if channel.received < size:
            raise Interrupted(f"the connection ended at byte {channel.received} of {size}")


def _chunks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """The body in chunks of about :data:`CHUNK`; what came before a cut is not lost with it.

    ``read`` would drop what it holds when the connection breaks, and a way that breaks often would
    never get an artifact across.
    """
    held: list[bytes] = []
    size = 0
    try:
        while data := response.read1(RECORD):
            held.append(data)
            size += len(data)
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
    except OSError:
        if held:
            yield b"".join(held)
        raise
    if held:
        yield b"".join(held)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The fingerprint is compared instead: a chain would add clocks and names, and prove no more.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
