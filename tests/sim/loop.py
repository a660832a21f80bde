"""Virtual time for several processes in one event loop: each with a clock of its own, each can be stopped.

Guarantee: nothing here reads a real clock or waits; time goes on by a turn's worth with every turn of the
loop and otherwise jumps to the next timer, so a run is a function of what is run. Whatever is done in a
process's context (its tasks, their timers, what arrives on its connections) sees its clock, and does not
run while the process is stopped: as with SIGSTOP, all of it happens afterwards, arrivals before timers.

Non-guarantee: a process is stopped between two turns of its own loop, not inside one. That it stops
between deciding to send and sending is the network's to act out, as a delay.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

TURN_SECONDS = 20e-6
"""What a turn of the loop costs: without it, a task that spins would stop the world."""
TURNS_LIMIT = 5_000_000
"""Far beyond what a run needs: one that gets here does not end."""

T = TypeVar("T")


class Clocked(Protocol):
    """What the loop must know of a process."""

    stopped: bool
    held: list[asyncio.Handle]

    def clock(self, world: float) -> float: ...
    def world(self, clock: float) -> float: ...


CURRENT: contextvars.ContextVar[Clocked | None] = contextvars.ContextVar("process", default=None)


class Stuck(Exception):
    """Nothing is left that could ever happen, or it never ends."""


class _Task(asyncio.Task[Any]):
    """Ordered by birth: sets of tasks, which libraries iterate over, come in the same order every time."""

    births = itertools.count()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._birth = next(_Task.births)
        super().__init__(*args, **kwargs)
        self._log_destroy_pending = False

    def __hash__(self) -> int:
        return self._birth

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(asyncio.BaseEventLoop):
    """See the module. ``connect`` is what ``create_connection`` does."""

    connect: Callable[[Callable[[], asyncio.Protocol]], Coroutine[Any, Any, Any]]
    verdict: Callable[[], BaseException | None]
    """Asked after every turn: what ends the run, if anything does."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.verdict = lambda: None
        self.outside = contextvars.Context()
        """For what no process does: the network and the server."""
        self._signals: dict[tuple[Clocked | None, int], Callable[[], object]] = {}
        _Task.births = itertools.count()
        self.set_task_factory(_make_task)  # type: ignore[arg-type]

    # --- clocks --------------------------------------------------------------------------------------

    def time(self) -> float:
        process = CURRENT.get()
        return self.now if process is None else process.clock(self.now)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        process = CURRENT.get()
        return self.at(when if process is None else process.world(when), callback, *args, context=context)

    def at(
        self,
        world: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As ``call_at``, by the clock of the world."""
        return super().call_at(world, callback, *args, context=context)

    # --- turning -------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self.turns += 1
        if self.turns > TURNS_LIMIT:
            raise Stuck(f"no end after {TURNS_LIMIT} turns, at {self.now:.1f} s")
        self.now += TURN_SECONDS
        if not ready:
            self._jump(timers)
        while timers and timers[0]._when <= self.now:  # type: ignore[attr-defined]
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(CURRENT)
            if process is not None and process.stopped:
                process.held.append(handle)
            else:
                handle._run()
        if (failure := self.verdict()) is not None:
            raise failure

    def _jump(self, timers: list[asyncio.TimerHandle]) -> None:
        while timers and timers[0]._cancelled:
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]
        if not timers:
            raise Stuck(f"nothing is left to happen at {self.now:.1f} s")
        self.now = max(self.now, timers[0]._when)  # type: ignore[attr-defined]

    def resume(self, process: Clocked) -> None:
        """What was held back happens now: what arrived first, then the timers, as they were due."""
        held, process.held = process.held, []
        held.sort(key=lambda handle: isinstance(handle, asyncio.TimerHandle))
        self._ready.extend(held)  # type: ignore[attr-defined]

    # --- what a process asks the system for ----------------------------------------------------------

    async def create_connection(  # type: ignore[override]
        self, protocol_factory: Callable[[], asyncio.Protocol], *_: Any, **__: Any
    ) -> Any:
        return await self.connect(protocol_factory)

    def add_signal_handler(  # type: ignore[override]
        self, sig: int, callback: Callable[..., object], *args: Any
    ) -> None:
        context = contextvars.copy_context()
        self._signals[CURRENT.get(), sig] = lambda: self.call_soon(callback, *args, context=context)

    def remove_signal_handler(self, sig: int) -> bool:
        return self._signals.pop((CURRENT.get(), sig), None) is not None

    def signal(self, process: Clocked, sig: int) -> bool:
        """Whether the process heard it."""
        handler = self._signals.get((process, sig))
        if handler is not None:
            handler()
        return handler is not None

    # --- what a loop must have -----------------------------------------------------------------------

    def _process_events(self, event_list: Any) -> None:
        raise NotImplementedError

    def _write_to_self(self) -> None:
        """Nobody sleeps, so nobody needs to be woken."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """There is none."""


def _make_task(loop: SimLoop, coro: Coroutine[Any, Any, Any], **kwargs: Any) -> _Task:
    return _Task(coro, loop=loop, **kwargs)
