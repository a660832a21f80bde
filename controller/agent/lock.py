"""Locks between the processes of one sidecar: one daemon, and one JVM at a time.

Guarantee: the JVM lock is held as long as the process that was started under it, or a child of that,
lives, because they inherit the descriptor; so not even an agent that was killed and started again
runs a second JVM beside an orphan. The holder's process group stands in the file, to be ended by the
next daemon.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

JVM_LOCK = ".jvm.lock"
DAEMON_LOCK = ".agent.lock"
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Held:
    """A lock that this process holds."""

    descriptor: int
    by_daemon: bool = True

    def record(self, process_group: int) -> None:
        """Say who has to be ended when the daemon that started it is gone; a verb's child is no orphan."""
        said = str(process_group) if self.by_daemon else ""
        os.pwrite(self.descriptor, f"{said:<12}".encode(), 0)


class Busy(Exception):
    """Somebody else holds the lock, and the time to wait is over."""


@contextlib.contextmanager
def held(path: Path, wait_seconds: float, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Held]:
    """Hold the lock within the block. Raises :class:`Busy`."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        deadline = time.monotonic() + wait_seconds
        while not _try(descriptor):
            if time.monotonic() >= deadline or should_stop():
                raise Busy(path.name)
            time.sleep(_POLL_SECONDS)
        yield Held(descriptor)
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    try:
        with held(path, 0):
            return False
    except Busy:
        return True


def end_orphan(path: Path) -> bool:
    """End what a killed daemon left running; true when there was something."""
    if not path.exists() or not is_held(path):
        return False
    recorded = path.read_text().strip()
    if not recorded.isdigit():
        return False  # a verb that works beside us
    with contextlib.suppress(OSError):
        os.killpg(int(recorded), signal.SIGKILL)
    return True


def _try(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
