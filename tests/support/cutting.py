"""A way to an agent that breaks again and again, on real sockets, wherever a seed says.

Guarantee: each connection is cut after a number of bytes drawn from ``random``, in the middle of whatever
goes on there: a handshake, a record, a body. :attr:`CuttingSession.forwarded` counts what came through.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from controller.runner.session import VerbSession
from controller.wire.messages import ServeReady, ServeRequest
from tests.support.local_agent import LocalAgent


class CuttingSession(VerbSession):
    """Talks to a real agent; only the artifacts come over the breaking line."""

    def __init__(self, agent: LocalAgent, chance: random.Random, longest: int) -> None:
        super().__init__(agent.name, agent.dial)
        self._chance = chance
        self._longest = longest
        self.forwarded = 0
        self.connections = 0

    @asynccontextmanager
    async def serve(self, request: ServeRequest) -> AsyncIterator[ServeReady]:
        async with super().serve(request) as ready:
            with socket.create_server(("127.0.0.1", 0)) as listener:
                relay = threading.Thread(target=self._relay, args=(listener, (ready.address, ready.port)))
                relay.start()
                try:
                    yield ServeReady(address="127.0.0.1", port=listener.getsockname()[1])
                finally:
                    # shutdown, unlike close, wakes a thread that waits for a connection
                    listener.shutdown(socket.SHUT_RDWR)
                    relay.join()

    def _relay(self, listener: socket.socket, agent: tuple[str, int]) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError), socket.create_connection(agent) as server:
                    self.connections += 1
                    back = threading.Thread(target=_copy, args=(client, server))
                    back.start()
                    self._forward(server, client, self._chance.randrange(self._longest))
                    for end in (client, server):
                        with suppress(OSError):
                            end.shutdown(socket.SHUT_RDWR)
                    back.join()

    def _forward(self, server: socket.socket, client: socket.socket, left: int) -> None:
        while left and (data := server.recv(min(left, 65536))):
            client.sendall(data)
            left -= len(data)
            self.forwarded += len(data)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
