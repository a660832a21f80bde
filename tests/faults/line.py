"""The way between a runner and an agent, with what a network does to it: exec and the TLS line.

Guarantee: a cut or a changed byte happens on a real socket, or ends a real process; the session sees what
the real dialler would raise for it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio

from controller.runner.session import Conversation, Cut, Patience, VerbSession
from controller.wire.messages import ServeReady, ServeRequest
from tests.faults.plan import Kind, Trouble
from tests.support.local_agent import LocalAgent, LocalConversation

PATIENCE = Patience(answer=20.0, silence=10.0, absence=8.0, pause=0.05)
SPREAD_BYTES = 250_000
"""About the size of the artifacts, TLS included: a cut may fall anywhere in them."""


class _CutConversation:
    """Ends after some output as a broken WebSocket does."""

    def __init__(self, inner: LocalConversation, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self.exit_code: int | None = None

    async def send(self, data: bytes) -> None:
        await self._inner.send(data)

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        deadline = anyio.current_time() + self._seconds
        source = aiter(self._inner)
        while True:
            item: tuple[int, bytes] | None = None
            with anyio.move_on_at(deadline):
                try:
                    item = await anext(source)
                except StopAsyncIteration:
                    self.exit_code = self._inner.exit_code
                    return
            if item is None:
                raise Cut("the connection was cut")
            yield item


class FaultyDial:
    """Starts verbs; the ones that the trouble names are cut."""

    def __init__(self, agent: LocalAgent, trouble: Trouble | None) -> None:
        self._agent = agent
        self._trouble = trouble if trouble and trouble.kind is Kind.EXEC_CUT else None
        self._dialled = 0

    def __call__(self, *verb: str) -> AbstractAsyncContextManager[Conversation]:
        return self._dial(*verb)

    @asynccontextmanager
    async def _dial(self, *verb: str) -> AsyncIterator[Conversation]:
        self._dialled += 1
        async with self._agent.dial(*verb) as conversation:
            if self._is_cut():
                assert self._trouble
                yield _CutConversation(conversation, self._trouble.fraction * 0.4)
            else:
                yield conversation

    def _is_cut(self) -> bool:
        trouble = self._trouble
        if trouble is None:
            return False
        first = 1 + trouble.at_request % 6
        return self._dialled >= first and (trouble.for_ever or self._dialled < first + trouble.count)


class FaultySession(VerbSession):
    """A session whose TLS line runs through :class:`_Relay`."""

    def __init__(self, agent: LocalAgent, trouble: Trouble | None) -> None:
        super().__init__(agent.name, FaultyDial(agent, trouble), PATIENCE)
        self._relay = _Relay(trouble)

    @asynccontextmanager
    async def serve(self, request: ServeRequest) -> AsyncIterator[ServeReady]:
        async with super().serve(request) as ready:
            yield ServeReady(address="127.0.0.1", port=self._relay.towards(ready.address, ready.port))


@dataclass
class _Relay:
    """Forwards connections; cuts or corrupts what comes back from the agent."""

    trouble: Trouble | None
    struck: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def towards(self, address: str, port: int) -> int:
        if self.trouble and self.trouble.kind is Kind.LINE_CLOSED and self._strikes():
            return _closed_port()
        listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, args=(listener, (address, port)), daemon=True).start()
        return int(listener.getsockname()[1])

    def _accept(self, listener: socket.socket, target: tuple[str, int]) -> None:
        with listener:
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._forward, args=(client, target), daemon=True).start()

    def _forward(self, client: socket.socket, target: tuple[str, int]) -> None:
        with client, suppress(OSError), socket.create_connection(target) as server:
            threading.Thread(target=_copy, args=(client, server), daemon=True).start()
            self._back(server, client)
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def _back(self, server: socket.socket, client: socket.socket) -> None:
        kind = self.trouble.kind if self.trouble else None
        harm = kind in {Kind.LINE_CUT, Kind.LINE_CORRUPT} and self._strikes()
        left = int(self.trouble.fraction * SPREAD_BYTES) if self.trouble and harm else -1
        while data := server.recv(65536):
            if 0 <= left < len(data):
                if kind is Kind.LINE_CUT:
                    client.sendall(data[:left])
                    return
                data = data[:left] + bytes([data[left] ^ 1]) + data[left + 1 :]
                left = -1
            elif left >= 0:
                left -= len(data)
            client.sendall(data)

    def _strikes(self) -> bool:
        assert self.trouble
        with self._lock:
            self.struck += 1
            return self.trouble.for_ever or self.struck <= self.trouble.count


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
