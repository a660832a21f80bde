"""The network between processes and the API server: what asyncio calls a transport, without sockets.

This is the seam. Everything above it is the operator's own: connections, HTTP, retries, time limits. Below
it bytes take their time, keep their order on a connection, and are subject to the plan of faults.

What a process wrote to a connection is on its way even when the connection is closed right after; a network
that is cut off delivers late, because TCP sends again, unless the process told its kernel not to linger.
"""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any, Protocol

from tests.sim.faults import TROUBLE_SECONDS, FaultPlan, Kind, RequestFault, Window
from tests.sim.http import Incoming, RequestReader
from tests.sim.loop import CURRENT, SimLoop
from tests.sim.processes import Process
from tests.sim.trace import Trace

KEEPALIVE_SECONDS = 60.0
"""After so long the kernel gives a dead peer up (connection.keep_alive)."""


APART = 1e-6
"""Between two arrivals on one connection: timers of the same time have no order."""


class Server(Protocol):
    """What listens at the other end."""

    def arrived(self, request: Incoming, wire: Wire | Nowhere) -> None:
        """Execute and answer."""

    def gone(self, wire: Wire) -> None:
        """The client closed the connection."""


class Network:
    """All connections, and the rules by which bytes travel."""

    def __init__(self, loop: SimLoop, trace: Trace, plan: FaultPlan, seed: int) -> None:
        self.loop, self.trace = loop, trace
        self.server: Server
        self.down = False
        self.wires: list[Wire] = []
        self.observe: Callable[[Process, Incoming], None] = lambda _process, _request: None
        """Told of every request as it leaves its process."""
        self._cuts = [window for window in plan.windows if window.what == "cut off"]
        self._faults = {(fault.process, fault.number): fault for fault in plan.requests}
        self._numbers: dict[str, int] = {}
        self._chance = random.Random(f"network {seed}")

    def latency(self) -> float:
        """Mostly a millisecond, sometimes fifty."""
        return self._chance.uniform(0.0005, 0.002) if self._chance.random() < 0.95 else 0.05

    def arrival(self, process: Process, start: float) -> float:
        """When bytes that leave at ``start`` arrive: after a cut ended, however often they are sent again."""
        at = start + self.latency()
        for cut in self._cuts:
            if cut.process == process.name and cut.start <= at < cut.end:
                at = cut.end + self.latency()
        return at

    def is_cut(self, process: Process) -> bool:
        """Whether nothing passes now."""
        return self._cut(process) is not None

    def _cut(self, process: Process) -> Window | None:
        now = self.loop.now
        return next(
            (cut for cut in self._cuts if cut.process == process.name and cut.start <= now < cut.end), None
        )

    async def connect(self, factory: Callable[[], asyncio.Protocol]) -> tuple[Wire, asyncio.Protocol]:
        """What ``create_connection`` does."""
        process = CURRENT.get()
        assert isinstance(process, Process)
        if process.dead:
            raise ConnectionRefusedError("the process is dead")
        while (cut := self._cut(process)) is not None:  # noqa: ASYNC110 — there is no event: time passes
            # Lost SYNs are sent again; who waits for it gives up or gets through.
            await asyncio.sleep(process.clock(cut.end) - process.clock(self.loop.now) + 0.2)
        await asyncio.sleep(self.latency())
        if self.down or process.dead:
            raise ConnectionRefusedError("connection refused")
        protocol = factory()
        wire = Wire(self, process, protocol)
        self.wires.append(wire)
        process.wires.append(wire)
        protocol.connection_made(wire)
        return wire, protocol

    def number(self, process: Process) -> tuple[int, RequestFault | None]:
        """The next request of a process, and what the plan has for it."""
        number = self._numbers.get(process.name, 0)
        self._numbers[process.name] = number + 1
        in_time = self.loop.now < TROUBLE_SECONDS
        return number, self._faults.get((process.name, number)) if in_time else None

    def reset_all(self) -> None:
        """The server's process is gone."""
        for wire in [*self.wires]:
            wire.reset()


