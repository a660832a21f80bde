"""A dump that cannot fit is refused in numbers; one that fills the disk is ended before it is full."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from controller.agent import space
from controller.agent.destination import Refused
from controller.wire.messages import AgentStatus, BackupRequest, LastFull, RunState
from tests.support.small_disk import free, small_disk
from tests.unit.agent.conftest import Container
from tests.unit.agent.test_chains import a_run as a_link
from tests.unit.agent.test_chains import commit
from tests.unit.agent.test_with_simulator import a_server

MIB = 1024**2
GIB = 1024**3
DISK = 64 * MIB


def last(size: int, store: int = 0) -> LastFull:
    return LastFull(database="neo4j", size=size, store_size=store)


@pytest.mark.parametrize(
    ("store", "before", "compress", "expected"),
    [
        (10 * GIB, (), True, 6 * GIB),
        (10 * GIB, (), False, 10 * GIB),
        # it compressed to a tenth last time, and has not grown since
        (10 * GIB, (last(GIB, 10 * GIB),), True, 1.1 * GIB),
        # twice the store makes twice the artifact
        (20 * GIB, (last(GIB, 10 * GIB),), True, 2.2 * GIB),
        # what was deleted does not shrink a store for certain
        (5 * GIB, (last(GIB, 10 * GIB),), True, 1.1 * GIB),
        # vectors hardly compress
        (10 * GIB, (last(9 * GIB, 10 * GIB),), True, 9.9 * GIB),
        (10 * GIB, (last(GIB),), True, 1.1 * GIB),
    ],
)
def test_the_last_backup_tells_more_than_the_store_and_the_store_what_came_since(
    store: int, before: tuple[LastFull, ...], compress: bool, expected: float
) -> None:
    found = space.forecast({"neo4j": store}, before, compress)
    assert found["neo4j"] == pytest.approx(expected, rel=1e-6)


def test_a_store_that_cannot_be_seen_is_judged_by_the_last_backup() -> None:
    assert space.forecast({}, [last(GIB, GIB)], True) == {"neo4j": int(1.1 * GIB)}
    assert space.forecast({}, [], True) == {}


@pytest.mark.parametrize(
    ("total", "left"), [(64 * MIB, 16 * MIB), (10 * GIB, 10 * GIB // 100), (1000 * GIB, 256 * MIB)]
)
def test_the_database_keeps_a_hundredth_of_its_volume(total: int, left: int) -> None:
    assert space.reserve(total) == left


@pytest.fixture
def disk(container: Container) -> Iterator[Container]:
    """The container, its backups on a disk of their own that is small."""
    with small_disk(container.root / "data/backups", DISK):
        yield container


def a_run(run_id: str = "r1", **fields: object) -> BackupRequest:
    return BackupRequest(**({"run_id": run_id, "databases": ("neo4j",)} | fields))  # type: ignore[arg-type]


def is_clean(container: Container) -> bool:
    """Nothing is left of a dump: the next one has the whole disk."""
    return free(container.root / "data/backups") > DISK - MIB


def test_what_took_too_much_last_time_is_refused_before_it_starts(disk: Container) -> None:
    status = disk.dump(a_run(last_fulls=(last(60 * MIB),)))
    assert status.state is RunState.FAILED
    assert "not enough disk space: 6" in status.error
    assert "about 66MiB needed and 16MiB left to the database" in status.error
    assert disk.backups() == []
    # another database's last backup is no matter
    assert disk.dump(a_run("r2", last_fulls=(LastFull(database="shop", size=GIB),))).error == ""


@pytest.mark.parametrize("path", ["", "/data/backups/today"])
def test_a_dump_that_fills_the_disk_is_ended_and_leaves_nothing(disk: Container, path: str) -> None:
    disk.tell(fills_until=8 * MIB)
    status = disk.dump(a_run(path=path))
    assert status.state is RunState.FAILED
    assert "the disk was filling up" in status.error
    assert "enlarge the volume" in status.error
    assert is_clean(disk)
    disk.tell()
    assert disk.dump(a_run("r2")).state is RunState.SUCCEEDED


def test_a_disk_that_is_full_at_once_fails_the_dump_with_that_cause(disk: Container) -> None:
    disk.tell(fills_until=0)
    status = disk.dump(a_run())
    assert status.state is RunState.FAILED
    # whoever sees it first: neo4j-admin at its write, or we at our next look
    assert "No space left on device" in status.error or "filling up" in status.error
    assert is_clean(disk)


def test_a_differential_is_not_refused_because_a_full_backup_would_not_fit(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2026.07.1") as cluster:
        first: AgentStatus = commit(container, a_link("r1"))
        cluster["s0"].commit(3, "neo4j")
        monkeypatch.setattr(space, "_room", lambda directory: (GIB, 100 * GIB))
        second, third = (
            msgspec.structs.replace(a_link(name, first), last_fulls=(last(50 * GIB),))
            for name in ("r2", "r3")
        )
        assert not container.dump(second).artifacts[0].full
        shutil.rmtree(container.root / "data/backups/.chains")
        assert "not enough disk space: 1GiB free" in container.dump(third).error


def test_a_temporary_path_on_another_volume_is_asked_for_its_own_share(tmp_path: Path) -> None:
    with small_disk(tmp_path, DISK):
        beside = tmp_path / "beside"
        beside.mkdir()
        with small_disk(beside, DISK):
            sizes = {"neo4j": 40 * MIB}
            space.check(sizes, sizes, ["neo4j"], tmp_path, beside)
        with pytest.raises(Refused, match="about 80MiB needed"):
            space.check(sizes, sizes, ["neo4j"], tmp_path, beside)
