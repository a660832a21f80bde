"""An agent in this process: real TLS, scripted outcomes, and every way of breaking a transfer."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio
import anyio.to_thread
import msgspec

from controller.agent.serve import tls_context
from controller.runner.download import Limits
from controller.runner.session import Cut, SessionError
from controller.runner.transfer import Persistence
from controller.wire.messages import (
    Accepted,
    AgentProgress,
    AgentStatus,
    Artifact,
    BackupRequest,
    DatabaseFailure,
    ReleaseRequest,
    RunState,
    ServeReady,
    ServeRequest,
    TopologyAnswer,
)

QUICK = Persistence(pause=0.01, limits=Limits(connect=0.5, stall=0.5))


@dataclass
class Weather:
    """What the way to the agent is like."""

    cut_after: int = 0
    """Bytes after which every connection breaks; 0 means never."""
    stall_after: int = 0
    """Bytes after which every connection falls silent."""
    unreachable: bool = False
    """The listener's port takes no connections."""
    status: int = 0
    """Answer every request with this."""
    stranger: bool = False
    """Somebody else listens on the port."""
    extra: bytes = b""
    """Bytes that the file has grown by since it was announced."""
    exec_cuts: int = 0
    """Conversations of ``fetch`` that end early without saying so, each after ``cut_after`` bytes."""


@dataclass
class FakeAgent:
    """One server. ``stores`` is what it hosts; a name in ``broken`` fails with that reason."""

    name: str
    stores: dict[str, bytes] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    unsound: dict[str, str] = field(default_factory=dict)
    """Databases whose artifact does not stand the agent's own verification."""
    checked: dict[str, str] = field(default_factory=dict)
    answer: TopologyAnswer = field(default_factory=TopologyAnswer)
    weather: Weather = field(default_factory=Weather)
    warnings: tuple[str, ...] = ()
    version: str = "5.26.3"
    error: str = ""
    lost: str = ""
    """Every verb fails with this."""
    submit_states: list[RunState] = field(default_factory=list)
    requests: list[BackupRequest] = field(default_factory=list)
    released: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    chains: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    """Key and open databases of each release."""
    ranges: list[int] = field(default_factory=list)
    """Offsets that were asked for, over TLS and exec."""
    listeners: int = 0
    dumping: Callable[[], None] = lambda: None

    async def submit(self, request: BackupRequest) -> Accepted:
        self._check()
        self.requests.append(request)
        state = self.submit_states.pop(0) if self.submit_states else RunState.QUEUED
        return Accepted(run_id=request.run_id, state=state, sha256="")

    async def follow(self, run_id: str, report: Callable[[AgentProgress], None]) -> AgentStatus:
        self._check()
        self.dumping()
        report(AgentProgress(run_id=run_id, state=RunState.RUNNING, database="x", bytes_staged=7))
        await anyio.lowlevel.checkpoint()
        asked = self.requests[-1].databases or tuple(sorted({*self.stores, *self.broken}))
        failures = tuple(
            DatabaseFailure(database=name, reason=reason, unsound=name in self.unsound)
            for name, reason in {**self.broken, **self.unsound}.items()
            if name in asked
        )
        return AgentStatus(
            run_id=run_id,
            state=RunState.FAILED if failures or self.error else RunState.SUCCEEDED,
            neo4j_version=self.version,
            artifacts=tuple(self._artifact(name) for name in asked if name in self.stores),
            failures=failures,
            warnings=self.warnings,
            error=self.error,
        )

    def _artifact(self, name: str) -> Artifact:
        made = artifact(name, self.stores[name])
        return msgspec.structs.replace(made, checked=self.checked.get(name, ""))

    async def topology(self) -> TopologyAnswer:
        self._check()
        return self.answer

    @asynccontextmanager
    async def serve(self, request: ServeRequest) -> AsyncIterator[ServeReady]:
        self._check()
        self.listeners += 1
        with listening(self, request) as port:
            yield ServeReady(address="127.0.0.1", port=port)

    @asynccontextmanager
    async def fetch(self, run_id: str, file: str, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        self._check()
        self.ranges.append(offset)
        yield self._bytes(file, offset)

    async def release(self, request: ReleaseRequest) -> None:
        self._check()
        self.committed += request.committed
        self.chains.append((request.chain, request.open))
        self.released.append(request.run_id)

    async def _bytes(self, file: str, offset: int) -> AsyncIterator[bytes]:
        data = self.content(file)
        end = len(data)
        if self.weather.exec_cuts:
            self.weather.exec_cuts -= 1
            end = min(end, offset + self.weather.cut_after)
        for start in range(offset, end, 50_000):
            await anyio.lowlevel.checkpoint()
            yield data[start : min(start + 50_000, end)]

    def content(self, file: str) -> bytes:
        return self.stores[file.rpartition("-2026")[0]] + self.weather.extra

    def _check(self) -> None:
        if self.lost:
            raise SessionError(self.lost)


def artifact(database: str, data: bytes) -> Artifact:
    return Artifact(
        database=database,
        file=f"{database}-2026-03-01T12-00-00.backup",
        size=len(data),
        database_id="id",
        lowest_tx=1,
        highest_tx=9,
    )


@contextmanager
def listening(agent: FakeAgent, request: ServeRequest) -> Iterator[int]:
    """The transfer listener of one ``serve``, with the agent's weather."""
    weather = agent.weather
    if weather.unreachable:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        yield port
        return
    pem, key = STRANGER if weather.stranger else (request.certificate_pem, request.private_key_pem)
    context = tls_context(pem, key)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.headers["Authorization"] != f"Bearer {request.token}":
                self._head(401, 0)
                return
            if weather.status:
                self._head(weather.status, 0)
                return
            data = agent.content(self.path.removeprefix("/artifacts/"))
            asked = self.headers.get("Range", "")
            start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
            agent.ranges.append(start)
            self._head(206 if asked else 200, len(data) - start)
            self._send(data[start:])

        def _head(self, status: int, length: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()

        def _send(self, data: bytes) -> None:
            self.wfile.write(data[: weather.cut_after or weather.stall_after or None])
            if weather.stall_after and len(data) > weather.stall_after:
                released.wait(5)
            if weather.cut_after or weather.stall_after:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def get_request(self) -> tuple[socket.socket, object]:
            plain, peer = super().get_request()
            return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), peer

        def handle_error(self, request: object, client_address: object) -> None:
            pass

    released = threading.Event()
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            released.set()
            server.shutdown()
            thread.join()


def _stranger() -> tuple[str, str]:
    from datetime import UTC, datetime

    from controller.runner.credentials import make_credentials

    made = make_credentials("somebody else", datetime(2026, 1, 1, tzinfo=UTC))
    return made.certificate_pem, made.private_key_pem


STRANGER = _stranger()
assert ssl.HAS_TLSv1_3
__all__ = ["QUICK", "Cut", "FakeAgent", "Weather", "artifact"]
