"""Container logs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import pytest

from hack.devcluster.logs import LogFile, LogOptions


async def read(log: LogFile, options: LogOptions) -> bytes:
    return b"".join([chunk async for chunk in log.read(options)])


@pytest.mark.asyncio
async def test_both_streams_come_back_line_by_line_as_written(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"oops\n")
    log.write("stdout", b"o\nno newline")
    log.close()
    assert await read(log, LogOptions()) == b"one\noops\ntwo\nno newline"


@pytest.mark.asyncio
async def test_tail_limit_and_timestamps(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("stdout", b"one\ntwo\nthree\n")
    assert await read(log, LogOptions(tail_lines=2)) == b"two\nthree\n"
    assert await read(log, LogOptions(tail_lines=0)) == b""
    assert await read(log, LogOptions(limit_bytes=5)) == b"one\nt"
    stamped = (await read(log, LogOptions(timestamps=True, tail_lines=1))).decode()
    moment, _, text = stamped.partition(" ")
    assert text == "three\n"
    assert datetime.fromisoformat(moment[:19] + "+00:00") <= datetime.now(UTC)
    log.close()


@pytest.mark.asyncio
async def test_since_leaves_out_what_is_older(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("stdout", b"old\n")
    log.close()
    later = datetime.now(UTC) + timedelta(seconds=1)
    assert await read(log, LogOptions(since_time=later)) == b""
    assert await read(log, LogOptions(since_seconds=60)) == b"old\n"


@pytest.mark.asyncio
async def test_follow_delivers_what_is_written_later_and_ends_with_the_container(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("stdout", b"first\n")
    received: list[bytes] = []

    async def follow() -> None:
        async for chunk in log.read(LogOptions(follow=True)):
            received.append(chunk)
            log.write("stdout", b"second\n") if len(received) == 1 else log.close()

    with anyio.fail_after(5):
        await follow()
    assert received == [b"first\n", b"second\n"]


def test_a_long_line_is_kept_whole(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "log")
    log.write("stdout", b"x" * 40_000 + b"\n")
    log.close()
    assert log.tail(80, 100_000) == "x" * 40_000 + "\n"
