"""The request protocol's files: ``<run-id>.request``, ``.progress``, ``.status``.

Guarantee: every file appears complete (written aside, then linked or renamed), so a reader never sees
half a message; a run id is accepted once; the queue is in order of arrival. A run without a status is
queued or running; a status is final. Non-guarantee: the directory is an emptyDir, so a new pod
knows nothing of its predecessor's runs.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from pathlib import Path
from typing import TypeVar

from controller.wire.messages import (
    AgentProgress,
    AgentStatus,
    BackupRequest,
    Message,
    RunState,
    Unreadable,
    decode,
    encode,
)

_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
M = TypeVar("M", bound=Message)


RESERVED = "backup"
"""``backup.request`` and ``backup.status`` belong to the hand-written protocol and are no run."""


def is_run_id(text: str) -> bool:
    """Fit to be a file name; in particular never a path."""
    return bool(_RUN_ID.fullmatch(text)) and ".." not in text and text != RESERVED


class Journal:
    """The files of every run that this agent knows of."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, request: BackupRequest) -> bool:
        """Queue a request; false when the run id is already known, and nothing changes then."""
        aside = self._aside(f"{request.run_id}.request")
        aside.write_bytes(encode(request) + b"\n")
        # the kernel stamps files with a clock of milliseconds, too coarse to tell who came first
        os.utime(aside, ns=(time.time_ns(), time.time_ns()))
        try:
            # link, unlike rename, refuses to replace: two submits of one run cannot both win
            os.link(aside, self._file(request.run_id, "request"))
        except FileExistsError:
            return False
        finally:
            aside.unlink()
        return True

    def request(self, run_id: str) -> BackupRequest | None:
        """None also for a request that names another run: it would never get a status, and run for ever."""
        request = self._read(run_id, "request", BackupRequest)
        return request if request and request.run_id == run_id else None

    def progress(self, run_id: str) -> AgentProgress | None:
        return self._read(run_id, "progress", AgentProgress)

    def status(self, run_id: str) -> AgentStatus | None:
        return self._read(run_id, "status", AgentStatus)

    def state(self, run_id: str) -> RunState | None:
        """``None`` for a run that this agent does not know."""
        status = self.status(run_id)
        if status:
            return status.state
        if not self._file(run_id, "request").exists():
            return None
        return RunState.RUNNING if self._file(run_id, "progress").exists() else RunState.QUEUED

    def write_progress(self, progress: AgentProgress) -> None:
        self._write(f"{progress.run_id}.progress", progress)

    def write_status(self, status: AgentStatus) -> None:
        self._write(f"{status.run_id}.status", status)

    def write(self, name: str, content: bytes) -> None:
        """Replace the file ``name`` in one step."""
        aside = self._aside(name)
        aside.write_bytes(content + b"\n")
        aside.replace(self.directory / name)

    def known(self) -> set[str]:
        """Every run that has a request or a status."""
        files = [path for suffix in ("request", "status") for path in self.directory.glob(f"[!.]*.{suffix}")]
        return {path.stem for path in files if is_run_id(path.stem)}

    def waiting(self) -> list[str]:
        """Runs without a status, in order of arrival."""
        arrived: list[tuple[int, str]] = []
        for path in self.directory.glob("[!.]*.request"):
            if is_run_id(path.stem) and not path.with_suffix(".status").exists():
                with contextlib.suppress(FileNotFoundError):
                    arrived.append((path.stat().st_mtime_ns, path.stem))
        return [run_id for _, run_id in sorted(arrived)]

    def age_seconds(self, run_id: str, now: float) -> float:
        """Since the run ended or its artifacts were last touched; 0 when that cannot be told."""
        try:
            return now - self._file(run_id, "status").stat().st_mtime
        except OSError:
            return 0.0

    def touch(self, run_id: str) -> None:
        """Somebody still uses this run's artifacts."""
        with contextlib.suppress(OSError):
            os.utime(self._file(run_id, "status"))

    def forget(self, run_id: str) -> None:
        # the status goes last: without it a request that is still there would be queued again
        for suffix in ("request", "progress", "status"):
            self._file(run_id, suffix).unlink(missing_ok=True)

    def _write(self, name: str, message: Message) -> None:
        self.write(name, encode(message))

    def _read(self, run_id: str, suffix: str, type_: type[M]) -> M | None:
        try:
            return decode(self._file(run_id, suffix).read_bytes(), type_)
        except (FileNotFoundError, Unreadable):
            return None

    def _file(self, run_id: str, suffix: str) -> Path:
        return self.directory / f"{run_id}.{suffix}"

    def _aside(self, name: str) -> Path:
        return self.directory / f".{name}.{os.getpid()}-{threading.get_ident()}"
