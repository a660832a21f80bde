"""Measure a process from outside: its CPU time by its own clock, its memory by the kernel's books.

Guarantee: CPU time covers every thread, ended ones too, in nanoseconds; nothing runs inside the process
that is measured. Non-guarantee: Linux only.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_CPUCLOCK_SCHED = 2
_KEEPER = Path(__file__).with_name("books.py")


class Unfinished(RuntimeError):
    """A process did not reach the stage that was waited for; the message has what it wrote."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at one moment."""

    at: float
    cpu: float
    rss: float
    """MiB."""
    peak: float
    """MiB, since the start or the last :meth:`Process.forget_peak`."""


@dataclass(frozen=True, slots=True)
class Books:
    """A program from its start to its end, its children that it waited for included."""

    code: int
    """Negative: the signal that ended it."""
    wall: float
    """Seconds."""
    cpu: float
    """Seconds, of all threads."""
    peak: float
    """MiB, of the largest process; 10 and less cannot be told apart."""


def whole_run(
    argv: Sequence[str],
    *,
    stdout: IO[bytes] | None = None,
    stderr: IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Books:
    """Run a program to its end."""
    reading, writing = os.pipe()
    with open(reading, "rb") as books:
        try:
            keeper = [sys.executable, "-I", "-S", str(_KEEPER), str(writing)]
            subprocess.run(
                [*keeper, *argv],
                pass_fds=[writing],
                stdout=stdout,
                stderr=stderr,
                env=env,
                cwd=cwd,
                check=True,
            )
        finally:
            os.close(writing)
        return Books(**json.load(books))


class Process:
    """A child that reports its stages as JSON lines; use it in ``with``."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, log: Path) -> None:
        self._log = log
        self.started = time.monotonic()
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                argv,
                env={**os.environ, **env},
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
            )
        self._buffer = b""

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.kill()
        self._child.wait()
        self._child.stdin.close()
        self._child.stdout.close()

    def sample(self) -> Sample:
        """Now."""
        pid = self._child.pid
        at, cpu = time.monotonic(), time.clock_gettime((~pid << 3) | _CPUCLOCK_SCHED)
        kib = kib_of(Path(f"/proc/{pid}/status").read_text())
        return Sample(at, cpu, kib["VmRSS"] / 1024, kib["VmHWM"] / 1024)

    def forget_peak(self) -> None:
        """The peak starts again from what is resident now."""
        Path(f"/proc/{self._child.pid}/clear_refs").write_text("5")

    def tell(self, line: str) -> None:
        """One line on its standard input."""
        assert self._child.stdin is not None
        self._child.stdin.write(line.encode() + b"\n")

    def line(self, seconds: float) -> bytes:
        """The next line of its standard output."""
        assert self._child.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([self._child.stdout], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._child.stdout.fileno(), 65536) if ready else b""
            if not data:
                end = self._log.read_text(errors="replace")[-2000:]
                raise Unfinished(f"{'ended' if ready else f'nothing for {seconds:g} s'}:\n{end}")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def stage(self, name: str, seconds: float) -> tuple[Sample, dict[str, Any]]:
        """Wait for a stage; the sample is taken the moment its line is read."""
        while True:
            said: dict[str, Any] = json.loads(self.line(seconds))
            if said["stage"] == name:
                return self.sample(), said


def kib_of(status: str) -> dict[str, int]:
    """The sizes in ``/proc/<pid>/status``, in KiB."""
    rows = (line.split() for line in status.splitlines())
    return {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) == 3 and row[2] == "kB"}
