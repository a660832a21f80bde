"""Start the parts of a program in order, stop them in reverse, and say which one failed.

Guarantee: a part starts when the one before it is ready. On a stop (signal, :meth:`Supervisor.stop`, or
a part that failed) every part, last first, is asked to end, and cancelled when its share of time is
over; only then the one before it is asked. A part that raises, or ends though nobody asked it to, is
fatal: :class:`PartFailed` names it, and what goes wrong while stopping is logged, never raised over it.
The second signal exits at once.

Non-guarantee: a part that ignores its cancellation holds the stop up.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import structlog

log = structlog.get_logger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class PartFailed(Exception):
    """A part of the program ended or failed; the cause is chained."""


@dataclass(frozen=True, slots=True)
class Life:
    """What a part is given: where to say that it is ready, and when to end."""

    ready: anyio.Event = field(default_factory=anyio.Event)
    stop: anyio.Event = field(default_factory=anyio.Event)


Run = Callable[[Life], Awaitable[None]]


@dataclass(slots=True)
class _Part:
    name: str
    run: Run
    stop_seconds: float
    life: Life = field(default_factory=Life)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    started: bool = False
    ended: anyio.Event = field(default_factory=anyio.Event)


class Supervisor:
    """Add parts in the order in which they start, then :meth:`run`."""

    def __init__(self, *, exit_now: Callable[[int], object] = os._exit) -> None:
        self._parts: list[_Part] = []
        self._stopping = anyio.Event()
        self._failure: PartFailed | None = None
        self._exit_now = exit_now

    def add(self, name: str, run: Run, *, stop_seconds: float = 5.0) -> None:
        """``run(life)`` sets ``life.ready``, works, and ends soon after ``life.stop`` is set."""
        self._parts.append(_Part(name, run, stop_seconds))

    def stop(self) -> None:
        """Begin to stop, in order."""
        self._stopping.set()

    async def run(self) -> None:
        """Start all, wait for a reason to stop, stop all; raises the first failure."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._listen)
            await run_until(self._stopping, lambda: self._start_all(group))
            await self._stopping.wait()
            await self._stop_all()
            group.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure

    async def _start_all(self, group: anyio.abc.TaskGroup) -> None:
        for part in self._parts:
            log.info("starting", part=part.name)
            part.started = True
            group.start_soon(self._live, part)
            await part.life.ready.wait()

    async def _live(self, part: _Part) -> None:
        try:
            with part.scope:
                await part.run(part.life)
            if not part.life.stop.is_set():
                self._fail(part, "ended though nobody asked it to", None)
        except Exception as error:
            self._fail(part, "failed", _innermost(error))
        finally:
            part.ended.set()

    def _fail(self, part: _Part, what: str, error: Exception | None) -> None:
        log.error("a part is gone", part=part.name, what=what, exc_info=error)
        if self._failure is None and not self._stopping.is_set():
            self._failure = PartFailed(f"{part.name} {what}" + (f": {error}" if error else ""))
            self._failure.__cause__ = error
        self._stopping.set()

    async def _stop_all(self) -> None:
        for part in reversed(self._parts):
            if not part.started:
                continue
            log.info("stopping", part=part.name)
            part.life.stop.set()
            with anyio.move_on_after(part.stop_seconds):
                await part.ended.wait()
            if not part.ended.is_set():
                log.warning("did not end in time and is cancelled", part=part.name)
                part.scope.cancel()
                await part.ended.wait()

    async def _listen(self) -> None:
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                if self._stopping.is_set():
                    log.warning("second signal: exiting at once", signal=number.name)
                    self._exit_now(128 + number)
                log.info("stopping on a signal", signal=number.name)
                self._stopping.set()


def _innermost(error: Exception) -> Exception:
    """The one error that a task group wrapped; several stay together."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def run_until(stop: anyio.Event, run: Callable[[], Awaitable[None]]) -> None:
    """Run something that has no end of its own, and cancel it when ``stop`` is set."""
    async with anyio.create_task_group() as group:

        async def wait() -> None:
            await stop.wait()
            group.cancel_scope.cancel()

        group.start_soon(wait)
        await run()
        group.cancel_scope.cancel()
