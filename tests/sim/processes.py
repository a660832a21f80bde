"""A process: one life of an operator, with its clock, its context and what can be done to it from outside."""

from __future__ import annotations

import asyncio
import contextvars
import signal
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import sniffio

from tests.sim.loop import CURRENT, SimLoop

if TYPE_CHECKING:
    from tests.sim.network import Wire


class Process:
    """``name`` stays from one life to the next, ``identity`` does not."""

    def __init__(self, loop: SimLoop, name: str, life: int, rate: float, offset: float) -> None:
        self.name, self.identity = name, f"{name}-{life}"
        self.stopped = False
        """By SIGSTOP."""
        self.dead = False
        """Killed: whatever it still does while its tasks are unwound reaches nobody."""
        self.ended = asyncio.Event()
        self.failure: BaseException | None = None
        self.held: list[asyncio.Handle] = []
        self.wires: list[Wire] = []
        self.context = contextvars.Context()
        self.context.run(CURRENT.set, self)
        # Its fences are asked outside of tasks too, where anyio could not tell whose loop this is.
        self.context.run(sniffio.current_async_library_cvar.set, "asyncio")
        self._loop, self._rate, self._offset = loop, rate, offset
        self.task: asyncio.Task[None] | None = None
        self.holiday = 0.0
        """How long it stays away after it ended."""

    def clock(self, world: float) -> float:
        return world * self._rate + self._offset

    def world(self, clock: float) -> float:
        return (clock - self._offset) / self._rate

    @property
    def runs(self) -> bool:
        """Whether it could do something now."""
        return not (self.stopped or self.dead or self.ended.is_set())

    def start(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Begin its life."""
        self.task = self.context.run(self._loop.create_task, self._live(main))

    async def _live(self, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await main()
        except (Exception, asyncio.CancelledError) as error:
            self.failure = error
        finally:
            self.ended.set()

    def close(self) -> None:
        """What the kernel does when it ends by itself."""
        for wire in [*self.wires]:
            wire.abort()

    def pause(self) -> None:
        """SIGSTOP."""
        self.stopped = True

    def resume(self) -> None:
        """SIGCONT."""
        self.stopped = False
        self._loop.resume(self)

    def terminate(self) -> bool:
        """SIGTERM; whether it listens already."""
        return self._loop.signal(self, signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections, and its tasks are unwound where nobody sees them."""
        self.dead = True
        self.close()
        self.resume()
        if self.task is not None:
            self.task.cancel()
