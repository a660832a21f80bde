"""One container as local processes, with namespaces and without."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from hack.devcluster.containers import (
    Container,
    ContainerSpec,
    Isolation,
    Launched,
    Mount,
    StartError,
    relocated,
)
from hack.devcluster.logs import LogFile
from tests.unit.devcluster.cluster import eventually, force, processes_with

MODES = pytest.mark.parametrize("isolation", list(Isolation))
PATH = {"PATH": os.defpath}


@asynccontextmanager
async def started(
    directory: Path, isolation: Isolation, argv: Sequence[str], *mounts: Mount, **more: Any
) -> AsyncIterator[tuple[Container, LogFile]]:
    (directory / "root").mkdir(exist_ok=True)
    log = LogFile(directory / "log")
    container = Container(ContainerSpec(argv, directory / "root", PATH, mounts, **more), isolation, log)
    try:
        await container.start()
        yield container, log
    finally:
        await container.close()
        log.close()


@MODES
@pytest.mark.asyncio
async def test_a_program_finds_its_volumes_and_the_host_shows_no_trace(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    place = f"/var/lib/devcluster-{uuid.uuid4().hex}/conf"
    volume = tmp_path / "volume"
    volume.mkdir()
    script = f"echo seen > {place}/file; cat {place}/file"
    async with started(tmp_path, isolation, ["sh", "-c", script], Mount(place, volume)) as (container, log):
        assert await container.wait() == 0
    assert log.tail(1, 100) == "seen\n"
    assert (volume / "file").read_text() == "seen\n"
    assert not Path(place).parent.exists()


@MODES
@pytest.mark.asyncio
async def test_a_volume_below_an_images_tree_hides_only_its_own_place(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    image, volume = tmp_path / "image", tmp_path / "volume"
    (image / "bin").mkdir(parents=True)
    (image / "bin/tool").write_text("tool")
    volume.mkdir()
    (volume / "setting").write_text("value")
    tree = Mount("/opt/product", image, writable=False, volume=False)
    script = "cat /opt/product/bin/tool /opt/product/conf/setting"
    async with started(
        tmp_path, isolation, ["sh", "-c", script], tree, Mount("/opt/product/conf", volume)
    ) as (container, log):
        assert await container.wait() == 0
    assert log.tail(1, 100) == "toolvalue"
    assert not (image / "conf").exists()


@pytest.mark.asyncio
async def test_what_is_read_only_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await force(Isolation.USER_NAMESPACE, monkeypatch)
    volume = tmp_path / "volume"
    volume.mkdir()
    script = "touch /settings/x || touch /tmp/x || touch /usr/x || exit 9"
    async with started(
        tmp_path,
        Isolation.USER_NAMESPACE,
        ["sh", "-c", script],
        Mount("/settings", volume, writable=False),
        read_only_root=True,
    ) as (container, _):
        assert await container.wait() == 9


@MODES
@pytest.mark.asyncio
async def test_exit_codes_are_the_programs_own(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    async with started(tmp_path, isolation, ["sh", "-c", "exit 42"]) as (container, _):
        assert await container.wait() == 42


@MODES
@pytest.mark.asyncio
async def test_stop_asks_the_program_and_its_answer_is_the_exit_code(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    script = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    async with (
        started(tmp_path, isolation, ["sh", "-c", script]) as (container, log),
        anyio.create_task_group() as group,
    ):
        group.start_soon(_stop_when_up, container, log)
        assert await container.wait() == 5
    assert log.tail(1, 100) == "bye\n"


async def _stop_when_up(container: Container, log: LogFile) -> None:
    await eventually(lambda: "up" in log.tail(1, 100))
    container.stop()


@MODES
@pytest.mark.asyncio
async def test_a_program_that_is_not_there_is_reported(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    with pytest.raises(StartError, match='exec: "no-such-program": No such file or directory'):
        async with started(tmp_path, isolation, ["no-such-program"]):
            pass


@MODES
@pytest.mark.asyncio
async def test_exec_runs_inside_and_ends_its_input_by_itself(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    volume = tmp_path / "volume"
    volume.mkdir()
    async with started(tmp_path, isolation, ["sleep", "60"], Mount("/data", volume)) as (container, _):
        process = await container.exec(["sh", "-c", "cat > /data/copy; echo done; exit 7"], stdin=True)
        assert process.stdin is not None
        await process.stdin.send(b"x" * 300_000)
        await process.stdin.aclose()
        assert await process.stdout.receive() == b"done\n"
        assert await process.wait() == 7
        await process.aclose()
        assert (volume / "copy").stat().st_size == 300_000
        container.kill()
        assert await container.wait() == 137


@MODES
@pytest.mark.asyncio
async def test_no_process_outlives_its_container(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    marker = f"50.{uuid.uuid4().int % 10**12}"
    script = f"setsid sleep {marker} & setsid sh -c 'setsid sleep {marker} & sleep {marker}' & wait"
    async with started(tmp_path, isolation, ["sh", "-c", script]):
        await eventually(lambda: len(processes_with(f"sleep\0{marker}")) == 3)
    await eventually(lambda: not processes_with(marker))


@MODES
@pytest.mark.asyncio
async def test_everything_dies_with_a_cluster_that_is_killed(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    marker = f"50.{uuid.uuid4().int % 10**12}"
    program = f"""
import anyio
from pathlib import Path
from tests.unit.devcluster.test_containers import Isolation, started
async def main():
    script = "setsid sleep {marker} & sleep {marker}"
    place, isolation = Path({str(tmp_path)!r}), Isolation({isolation.value!r})
    async with started(place, isolation, ["sh", "-c", script]) as (container, _):
        await container.wait()
anyio.run(main)
"""
    async with await anyio.open_process([sys.executable, "-c", program], stderr=None) as cluster:
        await eventually(lambda: len(processes_with(f"sleep\0{marker}")) == 2)
        cluster.send_signal(signal.SIGKILL)
        await cluster.wait()
        await eventually(lambda: not processes_with(marker))


@MODES
@pytest.mark.asyncio
async def test_exec_with_a_terminal(
    isolation: Isolation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await force(isolation, monkeypatch)
    async with started(tmp_path, isolation, ["sleep", "60"]) as (container, _):
        script = "test -t 0 && test -t 1 && read line && stty size && echo got $line; exit 6"
        process = await container.exec(["sh", "-c", script], stdin=True, tty=True)
        process.resize(120, 40)
        assert process.stdin is not None
        assert process.stderr is None
        await process.stdin.send(b"hello\n")
        output = b"".join([chunk async for chunk in process.stdout])
        assert output.splitlines()[-2:] == [b"40 120", b"got hello"]
        assert await process.wait() == 6
        await process.aclose()


def test_only_whole_paths_of_mounts_are_replaced() -> None:
    mounts = [
        Mount("/data", Path("/v/1")),
        Mount("/backup-requests", Path("/v/2")),
        Mount("/same", Path("/same")),
    ]
    moved = relocated(
        "echo {} > /backup-requests/backup.request; ls /data /database x/data /same", mounts, Path("/r")
    )
    assert moved == "echo {} > /r/backup-requests/backup.request; ls /r/data /database x/data /same"


@pytest.mark.asyncio
async def test_a_signal_that_comes_as_a_program_ends_does_not_lose_its_exit_code() -> None:
    for _ in range(30):
        launched = Launched(await anyio.open_process(["sh", "-c", "exit 7"]))
        with contextlib.suppress(ProcessLookupError):
            while launched.process.returncode is None:
                launched.signal(signal.SIGCONT)
                os.kill(launched.process.pid, 0)
        assert await launched.wait() == 7
        await launched.end()
