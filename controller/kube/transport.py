"""The only way out: one aiohttp session to one API server, raw bytes in and out.

Guarantee: every wait has a limit (connecting, the answer, silence on a stream, a peer that vanished);
a refused token is fetched again and the request repeated once; what goes wrong below HTTP becomes
:class:`ConnectionFailed`. Non-guarantee: HTTP status codes are the caller's business.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NoReturn, Self
from urllib.parse import urlencode

import aiohttp
import anyio
import yarl

from controller.kube.config import ClusterConfig
from controller.kube.errors import ConnectionFailed, api_error

CONNECT_SECONDS = 10.0
REQUEST_SECONDS = 30.0
STREAM_OPEN_SECONDS = 30.0
CLOSE_SECONDS = 5.0
CONNECTIONS = 512
"""A watch or an exec holds a connection for as long as it lives, so this is no limit on load."""

Query = Sequence[tuple[str, str]]
WebSocket = aiohttp.ClientWebSocketResponse[Literal[True]]


@dataclass(frozen=True, slots=True)
class Response:
    """A complete answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """``async with Transport(config) as transport``: the session lives as long as the block."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, socket_factory=_socket)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes | None = None,
        content_type: str | None = None,
        timeout: float = REQUEST_SECONDS,  # noqa: ASYNC109 — the library's own limit, also below the loop
    ) -> Response:
        """One request with its whole answer, within ``timeout`` seconds."""
        limit = aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_SECONDS)
        headers = {"Content-Type": content_type} if content_type else {}
        with _translated(f"{method} {path}"):
            async with self._opened(method, path, query, headers, data=body, timeout=limit) as answer:
                return Response(answer.status, answer.headers, await answer.read())

    @contextlib.asynccontextmanager
    async def stream(
        self, path: str, *, query: Query = (), idle_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The chunks of a GET as they arrive; a status of 400 and above is raised at once.

        ``idle_seconds`` bounds the silence between chunks, because the end of a dead peer's stream
        never arrives.
        """
        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=idle_seconds)
        async with contextlib.AsyncExitStack() as stack:
            # Translated here and in _chunks, never around the yield: the caller's errors are its own.
            with _translated(f"GET {path}"):
                answer = await stack.enter_async_context(self._opened("GET", path, query, {}, timeout=limit))
                if answer.status >= 400:
                    await _raise_status(answer)
            yield _chunks(answer, path)

    @contextlib.asynccontextmanager
    async def websocket(
        self, path: str, *, query: Query, protocols: Sequence[str]
    ) -> AsyncIterator[WebSocket]:
        """An open WebSocket; the server's refusal is raised with its own words."""
        with _translated(f"GET {path}"):
            opened = await self._upgraded(path, query, protocols)
        try:
            yield opened
        finally:
            with anyio.move_on_after(CLOSE_SECONDS, shield=True):
                await opened.close()

    async def _upgraded(self, path: str, query: Query, protocols: Sequence[str]) -> WebSocket:
        try:
            with anyio.fail_after(STREAM_OPEN_SECONDS):
                opened: WebSocket = await self._open_session().ws_connect(
                    self._url(path, query),
                    protocols=protocols,
                    headers=await self._headers({}),
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                    **self._route(),
                )
                return opened
        except aiohttp.WSServerHandshakeError as error:
            if error.status == 401:
                self._config.credentials.rejected()
            # The handshake's answer has lost its body; the same request without the upgrade runs
            # nothing on the server and brings the reason back.
            answer = await self.request("GET", path, query=query)
            same = answer.status == error.status
            raise api_error(error.status, answer.body if same else error.message.encode()) from error

    @contextlib.asynccontextmanager
    async def _opened(
        self, method: str, path: str, query: Query, headers: Mapping[str, str], **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        for last_try in (False, True):
            async with self._open_session().request(
                method,
                self._url(path, query),
                headers=await self._headers(headers),
                allow_redirects=False,
                **options,
                **self._route(),
            ) as answer:
                if answer.status != 401 or last_try:
                    yield answer
                    return
                # Refused before anything was done, so repeating is safe for every method.
                self._config.credentials.rejected()

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the transport is not open: use it in `async with`")
        return self._session

    def _url(self, path: str, query: Query) -> yarl.URL:
        text = f"{self._config.server}{path}"
        return yarl.URL(f"{text}?{urlencode(query)}" if query else text, encoded=True)

    async def _headers(self, extra: Mapping[str, str]) -> dict[str, str]:
        authorization = await self._config.credentials.authorization()
        headers = {"Accept": "application/json, */*", **extra}
        return headers if authorization is None else {**headers, "Authorization": authorization}

    def _route(self) -> dict[str, Any]:
        config = self._config
        return {
            "ssl": config.ssl if config.ssl is not None else True,
            "proxy": config.proxy_url,
            "server_hostname": config.server_hostname,
        }


async def _chunks(answer: aiohttp.ClientResponse, path: str) -> AsyncIterator[bytes]:
    with _translated(f"GET {path}"):
        async for chunk in answer.content.iter_any():
            yield chunk


async def _raise_status(answer: aiohttp.ClientResponse) -> NoReturn:
    with anyio.fail_after(REQUEST_SECONDS):
        body = await answer.read()
    raise api_error(answer.status, body, answer.headers.get("Retry-After"))


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ConnectionFailed(f"{what}: {str(error) or type(error).__name__}") from error


def _socket(address: tuple[Any, ...]) -> socket.socket:
    """A socket that notices a peer which vanished, also while it only waits for a stream's next line."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, seconds in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds)
    return made
