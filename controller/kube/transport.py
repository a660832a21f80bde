"""The only way out: requests to one API server, raw bytes in and out.

Guarantee: every wait has a limit (connecting, the answer, silence on a stream, a peer that vanished);
a refused token is fetched again and the request repeated once; what goes wrong below HTTP becomes
:class:`ConnectionFailed`. With a :data:`Fence`, a request that may change something is sent only while
the fence is open, as asked in the same step that hands it to the kernel, and is given up by us and by
the server when the time is over that the fence had left.

Non-guarantee: HTTP status codes are the caller's business. What a server took before we gave it up may
still be carried out, until its own limit.

Requests and watches go over connections of our own (:mod:`controller.kube.connection`) and not through
aiohttp: that costs a third of a second and 13 MiB to import, and four times the CPU for a request
(docs/benchmarks.md). WebSockets are aiohttp's, imported with the first one.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlencode

import anyio

from controller.kube.config import ClusterConfig
from controller.kube.connection import Connection, Pool
from controller.kube.errors import ConnectionFailed, Fenced, api_error
from controller.kube.http1 import AnswerParser

if TYPE_CHECKING:
    from controller.kube.websocket import WebSocket

REQUEST_SECONDS = 30.0
STREAM_OPEN_SECONDS = 30.0
CLOSE_SECONDS = 5.0

Query = Sequence[tuple[str, str]]
Fence = Callable[[], float]
"""For how many more seconds this process may write; zero and less: not at all."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer; headers by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Chunks:
    """The parts of a stream as they arrive, with a limit on the silence between them."""

    def __init__(self, connection: Connection, parser: AnswerParser, path: str, idle_seconds: float) -> None:
        self._connection, self._parser = connection, parser
        self._path, self._idle = path, idle_seconds

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> list[bytes]:
        try:
            parts = await self._connection.parts(self._parser, self._connection.now() + self._idle)
        except OSError as error:
            raise _failed("GET", self._path, error) from error
        if not parts:
            raise StopAsyncIteration
        return parts


