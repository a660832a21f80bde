"""What a dump's status says, for every way that it can go."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from controller.agent import dump, space, surroundings
from controller.agent.places import tree_size
from controller.wire.messages import BackupRequest, RunState
from tests.unit.agent.conftest import Container

GIB = 1024**3


def a_run(**fields: object) -> BackupRequest:
    return BackupRequest(**({"run_id": "r1", "databases": ("neo4j",)} | fields))  # type: ignore[arg-type]


def test_a_good_run_has_an_artifact_for_every_database(container: Container) -> None:
    (container.root / "data/databases/neo4j").mkdir()
    (container.root / "data/databases/neo4j/store").write_bytes(os.urandom(9000))
    status = container.dump(a_run(type="FULL", databases=("system", "Neo4j")))
    assert status.state is RunState.SUCCEEDED
    assert status.error == ""
    assert (status.exit_code, status.neo4j_version, status.type) == (0, "5.26.3", "FULL")
    assert status.path == "/data/backups/.staging/r1/artifacts"
    neo4j, system = status.artifacts
    assert (neo4j.database, neo4j.size, neo4j.highest_tx, neo4j.recovered) == ("neo4j", 5000, 42, None)
    assert neo4j.store_size >= 8192
    assert system.database == "system"
    assert (container.root / status.path[1:] / neo4j.file).stat().st_size == neo4j.size
    assert status.started <= status.finished


def test_the_command_line_and_environment(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "JAVA_OPTS": "-Xmx9g",
        "NEO4J_DEBUG": "",
        "TZ": "Asia/Tokyo",
        "NEO4J_AUTH": "neo4j/secret",
        "NEO4J_server_backup_listen__address": "0.0.0.0:7000",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(dump, "memory_limit", lambda: GIB)
    container.dump(a_run(compress=False, additional_args=("--parallel-recovery", "--verbose")))
    (argv,) = container.backups()
    staging = container.root / "data/backups/.staging/r1"
    assert argv == [
        "database",
        "backup",
        f"--to-path={staging}/artifacts",
        f"--temp-path={staging}/temp",
        "--type=AUTO",
        "--compress=false",
        "--from=localhost:7000",
        "--include-metadata=all",
        "--pagecache=313m",
        "--verbose",
        "--parallel-recovery",
        "neo4j",
    ]
    env = container.calls()[1]["env"]
    assert (env["HEAP_SIZE"], env["TZ"]) == ("313m", "UTC")
    assert not {"JAVA_OPTS", "NEO4J_DEBUG", "NEO4J_AUTH"} & set(env)


def test_system_is_dumped_in_a_call_of_its_own(container: Container) -> None:
    status = container.dump(a_run(databases=("system", "a", "b")))
    assert [argv[-1] for argv in container.backups()] == ["b", "system"]
    assert {artifact.database for artifact in status.artifacts} == {"a", "b", "system"}


def test_no_databases_means_all_of_them(container: Container) -> None:
    container.tell(hosted=["neo4j", "shop", "system"])
    status = container.dump(a_run(databases=()))
    assert container.backups()[0][-1] == "*"
    assert len(status.artifacts) == 3
    assert status.state is RunState.SUCCEEDED


def test_inspect_has_the_flag_that_the_version_needs(container: Container) -> None:
    container.tell(version="2025.10.1")
    container.dump(a_run())
    container.dump(a_run(run_id="r2"))
    inspects = [call["argv"] for call in container.calls() if "inspect" in call["argv"]]
    assert all("--show-metadata" not in argv for argv in inspects)
    # the version is asked for once
    assert [call["argv"] for call in container.calls()].count(["--version"]) == 1


def test_one_database_that_fails_fails_the_run_and_leaves_the_others(container: Container) -> None:
    container.tell(fails={"shop": "the server went away"})
    status = container.dump(a_run(databases=("neo4j", "shop")))
    assert status.state is RunState.FAILED
    assert status.error == "shop: the server went away"
    assert [failure.database for failure in status.failures] == ["shop"]
    assert [artifact.database for artifact in status.artifacts] == ["neo4j"]
    assert (container.root / status.path[1:] / status.artifacts[0].file).exists()


def test_exit_code_1_with_every_artifact_is_a_warning(container: Container) -> None:
    container.tell(exit=1, last="Lost connection to other/10.0.0.1:6362")
    status = container.dump(a_run())
    assert status.state is RunState.SUCCEEDED
    assert status.exit_code == 1
    assert "Lost connection to other/10.0.0.1:6362" in status.warnings[0]


def test_exit_code_1_behind_the_star_is_a_failure(container: Container) -> None:
    container.tell(exit=1, last="Lost connection to other/10.0.0.1:6362")
    status = container.dump(a_run(databases=()))
    assert status.state is RunState.FAILED
    assert "Lost connection" in status.error
    assert len(status.artifacts) == 2


def test_exit_code_0_without_an_artifact_is_a_failure(container: Container) -> None:
    container.tell(hosted=[])
    status = container.dump(a_run(databases=()))
    assert (status.state, status.error) == (RunState.FAILED, "neo4j-admin wrote no artifact")
    assert not container.places.run_directory("r1").exists()


def test_an_artifact_that_cannot_be_read_back_does_not_count(container: Container) -> None:
    container.tell(unreadable=["neo4j"])
    status = container.dump(a_run())
    assert status.state is RunState.FAILED
    assert "does not read it back" in status.error
    assert status.artifacts == ()


def test_an_empty_artifact_does_not_count(container: Container) -> None:
    container.tell(size=0)
    assert container.dump(a_run()).state is RunState.FAILED


@pytest.mark.parametrize(
    ("code", "meaning"), [(137, "ran out of memory"), (64, "command line"), (70, "exit code 70")]
)
def test_other_exit_codes_fail_whatever_was_written(container: Container, code: int, meaning: str) -> None:
    container.tell(exit=code)
    status = container.dump(a_run())
    assert status.state is RunState.FAILED
    assert meaning in status.error


def test_a_kill_for_memory_is_told_with_the_numbers(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = iter([0, 1])
    monkeypatch.setattr(dump, "oom_kills", lambda: next(kills))
    monkeypatch.setattr(dump, "memory_limit", lambda: GIB)
    container.tell(exit=137, skips=["neo4j"])
    error = container.dump(a_run(page_cache="256Mi")).error
    assert "heap 371.2MiB, page cache 256MiB, container limit 1GiB; raise the sidecar's memory limit" in error
    assert "exit code 137" in error


def test_a_page_cache_that_does_not_fit_is_refused_before_anything_is_dumped(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dump, "memory_limit", lambda: GIB)
    status = container.dump(a_run(page_cache="4G"))
    assert status.state is RunState.FAILED
    assert "page cache 4GiB does not fit into the sidecar's memory limit of 1GiB" in status.error
    assert container.backups() == []


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"databases": ("sales*",)}, "pattern"),
        ({"databases": ("--from=x",)}, "no database name"),
        ({"page_cache": "50%"}, "pageCache: '50%' is no byte size"),
        ({"additional_args": ("--to-path=/x",)}, "spec.storage"),
        ({"additional_args": ("--skip-recovery",)}, "Neo4j 5.26.3 does not know it"),
        ({"additional_args": ("--temp-path=/data/databases",)}, "among Neo4j's own files"),
        ({"additional_args": ("--temp-path=/tmp/file/x",)}, "cannot be used (Not a directory"),
        ({"include_metadata": "sure"}, "one of none, all"),
        ({"from_addresses": ("a b",)}, "no address"),
        ({"path": "/etc"}, "write a directory below /data/backups"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(
    container: Container, fields: dict[str, object], told: str
) -> None:
    (container.root / "tmp/file").touch()
    status = container.dump(a_run(**fields))
    assert status.state is RunState.FAILED
    assert told in status.error
    assert container.backups() == []
    assert list(container.places.staging.glob("*")) == []


def test_the_temporary_path_of_the_reference_is_the_parent_of_a_private_one(container: Container) -> None:
    (container.root / "tmp/backup").mkdir()
    (container.root / "tmp/backup/something of others").touch()
    status = container.dump(a_run(additional_args=("--temp-path=/tmp/backup", "--parallel-recovery")))
    assert status.state is RunState.SUCCEEDED
    assert f"--temp-path={container.root}/tmp/backup/r1" in container.backups()[0]
    assert [path.name for path in (container.root / "tmp/backup").iterdir()] == ["something of others"]


def test_an_unsupported_or_silent_neo4j_is_told(container: Container) -> None:
    container.tell(version="4.4.1")
    assert "older than 5.26" in container.dump(a_run()).error
    container.tell(version="no java")
    assert "says no version (exit code 0): no java" in container.dump(a_run(run_id="r2")).error
    (container.bin / "neo4j-admin").unlink()
    assert "Neo4j Enterprise's image" in container.dump(a_run(run_id="r3")).error


def test_a_server_that_does_not_listen_for_backups_is_told(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_server_backup_enabled", "false")
    assert "server.backup.enabled is false" in container.dump(a_run()).error


def test_too_little_disk_is_told_in_numbers(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    store = container.root / "data/databases/neo4j"
    store.mkdir()
    monkeypatch.setattr(space, "tree_size", lambda path: 1 << 60)
    status = container.dump(a_run())
    assert "not enough disk space" in status.error
    assert container.backups() == []
    # the store of a database that is not asked for does not count
    assert container.dump(a_run(run_id="r2", databases=("shop",))).state is RunState.SUCCEEDED


def test_a_hand_made_destination_keeps_what_was_there(container: Container) -> None:
    old = container.root / "data/backups/daily/neo4j-2025-01-01T00-00-00.backup"
    old.parent.mkdir()
    old.write_bytes(b"old")
    status = container.dump(a_run(path="/data/backups/daily"))
    assert status.path == "/data/backups/daily"
    assert [artifact.file for artifact in status.artifacts] == ["neo4j-2026-01-01T00-00-00.backup"]
    assert old.exists()
    assert not container.places.run_directory("r1").exists()


def test_a_link_does_not_lead_out_of_the_backups(container: Container) -> None:
    (container.root / "data/backups/out").symlink_to(container.root / "tmp")
    status = container.dump(a_run(path="/data/backups/out/deep/er"))
    assert "through a symbolic link" in status.error
    assert list((container.root / "tmp").iterdir()) == []


def test_limits_come_from_either_cgroup_version(container: Container) -> None:
    cgroup = container.root / "sys/fs/cgroup"
    cgroup.mkdir(parents=True)
    assert surroundings.memory_limit() is None
    (cgroup / "memory.max").write_text("max\n")
    assert surroundings.memory_limit() is None
    (cgroup / "memory").mkdir()
    (cgroup / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert surroundings.memory_limit() is None
    (cgroup / "memory.max").write_text("1073741824\n")
    (cgroup / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert surroundings.memory_limit() == GIB
    assert surroundings.oom_kills() == 2


def test_sizes_on_disk_ignore_what_vanishes(tmp_path: Path) -> None:
    assert tree_size(tmp_path / "not there") == 0
