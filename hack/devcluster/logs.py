"""Container logs: one file for each run of a container, in the format that container runtimes write.

Guarantee: every byte of output, in order within its stream, each line with the time at which it ended.
Non-guarantee: no rotation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import anyio

from hack.devcluster.shapes import now

_LONGEST = 16 * 1024
"""A line longer than this is written in parts, as runtimes do."""


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query parameters of ``pods/log``."""

    previous: bool = False
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None
    since_time: datetime | None = None

    def starts_at(self, at: datetime) -> str:
        """The stamp of the first line wanted; stamps compare as text."""
        if self.since_seconds is not None:
            return _stamp(at - timedelta(seconds=self.since_seconds))
        return _stamp(self.since_time) if self.since_time is not None else ""


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


class LogFile:
    """The log of one run of a container."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.closed = False
        self._file = path.open("ab", buffering=0)
        self._pending = {"stdout": b"", "stderr": b""}
        self._grown = anyio.Event()

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self._pending[stream] + data).split(b"\n")
        while len(rest) >= _LONGEST:
            self._put(stream, "P", rest[:_LONGEST])
            rest = rest[_LONGEST:]
        for line in lines:
            self._put(stream, "F", line)
        self._pending[stream] = rest
        self._wake()

    def _put(self, stream: str, tag: str, line: bytes) -> None:
        self._file.write(f"{_stamp(now())} {stream} {tag} ".encode() + line + b"\n")

    def close(self) -> None:
        if self.closed:
            return
        for stream, rest in self._pending.items():
            if rest:
                self._put(stream, "P", rest)
        self._file.close()
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = anyio.Event()

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """The lines that ``options`` ask for; with ``follow`` until the container has ended."""
        start, left = options.starts_at(now()), options.limit_bytes
        with self.path.open("rb") as file:
            records = [each for each in _records(file.readlines()) if each.stamp >= start]
            if options.tail_lines is not None:
                records = records[max(len(records) - options.tail_lines, 0) :]
            while True:
                chunk = b"".join(each.shown(options.timestamps) for each in records)[:left]
                if chunk:
                    yield chunk
                left = left - len(chunk) if left is not None else None
                if left == 0 or not options.follow:
                    return
                grown, closed = self._grown, self.closed
                records = list(_records(file.readlines()))
                if not records and closed:
                    return
                if not records:
                    await grown.wait()

    def tail(self, lines: int, limit_bytes: int) -> str:
        """The end of the log, for FallbackToLogsOnError."""
        records = list(_records(self.path.read_bytes().splitlines(keepends=True)))[-lines:]
        return b"".join(each.shown(False) for each in records)[-limit_bytes:].decode(errors="replace")


@dataclass(frozen=True, slots=True)
class _Record:
    stamp: str
    whole: bool
    text: bytes

    def shown(self, with_stamp: bool) -> bytes:
        prefix = self.stamp.encode() + b" " if with_stamp else b""
        return prefix + self.text + (b"\n" if self.whole else b"")


def _records(lines: Iterable[bytes]) -> Iterable[_Record]:
    for line in lines:
        stamp, _, tag, text = line.removesuffix(b"\n").split(b" ", 3)
        yield _Record(stamp.decode(), tag == b"F", text)
