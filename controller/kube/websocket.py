"""WebSockets to the API server, by aiohttp: the one place that needs it, imported when it is used.

Guarantee: a refusal is raised with the server's own words, and a refused token is asked for again by
the next attempt. Non-guarantee: nothing is kept for the next one; each is a connection of its own.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any, Literal

import aiohttp
import anyio
import yarl

from controller.kube.config import ClusterConfig
from controller.kube.connection import keep_alive
from controller.kube.errors import ConnectionFailed, api_error

OPEN_SECONDS = 30.0
CLOSE_SECONDS = 5.0

WebSocket = aiohttp.ClientWebSocketResponse[Literal[True]]
Explain = Callable[[], Awaitable[tuple[int, bytes]]]
"""The same request without the upgrade, which runs nothing on the server: its status and its body."""


@contextlib.asynccontextmanager
async def open_websocket(
    config: ClusterConfig, url: str, protocols: Sequence[str], explain: Explain
) -> AsyncIterator[WebSocket]:
    """An open WebSocket."""
    async with contextlib.AsyncExitStack() as stack:
        session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(socket_factory=_socket))
        stack.push_async_callback(_closed, session.close)
        with _translated(url):
            opened = await _upgraded(session, config, url, protocols, explain)
        stack.push_async_callback(_closed, opened.close)
        yield opened


async def _closed(close: Callable[[], Awaitable[object]]) -> None:
    with anyio.move_on_after(CLOSE_SECONDS, shield=True):
        await close()


async def _upgraded(
    session: aiohttp.ClientSession,
    config: ClusterConfig,
    url: str,
    protocols: Sequence[str],
    explain: Explain,
) -> WebSocket:
    authorization = await config.credentials.authorization()
    try:
        with anyio.fail_after(OPEN_SECONDS):
            return await session.ws_connect(
                yarl.URL(url, encoded=True),
                protocols=protocols,
                headers={"Authorization": authorization} if authorization else {},
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
                ssl=config.ssl if config.ssl is not None else True,
                proxy=config.proxy_url,
                server_hostname=config.server_hostname,
            )
    except aiohttp.WSServerHandshakeError as error:
        if error.status == 401:
            config.credentials.rejected()
        # The handshake's answer has lost its body; this brings the reason back.
        status, body = await explain()
        raise api_error(error.status, body if status == error.status else error.message.encode()) from error


@contextlib.contextmanager
def _translated(url: str) -> Iterator[None]:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        path = yarl.URL(url, encoded=True).path
        raise ConnectionFailed(f"GET {path}: {str(error) or type(error).__name__}") from error


def _socket(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    keep_alive(made)
    return made