class Transport:
    """``async with Transport(config) as transport``: connections live as long as the block."""

    def __init__(self, config: ClusterConfig, fence: Fence | None = None) -> None:
        self._config, self._fence = config, fence
        self._pool: Pool | None = None

    async def __aenter__(self) -> Self:
        config = self._config
        self._pool = Pool(config.server, config.ssl, config.proxy_url, config.server_hostname)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await pool.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 — the whole exchange's, repetitions included
    ) -> Response:
        """One request with its whole answer, within ``timeout`` seconds."""
        reads, target = method == "GET", _target(path, query)
        if self._fence is not None and not reads:
            timeout = min(timeout, self._must_be_open(self._fence))
            # The server counts too: a request that it took outlives us when we are frozen.
            target += f"{'&' if query else '?'}timeout={max(1, int(timeout * 1000))}ms"
        until = self._open_pool().now() + timeout
        try:
            for last_try in (False, True):
                header = await self._authorization(until)
                message = self._message(method, target, header, body, content_type)
                answer = await self._exchange(message, until, reads=reads)
                if answer.status != 401 or last_try:
                    return answer
                # Refused before anything was done, so repeating is safe for every method.
                self._config.credentials.rejected()
        except OSError as error:
            raise self._failed(method, path, error) from error
        raise AssertionError("the last try returns")

    def _must_be_open(self, fence: Fence) -> float:
        left = fence()
        if left <= 0:
            raise Fenced("not sent: this process does not hold the lease for certain")
        return left

    async def _exchange(self, message: bytes, until: float, *, reads: bool) -> Response:
        try:
            return await self._exchange_on(message, until, fresh=False, reads=reads)
        except _Stale as stale:
            if not reads:
                raise stale.error from stale
        return await self._exchange_on(message, until, fresh=True, reads=reads)

    async def _exchange_on(self, message: bytes, until: float, *, fresh: bool, reads: bool) -> Response:
        pool = self._open_pool()
        connection = await pool.take(until, fresh=fresh)
        try:
            if self._fence is not None and not reads:
                # Again, and with no await before the bytes are on their way: connecting took time, and
                # a process that was frozen meanwhile is woken by the connection before its time limit.
                self._must_be_open(self._fence)
            try:
                parser = await connection.ask(message, until)
            except OSError as error:
                if connection.used and not isinstance(error, TimeoutError):
                    raise _Stale(error) from error
                raise
            body = await connection.whole(parser, until)
            return Response(parser.status, parser.headers, body)
        finally:
            pool.put_back(connection)

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), idle_seconds: float
    ) -> AsyncIterator[AsyncIterator[Sequence[bytes]]]:
        """The content of a GET as it arrives, some chunks at a time; a status of 400 and above is raised.

        ``idle_seconds`` bounds the silence between chunks, because the end of a dead peer's stream
        never arrives.
        """
        async with contextlib.AsyncExitStack() as stack:
            now = self._open_pool().now()
            # Translated here and in Chunks, never around the yield: the caller's errors are its own.
            try:
                connection, parser = await self._streaming(stack, path, query, now + STREAM_OPEN_SECONDS)
            except OSError as error:
                raise self._failed("GET", path, error) from error
            yield Chunks(connection, parser, path, idle_seconds)

    async def _streaming(
        self, stack: contextlib.AsyncExitStack, path: str, query: Query, until: float
    ) -> tuple[Connection, AnswerParser]:
        for last_try in (False, True):
            authorization = await self._authorization(until)
            message = self._message("GET", _target(path, query), authorization, None, None)
            # On a connection of its own: one that was closed meanwhile would look like a cut watch.
            connection = await stack.enter_async_context(self._open_pool().connection(until))
            parser = await connection.ask(message, until)
            if parser.status < 400:
                break
            body = await connection.whole(parser, until)
            if parser.status != 401 or last_try:
                raise api_error(parser.status, body, parser.headers.get("retry-after"))
            self._config.credentials.rejected()
        return connection, parser

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, *, query: Query, protocols: Sequence[str]
    ) -> AsyncIterator[WebSocket]:
        """An open WebSocket; the server's refusal is raised with its own words."""
        from controller.kube.websocket import open_websocket

        self._open_pool()
        if self._fence is not None:
            self._must_be_open(self._fence)

        async def explain() -> tuple[int, bytes]:
            answer = await self.request("GET", path, query=query)
            return answer.status, answer.body

        url = f"{self._config.server}{_target(path, query)}"
        async with open_websocket(self._config, url, protocols, explain) as opened:
            yield opened

    def _failed(self, method: str, path: str, error: OSError) -> ConnectionFailed:
        if isinstance(error, ssl.SSLCertVerificationError):
            # Perhaps the authority is a new one, and its file says so by now.
            self._config.credentials.rejected()
        return _failed(method, path, error)

    def _open_pool(self) -> Pool:
        if self._pool is None:
            raise RuntimeError("the transport is not open: use it in `async with`")
        return self._pool

    async def _authorization(self, until: float) -> str | None:
        credentials = self._config.credentials
        if not credentials.waits:
            return await credentials.authorization()
        with anyio.fail_after(until - self._open_pool().now()):
            return await credentials.authorization()

    def _message(
        self,
        method: str,
        target: str,
        authorization: str | None,
        body: bytes | None,
        content_type: str | None,
    ) -> bytes:
        pool = self._open_pool()
        lines = [
            f"{method} {pool.prefix}{target} HTTP/1.1",
            f"Host: {pool.authority}",
            "Accept: application/json, */*",
            "Accept-Encoding: identity",
            f"User-Agent: {self._config.user_agent}",
        ]
        if authorization is not None:
            lines.append(f"Authorization: {authorization}")
        if content_type is not None:
            lines.append(f"Content-Type: {content_type}")
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([*lines, "", ""])
        if not head.count("\r") == head.count("\n") == len(lines) + 1:
            raise ValueError("a line break cannot be part of a request's head")
        return head.encode("latin-1") + (body or b"")


class _Stale(Exception):
    """A connection that had rested was closed before its next answer began."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _target(path: str, query: Query) -> str:
    return f"{path}?{urlencode(query)}" if query else path


def _failed(method: str, path: str, error: OSError) -> ConnectionFailed:
    return ConnectionFailed(f"{method} {path}: {str(error) or type(error).__name__}")