class Wire(asyncio.Transport):
    """One connection, as its process sees it."""

    def __init__(self, network: Network, process: Process, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.process = process
        self.dead = False
        """Bytes vanish in it, in both directions."""
        self._network, self._protocol, self._loop = network, protocol, network.loop
        self._reader = RequestReader()
        self._closing = False
        self._closed_at_server = False
        self._paused: list[bytes] | None = None
        self._server_busy = self._client_busy = 0.0
        self._unsent: list[asyncio.TimerHandle] = []
        """What the kernel holds because nobody acknowledges it."""
        self._lingers = True

    # --- the process's end ---------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self.process.dead:
            return
        request = self._reader.feed(bytes(data))
        if request is None:
            return
        request.process = self.process
        request.number, request.fault = self._network.number(self.process)
        self._network.observe(self.process, request)
        self._send(request)

    def _send(self, request: Incoming) -> None:
        fault, delay = request.fault, 0.0
        if fault is not None:
            if fault.kind is Kind.LOST or self.dead:
                self.die()
                return
            if fault.kind is Kind.RESET:
                self._loop.at(self._loop.now, self.reset, context=self._loop.outside)
                return
            delay = fault.seconds if fault.kind is Kind.LATE else 0.0
        if self.dead:
            return
        arrival = self._network.arrival(self.process, self._loop.now + delay)
        at = self._server_busy = max(arrival, self._server_busy + APART)
        handle = self._loop.at(at, self._arrive, request, context=self._loop.outside)
        if self._network.is_cut(self.process):
            self._unsent.append(handle)
        if fault is not None and fault.kind is Kind.TWICE and not request.is_watch:
            again = self._network.arrival(self.process, at + fault.seconds)
            self._loop.at(again, self._arrive_again, request, context=self._loop.outside)

    def _arrive(self, request: Incoming) -> None:
        if not self._network.down:
            self._network.server.arrived(request, self)

    def _arrive_again(self, request: Incoming) -> None:
        self._network.trace.add("network", f"repeats {request}")
        if not self._network.down:
            self._network.server.arrived(request, Nowhere())

    def abort(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._forget()
        if not self._lingers and self._network.is_cut(self.process):
            for handle in self._unsent:
                handle.cancel()
        self._loop.call_soon(self._protocol.connection_lost, None, context=self.process.context)
        if not self.dead:
            arrival = self._network.arrival(self.process, self._loop.now)
            at = max(arrival, self._server_busy + APART)
            self._loop.at(at, self._hang_up, context=self._loop.outside)

    close = abort

    def _hang_up(self) -> None:
        self._closed_at_server = True
        self._network.server.gone(self)

    def is_closing(self) -> bool:
        return self._closing

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self if name == "socket" else default

    def setsockopt(self, _: int, option: int, value: object) -> None:
        """Keep-alive is :data:`KEEPALIVE_SECONDS` here; not to linger is to forget what is not sent."""
        if option == socket.SO_LINGER:
            self._lingers = False

    def pause_reading(self) -> None:
        self._paused = self._paused or []

    def resume_reading(self) -> None:
        waiting, self._paused = self._paused or [], None
        for data in waiting:
            self._loop.call_soon(self._deliver, data, context=self.process.context)

    # --- the server's end ----------------------------------------------------------------------------

    def answer(self, data: bytes, delay: float = 0.0) -> None:
        """Bytes for the process."""
        if not (self.dead or self._closed_at_server):
            self._loop.at(self._next(delay), self._deliver, data, context=self.process.context)

    def reset(self, delay: float = 0.0) -> None:
        """The connection breaks, after what was sent before."""
        if not self.dead:
            self._loop.at(self._next(delay), self._lose, "reset by peer", context=self.process.context)

    def die(self) -> None:
        """Nothing arrives any more, and the kernel notices in the end."""
        self.dead = True
        at = self._loop.now + KEEPALIVE_SECONDS
        self._loop.at(at, self._lose, "timed out", context=self.process.context)

    def fall_mute(self) -> None:
        """Nothing arrives any more, and nobody notices."""
        self.dead = True

    def _next(self, delay: float) -> float:
        arrival = self._network.arrival(self.process, self._loop.now + delay)
        self._client_busy = max(arrival, self._client_busy + APART)
        return self._client_busy

    def _deliver(self, data: bytes) -> None:
        if self._closing or self.dead:
            return
        if self._paused is not None:
            self._paused.append(data)
        else:
            self._protocol.data_received(data)

    def _lose(self, why: str) -> None:
        if self._closing:
            return
        self._closing = True
        self._forget()
        self._network.server.gone(self)
        self._protocol.connection_lost(ConnectionResetError(why))

    def _forget(self) -> None:
        self._network.wires.remove(self)
        self.process.wires.remove(self)


class Nowhere:
    """Where the answer to a repeated request goes."""

    dead = False

    def answer(self, data: bytes, delay: float = 0.0) -> None:
        """Nobody waits for it."""

    def reset(self, delay: float = 0.0) -> None:
        """As little."""

    die = fall_mute = reset
