"""Child processes: without a shell, in their own process group, one JVM at a time.

Guarantee: when a call returns or raises, nothing of the process group that it started is left; asked to
stop, it first terminates, and kills after :data:`GRACE_SECONDS`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from controller.agent.lock import Held

GRACE_SECONDS = 8.0
TICK_SECONDS = 0.5
_CHUNK = 65536


class Interrupted(Exception):
    """The agent was asked to stop while the child ran; the child is gone."""


@dataclass(frozen=True, slots=True)
class Captured:
    """A finished short command."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class Launch:
    """How children are started: their environment, working directory and the lock they inherit."""

    env: Mapping[str, str]
    cwd: Path
    lock: Held

    def start(self, argv: Sequence[str], stderr: int) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=dict(self.env),
            cwd=self.cwd,
            process_group=0,
            pass_fds=(self.lock.descriptor,),
        )
        self.lock.record(child.pid)
        return child


def capture(launch: Launch, argv: Sequence[str], timeout_seconds: float) -> Captured:
    """Run to the end and keep what it said. Raises ``TimeoutExpired`` (the child is gone), ``OSError``."""
    with launch.start(argv, subprocess.PIPE) as child:
        try:
            stdout, stderr = child.communicate(timeout=timeout_seconds)
        finally:
            _end_group(child, 0)
    return Captured(exit_status(child.returncode), _text(stdout), _text(stderr))


def stream(
    launch: Launch,
    argv: Sequence[str],
    on_line: Callable[[str], None],
    on_tick: Callable[[], bool],
) -> int:
    """Run to the end; both output streams go to ``on_line``. Raises ``OSError``, :class:`Interrupted`.

    ``on_tick`` is called about twice a second; when it answers false the child is ended.
    """
    child = launch.start(argv, subprocess.STDOUT)
    assert child.stdout is not None
    try:
        _pump(child.stdout, on_line, on_tick)
        return exit_status(_reap(child, on_tick))
    finally:
        _end_group(child, GRACE_SECONDS)
        child.stdout.close()


def exit_status(returncode: int) -> int:
    """As a shell would report it: 128 + signal."""
    return 128 - returncode if returncode < 0 else returncode


def _pump(pipe: IO[bytes], on_line: Callable[[str], None], on_tick: Callable[[], bool]) -> None:
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        next_tick = 0.0
        while True:
            ready = selector.select(TICK_SECONDS)
            if time.monotonic() >= next_tick:
                _tick(on_tick)
                next_tick = time.monotonic() + TICK_SECONDS
            if not ready:
                continue
            chunk = os.read(pipe.fileno(), _CHUNK)
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                on_line(_text(line))
    if rest:
        on_line(_text(rest))


def _reap(child: subprocess.Popen[bytes], on_tick: Callable[[], bool]) -> int:
    """A child that closed its output may still work for a while."""
    while True:
        try:
            return child.wait(TICK_SECONDS)
        except subprocess.TimeoutExpired:
            _tick(on_tick)


def _tick(on_tick: Callable[[], bool]) -> None:
    if not on_tick():
        raise Interrupted


def _end_group(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if child.poll() is None and grace_seconds:
        _signal(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_seconds)
    # also after a normal end: neo4j-admin's own child may have survived its launcher
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def _signal(process_group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_group, number)


def _text(data: bytes) -> str:
    return data.decode(errors="replace").rstrip("\r")
