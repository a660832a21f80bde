"""Store files from a server into a staging directory, at the ordered speed.

Guarantee: what is staged is complete or the call raises. Non-guarantee: the disk's speed is the disk's.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.faults import Faults
from hack.devcluster.neo4j_sim.protocol import Connection


def _no_space() -> OSError:
    return OSError(errno.ENOSPC, "No space left on device")


@dataclass(slots=True)
class Pace:
    """Never faster than ``bytes_per_second``; 0 is as fast as it goes."""

    bytes_per_second: int
    started: float
    done: int = 0

    def wait_for(self, size: int) -> None:
        self.done += size
        if self.bytes_per_second:
            ahead = self.started + self.done / self.bytes_per_second - time.monotonic()
            time.sleep(max(0.0, ahead))


def stage(connection: Connection, length: int, file: Path, faults: Faults) -> None:
    """Raises OSError (ENOSPC among them)."""
    if length > shutil.disk_usage(file.parent).free:
        raise _no_space()
    pace = Pace(faults.bytes_per_second, time.monotonic())
    with file.open("wb") as staged:
        for chunk in connection.receive_bytes(length):
            staged.write(chunk)
            pace.wait_for(len(chunk))
            if faults.kill and pace.done * 2 >= length:
                os.kill(os.getpid(), signal.SIGKILL)
    if faults.no_space:
        raise _no_space()


@contextmanager
def staging_directory(temp_path: str) -> Iterator[Path]:
    """A private directory below ``--temp-path``, or below the current directory as the real tool does."""
    if temp_path:
        base = Path(temp_path)
        if not base.is_dir():
            raise CommandFailed(f"Storage staging path does not exist: {temp_path}")
        if any(base.iterdir()):
            raise CommandFailed(f"Storage staging path is not empty: {temp_path}")
    else:
        base = Path.cwd()
    directory = base / f"staging-{os.getpid()}"
    try:
        directory.mkdir()
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read_chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as staged:
        while chunk := staged.read(1 << 18):
            yield chunk
