"""Virtual time: a loop that jumps to its next timer when nothing is left to do.

Everything of a test lives in one loop, client and server included, so hours pass in milliseconds and a
time limit that fires is a time limit that would have fired. Real time is no part of it: a machine that is
busy makes nothing late.
"""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

GRACE_SECONDS = 0.002
"""Real time in which the loopback interface may still deliver something."""
TURN_SECONDS = 0.000_01
"""What a turn of the loop takes, so that time passes also where there is always something to do."""


class _JumpingSelector(selectors.DefaultSelector):
    now = 1000.0
    grace = GRACE_SECONDS

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.now += TURN_SECONDS
        if timeout is None:
            return super().select(None)
        ready = super().select(min(timeout, self.grace))
        if not ready:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def jump(seconds: float) -> None:
    """What a process sees that was stopped so long: the clock went on, and nothing of its own has run yet."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop._jumping.now += seconds


def virtual(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run an async test in virtual time; its arguments are fixtures as usual."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        bound = functools.partial(test, *args, **kwargs)
        anyio.run(bound, backend_options={"loop_factory": VirtualLoop})

    return run
