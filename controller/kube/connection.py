"""Connections to one server, kept and used again: TCP or TLS, directly or through a proxy's tunnel.

Guarantee: one exchange at a time on a connection, and none on one that broke, that closed, or whose
last answer was not read to its end. A stream that nobody reads stops being received. Leaving an exchange
early, by an error or by cancellation, cuts its connection, and what was not sent by then never is.

Every wait ends at the moment that the caller names, by the loop's clock. A timer that many waits share does
that and not a cancel scope for each, which would be a tenth of a request's cost.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import anyio

from controller.kube.http1 import AnswerParser, BrokenAnswer

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 15.0
"""A connection that rested longer is not used again: something in between may have forgotten it."""
HIGH_WATER = 1024 * 1024
"""Bytes of a stream that wait for their reader before the sender is held back."""
HAPPY_EYEBALLS_SECONDS = 0.25
_NO_LINGERING = struct.pack("ii", 1, 0)


class Connection(asyncio.Protocol):
    """One connection; :class:`Pool` makes and keeps them."""

    def __init__(self) -> None:
        # Kept, because asking for the running one is a system call before Python 3.12, five times a request.
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        """By the clock of all limits here."""
        self._transport: asyncio.Transport | None = None
        self._parser: AnswerParser | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._error: OSError | None = None
        self._streaming = self._paused = False
        self._until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.gone = anyio.Event()
        self.rested_since = 0.0
        self.used = False
        """Whether it carried an answer before: such a one may have been closed meanwhile."""

    @property
    def is_open(self) -> bool:
        transport = self._transport
        return transport is not None and not transport.is_closing() and self._error is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        keep_alive(transport.get_extra_info("socket"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._parser is not None and self._error is None:
            try:
                self._parser.ended()
            except BrokenAnswer as broken:
                self._error = exc if isinstance(exc, OSError) else broken
        self._wake()
        self.gone.set()

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._parser.complete:
            # Nobody asked, so whatever it answers cannot be for us.
            self.cut()
            return
        try:
            self._parser.feed(data)
        except BrokenAnswer as broken:
            self._error = broken
            self.cut()
        if self._streaming and self._parser.waiting > HIGH_WATER:
            self._pause()
        self._wake()

    def cut(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def abandon(self) -> None:
        """Close at once, and forget what waits to be sent: the kernel would try to deliver it for minutes."""
        if self._transport is not None:
            opened = self._transport.get_extra_info("socket")
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGERING)
            self._transport.abort()

    async def ask(self, request: bytes, until: float) -> AnswerParser:
        """Send a request and wait for the head of the answer."""
        if self._transport is None:
            raise BrokenAnswer("the connection is closed")
        parser = self._parser = AnswerParser()
        self._streaming = False
        self._transport.write(request)
        while not parser.status:
            await self._more(until)
        return parser

    async def whole(self, parser: AnswerParser, until: float) -> bytes:
        """All of the answer's content."""
        while not parser.complete:
            await self._more(until)
        return b"".join(parser.take())

    async def parts(self, parser: AnswerParser, until: float) -> list[bytes]:
        """What of the content arrived since the last time; nothing at the end."""
        self._streaming = True
        while not parser.waiting and not parser.complete:
            await self._more(until)
        return parser.take()

    async def encrypt(self, context: ssl.SSLContext, name: str) -> None:
        """Go on in TLS, after a proxy opened its tunnel."""
        if self._transport is None:
            raise BrokenAnswer("the proxy closed the connection")
        self._parser = None
        self._transport = await self._loop.start_tls(self._transport, self, context, server_hostname=name)

    async def _more(self, until: float) -> None:
        if self._error is not None:
            raise self._error
        if self._transport is None:
            raise BrokenAnswer("the connection is closed")
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._waiter, self._until = self._loop.create_future(), until
        if self._timer is None or self._timer.when() > until:
            self._set_timer()
        try:
            await self._waiter
        finally:
            self._waiter = None
        if self._error is not None:
            raise self._error

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until, self._look_at_the_clock)

    def _look_at_the_clock(self) -> None:
        """The timer of a wait, which ended long ago as a rule: then it is the newest one's from now on."""
        self._timer = None
        if self._waiter is None:
            return
        if self.now() < self._until:
            self._set_timer()
            return
        self._error = self._error or TimeoutError("no answer within the limit")
        self._wake()

    def _pause(self) -> None:
        if not self._paused and self.is_open and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pool:
    """The connections to ``server``; :meth:`close` ends them all."""

    def __init__(
        self, server: str, tls: ssl.SSLContext | None, proxy: str | None = None, name: str | None = None
    ) -> None:
        self._server = urlsplit(server)
        self._proxy = urlsplit(proxy) if proxy else None
        self._tls = (tls or ssl.create_default_context()) if self._server.scheme == "https" else None
        self._name = name or self._server.hostname or ""
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        """By the clock of all limits here."""
        self._resting: list[Connection] = []
        self._living: set[Connection] = set()
        # A proxy that forwards plain requests wants to be told the whole address.
        forwards = self._proxy is not None and self._tls is None
        self.prefix = server if forwards else self._server.path
        """What comes before a path in a request."""
        self.authority = self._server.netloc.rpartition("@")[2]

    @contextlib.asynccontextmanager
    async def connection(self, until: float) -> AsyncIterator[Connection]:
        """A fresh connection for one exchange."""
        connection = await self.take(until, fresh=True)
        try:
            yield connection
        finally:
            self.put_back(connection)

    async def take(self, until: float, *, fresh: bool = False) -> Connection:
        """A connection for one exchange; :meth:`put_back` must follow, whatever happens."""
        return (None if fresh else self._rested()) or await self._connected(until)

    async def close(self) -> None:
        """Cut everything and wait until it is gone."""
        self._resting.clear()
        for connection in self._living:
            connection.cut()
        for connection in [*self._living]:
            await connection.gone.wait()

    def _rested(self) -> Connection | None:
        """The one that rested shortest."""
        now = self.now()
        while self._resting:
            connection = self._resting.pop()
            if connection.is_open and now - connection.rested_since < IDLE_SECONDS:
                return connection
            connection.cut()
            self._living.discard(connection)
        return None

    def put_back(self, connection: Connection) -> None:
        """The exchange is over, well or badly."""
        parser = connection._parser
        whole = parser is not None and parser.complete and parser.keep_alive
        # A stream's never rests: streams do not take rested ones, so each would leave one more behind.
        if connection.is_open and whole and not connection._streaming:
            connection.rested_since, connection.used = self.now(), True
            self._resting.append(connection)
        else:
            connection.abandon()
            self._living.discard(connection)
        self._let_go_of_old()

    def _let_go_of_old(self) -> None:
        oldest = self.now() - IDLE_SECONDS
        while self._resting and self._resting[0].rested_since <= oldest:
            connection = self._resting.pop(0)
            connection.cut()
            self._living.discard(connection)

    async def _connected(self, until: float) -> Connection:
        now = self.now()
        with anyio.fail_after(min(CONNECT_SECONDS, until - now)):
            if self._proxy is None:
                return await self._open(self._server, self._tls, self._name)
            own = ssl.create_default_context() if self._proxy.scheme == "https" else None
            connection = await self._open(self._proxy, own, self._proxy.hostname or "")
            if self._tls is not None:
                await self._tunnel(connection, self._proxy, self._tls, until)
            return connection

    async def _open(self, where: SplitResult, tls: ssl.SSLContext | None, name: str) -> Connection:
        _, connection = await self._loop.create_connection(
            Connection,
            where.hostname or "",
            _port(where),
            ssl=tls,
            server_hostname=name if tls else None,
            # An address has nothing to race, and a race that is cancelled loses its winner's socket.
            happy_eyeballs_delay=None if _is_address(where.hostname) else HAPPY_EYEBALLS_SECONDS,
        )
        self._living.add(connection)
        return connection

    async def _tunnel(
        self, connection: Connection, proxy: SplitResult, tls: ssl.SSLContext, until: float
    ) -> None:
        target = f"{self._server.hostname}:{_port(self._server)}"
        if ":" in (self._server.hostname or ""):
            target = f"[{self._server.hostname}]:{_port(self._server)}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}", *_proxy_authorization(proxy), "", ""]
        try:
            answer = await connection.ask("\r\n".join(lines).encode("latin-1"), until)
            if not 200 <= answer.status < 300:
                raise BrokenAnswer(f"the proxy refused with status {answer.status}")
            await connection.encrypt(tls, self._name)
        except BaseException:
            connection.cut()
            self._living.discard(connection)
            raise


def _is_address(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def _port(where: SplitResult) -> int:
    return where.port or (443 if where.scheme == "https" else 80)


def _proxy_authorization(proxy: SplitResult) -> list[str]:
    if proxy.username is None:
        return []
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [f"Proxy-Authorization: Basic {base64.b64encode(pair.encode()).decode()}"]


def keep_alive(opened: Any) -> None:
    """Notice a peer that vanished, also while a stream's next line is all that is waited for."""
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            opened.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
