"""The work queue that workers wait on: :mod:`controller.kube.queuecore` with a clock and wake-ups.

Guarantee: as the core's, and no wake-up is lost. After :meth:`WorkQueue.shutdown` adds are ignored,
waiting workers are told to end once the ready keys are handed out, and held keys may be finished;
calling it again changes nothing.

Non-guarantee: what was not handed out when the process ends is gone; the next leader's first list
makes it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from typing import Generic, TypeVar

import anyio

from controller.kube import chance, metrics
from controller.kube.queuecore import Priority, QueueCore, Statistics
from controller.kube.ratelimit import RateLimiter

K = TypeVar("K", bound=Hashable)

INSURANCE_SECONDS = 10.0
"""A waiting worker looks again after so long even if nobody woke it."""


class WorkQueue(Generic[K]):
    """Keys in, keys out; see the module."""

    def __init__(
        self, name: str, *, limiter: RateLimiter[K] | None = None, jitter: chance.Jitter = chance.jitter
    ) -> None:
        self.name = name
        self._core: QueueCore[K] = QueueCore()
        self._limiter: RateLimiter[K] = limiter or RateLimiter()
        self._jitter = jitter
        self._changed: anyio.Event | None = None
        """Set with the next change; made by the first who waits, for most changes find nobody waiting."""
        self._meter = metrics.QueueMeter(name)
        self._loop: asyncio.AbstractEventLoop | None = None
        """Of the first call; asking for the running one costs a system call before Python 3.12."""

    def add(self, key: K, priority: Priority = Priority.NORMAL) -> None:
        """The key needs work."""
        if not self._core.merge(key, priority):
            self._core.add(key, self._now(), priority)
            self._wake()

    def add_low(self, key: K) -> None:
        """The key needs a look, when those are done that something happened to."""
        self.add(key, Priority.LOW)

    def add_after(self, key: K, seconds: float, priority: Priority | None = None) -> None:
        """The key needs work later; the earliest wish per key wins, and it keeps its priority."""
        self._core.add_after(key, seconds, self._now(), priority)
        self._wake()

    def add_rate_limited(self, key: K, *, at_least: float = 0.0) -> float:
        """The key failed: it comes back after the limiter's delay, which is returned."""
        now = self._now()
        delay = max(at_least, self._limiter.when(key, now, self._jitter()))
        self._core.add_after(key, delay, now)
        self._meter.retried()
        self._wake()
        return delay

    def forget(self, key: K) -> None:
        """The key's failures are over."""
        self._limiter.forget(key)

    def failures(self, key: K) -> int:
        """Failures of the key in a row."""
        return self._limiter.failures(key)

    async def get(self) -> K | None:
        """The next key, held until :meth:`done`; None when the queue is shut down and empty."""
        while True:
            taken = self._core.take(self._now())
            if taken is not None:
                self._meter.taken(taken.waited)
                return taken.key
            if self._core.shut_down:
                return None
            # No await between looking and waiting, so no wake-up falls in between.
            with anyio.move_on_after(self._patience()):
                await self._change().wait()

    def done(self, key: K) -> None:
        """The work on a key from :meth:`get` ended, well or badly."""
        self._meter.finished(self._core.done(key, self._now()))
        self._wake()

    def shutdown(self) -> None:
        """Accept nothing more and let the workers end."""
        self._core.shutdown()
        self._wake()

    async def drain(self) -> None:
        """Shut down and wait until no key is ready or in hand; cancel it to cut that short."""
        self.shutdown()
        while True:
            now = self.statistics()
            if not now.ready and not now.processing:
                return
            await self._change().wait()

    def statistics(self) -> Statistics:
        """A snapshot for metrics and people; never branch on it."""
        return self._core.statistics(self._now())

    async def run_meter(self) -> None:
        """Export depth and what is in hand every second, until cancelled: a stuck key shows itself."""
        while True:
            self._meter.state(self.statistics())
            await anyio.sleep(1.0)

    def __repr__(self) -> str:
        now = self.statistics()
        return f"<WorkQueue {self.name}: {now.ready} ready, {now.delayed} delayed, {now.processing} in hand>"

    def _now(self) -> float:
        # What anyio.current_time() finds in the end, at a tenth of its cost: a storm asks for every event.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop.time()

    def _patience(self) -> float:
        due = self._core.next_due()
        if due is None:
            return INSURANCE_SECONDS
        return min(INSURANCE_SECONDS, max(0.0, due - self._now()))

    def _wake(self) -> None:
        # Everybody is woken and looks for itself: with a handful of workers that costs less than
        # proving that exactly the right one was chosen.
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def _change(self) -> anyio.Event:
        if self._changed is None:
            self._changed = anyio.Event()
        return self._changed
