"""The operator's own program with a meter in its event loop.

Guarantee: ``controller.app.main.run`` as it is in a pod. A moment that the loop missed counts with how late
it was, as does every further one that came due meanwhile, so that one long block is not one sample.
Non-guarantee: the meter itself costs about a thousandth of a core.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time

import anyio

from controller.app import main
from controller.app.logs import configure_logs
from controller.app.settings import read_settings
from hack.benchmarks import talk

STEP_SECONDS = 0.005


class Meter:
    """How late the loop was, for every moment at which something could have been due."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self._due, self._cpu = loop, loop.time() + STEP_SECONDS, time.thread_time()
        self._late: list[float] = []
        self._own: list[float] = []
        """The part of it in which this thread ran, and not another one or another process."""
        loop.call_at(self._due, self._tick)

    def _tick(self) -> None:
        now, cpu = self._loop.time(), time.thread_time()
        while self._due <= now:
            self._late.append(now - self._due)
            self._own.append(min(now - self._due, cpu - self._cpu))
            self._due += STEP_SECONDS
        self._cpu = cpu
        self._loop.call_at(self._due, self._tick)

    def report(self, stage: str) -> None:
        """What was measured since the last report, once there is something."""
        if not self._late:
            self._loop.call_later(STEP_SECONDS, self.report, stage)
            return
        late, self._late = sorted(self._late), []
        own, self._own = sorted(self._own), []
        talk.say(
            stage,
            p50=_at(late, 0.5),
            p99=_at(late, 0.99),
            max=late[-1],
            own_p99=_at(own, 0.99),
            own_max=own[-1],
        )


def _at(ordered: list[float], share: float) -> float:
    return ordered[int(len(ordered) * share)]


async def run() -> None:
    """The operator, until the process is killed."""
    loop = asyncio.get_running_loop()
    meter = Meter(loop)

    def listen() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(meter.report, line.strip())

    threading.Thread(target=listen, daemon=True).start()
    settings = read_settings(sys.argv[1:], os.environ)
    configure_logs(settings.log_format, settings.log_level)
    await main.run(settings)


if __name__ == "__main__":
    anyio.run(run)
