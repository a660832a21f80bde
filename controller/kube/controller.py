"""Workers: take a key, reconcile it, and turn the outcome into what the queue does next.

Guarantee: the outcome policy is in one place, :func:`settle`. A key is reconciled by one worker at a
time. Whatever a reconcile raises counts against that key only; the worker goes on. When the queue shuts
down, workers finish the key in hand and end.

Non-guarantee: reconcile is level-triggered: it gets a key, never a reason, and may be called at any time
without one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import anyio
import structlog

from controller.kube import metrics
from controller.kube.errors import KubeError
from controller.kube.workqueue import WorkQueue

K = TypeVar("K", bound=Hashable)
_NEVER = float("inf")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """All is as it should be; look again after ``requeue_after`` seconds, if set."""

    requeue_after: float | None = None


class TerminalError(Exception):
    """Trying again is pointless until the object changes."""


class ReconcileTimeout(Exception):
    """A reconcile took longer than it may."""


Reconcile = Callable[[K], Awaitable[Done]]


async def run_workers(
    queue: WorkQueue[K],
    reconcile: Reconcile[K],
    concurrency: int = 4,
    *,
    timeout: float | None = None,  # noqa: ASYNC109 — a limit per key, not of this call
) -> None:
    """Reconcile keys with ``concurrency`` workers until the queue is shut down and empty."""
    if concurrency < 1:
        raise ValueError("at least one worker is needed")
    async with anyio.create_task_group() as group:
        for _ in range(concurrency):
            group.start_soon(_Worker(queue, reconcile, timeout).run)


class _Worker(Generic[K]):
    """One that takes keys. Its scope for the limit serves many of them, until one runs into it."""

    def __init__(self, queue: WorkQueue[K], reconcile: Reconcile[K], timeout: float | None) -> None:
        self._queue, self._reconcile = queue, reconcile
        self._seconds = _NEVER if timeout is None else timeout

    async def run(self) -> None:
        while await self._serve():
            pass

    async def _serve(self) -> bool:
        """Work until a key takes too long (True) or there is nothing left to do (False)."""
        with anyio.CancelScope() as scope, _Limit(scope, self._seconds) as limit:
            # Looked at before a key is taken: in a scope that ran out the next one could not even begin.
            while not scope.cancel_called and (key := await self._queue.get()) is not None:
                structlog.contextvars.bind_contextvars(reconcile=next(_IDS), key=_printed(key))
                limit.begin()
                try:
                    settle(self._queue, key, await self._outcome(key, scope))
                finally:
                    limit.end()
                    self._queue.done(key)
        return scope.cancel_called

    async def _outcome(self, key: K, scope: anyio.CancelScope) -> Done | Exception:
        try:
            return await self._reconcile(key)
        except Exception as error:
            # Cancellation is no Exception, so stopping the worker still stops it.
            return error
        except BaseException:
            if scope.cancel_called:
                settle(self._queue, key, ReconcileTimeout(f"not finished within {self._seconds:g} s"))
            raise


class _Limit:
    """Cancels ``scope`` when what began takes too long.

    Its timer is set anew when it fires and not for each key: a scope's own deadline puts a timer into the
    loop's heap and takes it out again every time, for nothing nearly always.
    """

    def __init__(self, scope: anyio.CancelScope, seconds: float) -> None:
        self._scope, self._seconds = scope, seconds
        self._loop = asyncio.get_running_loop()
        self._until = _NEVER
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> _Limit:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def begin(self) -> None:
        self._until = self._loop.time() + self._seconds
        if self._timer is None and self._until != _NEVER:
            self._timer = self._loop.call_at(self._until, self._look)

    def end(self) -> None:
        self._until = _NEVER

    def _look(self) -> None:
        self._timer = None
        if self._loop.time() >= self._until:
            self._scope.cancel()
        elif self._until != _NEVER:
            self._timer = self._loop.call_at(self._until, self._look)


def settle(queue: WorkQueue[K], key: K, outcome: Done | Exception) -> None:
    """The only place that knows what an outcome means for the queue."""
    if isinstance(outcome, Done):
        queue.forget(key)
        _count(queue, "done" if outcome.requeue_after is None else "requeued")
        if outcome.requeue_after is not None:
            queue.add_after(key, outcome.requeue_after)
    elif isinstance(outcome, TerminalError):
        queue.forget(key)
        _count(queue, "terminal")
        log.error("given up until the object changes", controller=queue.name, error=str(outcome))
    else:
        _count(queue, "error")
        delay = queue.add_rate_limited(key, at_least=getattr(outcome, "retry_after", None) or 0.0)
        _explain(queue, outcome, delay)


def _explain(queue: WorkQueue[K], error: Exception, delay: float) -> None:
    if isinstance(error, KubeError | ReconcileTimeout):
        log.warning("will try again", controller=queue.name, error=str(error), seconds=round(delay, 1))
        return
    metrics.CRASHES.labels(queue.name).inc()
    log.error("reconcile crashed", controller=queue.name, seconds=round(delay, 1), exc_info=error)


def _count(queue: WorkQueue[K], outcome: str) -> None:
    metrics.reconciles(queue.name, outcome).inc()


def _printed(key: Hashable) -> str:
    return "/".join(map(str, key)) if isinstance(key, tuple) else str(key)


_IDS = itertools.count(1)
