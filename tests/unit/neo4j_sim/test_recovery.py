"""``restore``, ``aggregate`` and ``check``: what a backup is worth."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.store import Store, digest
from tests.unit.neo4j_sim.conftest import MakeTool
from tests.unit.neo4j_sim.support import Cluster, Tool, headers, running

pytestmark = pytest.mark.usefixtures("numbered_seconds")

DATABASES: list[Json] = [{"name": "system"}, {"name": "neo4j"}]


def _live_digest(cluster: Cluster, database: str) -> Json:
    return digest(cluster["s0"].dbms.replicas[database].store.frames())


def _restored(tool: Tool, database: str) -> Json:
    found: Json = json.loads(tool("sim-digest", database).out)
    return {"lastTx": found["lastTx"], "digest": found["digest"]}


@pytest.fixture
def backed_up(tmp_path: Path, tool: Tool, target: Path) -> list[Json]:
    """FULL, DIFF, DIFF in ``target``; the content's digest at each of them."""
    digests = []
    with running(tmp_path, DATABASES) as cluster:
        for kind in ("FULL", "DIFF", "DIFF"):
            assert tool.backup(target, f"--type={kind}", "neo4j").code == 0
            digests.append(_live_digest(cluster, "neo4j"))
            cluster["s0"].run("CREATE (:Person {name: 'x'})", "neo4j")
            cluster["s0"].commit(2, "neo4j")
    return digests


def _file(target: Path, number: int) -> Path:
    return sorted(target.glob("*.backup"))[number]


@pytest.mark.parametrize("last", [0, 1, 2])
def test_what_is_restored_is_what_was_backed_up(
    backed_up: list[Json], tool: Tool, target: Path, last: int
) -> None:
    result = tool("database", "restore", f"--from-path={_file(target, last)}", "copy")
    assert result.code == 0
    assert "Restore of database 'copy' completed successfully" in result.out
    assert _restored(tool, "copy") == backed_up[last]


def test_restoring_from_a_folder_is_later_than_5_26(
    backed_up: list[Json], make_tool: MakeTool, target: Path
) -> None:
    assert make_tool("5.26.3")("database", "restore", f"--from-path={target}", "copy").code == 1
    assert make_tool("2025.02.0")("database", "restore", f"--from-path={target}", "copy").code == 0
    assert _restored(make_tool("2025.02.0"), "copy") == backed_up[2]


def test_restore_until_a_transaction(backed_up: list[Json], tool: Tool, target: Path) -> None:
    tool("database", "restore", f"--from-path={_file(target, 2)}", "--restore-until=14", "copy")
    assert _restored(tool, "copy") == backed_up[1]


def test_restore_until_a_time(backed_up: list[Json], tool: Tool, target: Path) -> None:
    past = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - 3600))
    tool("database", "restore", f"--from-path={_file(target, 2)}", f"--restore-until={past}", "copy")
    assert _restored(tool, "copy") == backed_up[0]
    refused = tool("database", "restore", f"--from-path={_file(target, 2)}", "--restore-until=today", "c2")
    assert refused.code == 1


def test_an_existing_database_is_replaced_only_when_told(
    backed_up: list[Json], tool: Tool, target: Path
) -> None:
    restore = ("database", "restore", f"--from-path={_file(target, 0)}")
    assert tool(*restore, "copy").code == 0
    assert tool(*restore, "copy").code == 1
    assert tool(*restore, "--overwrite-destination", "copy").code == 0


def test_a_version_before_the_backups_is_refused(tmp_path: Path, make_tool: MakeTool, target: Path) -> None:
    with running(tmp_path, DATABASES, version="2025.01.0"):
        make_tool("2025.01.0").backup(target, "neo4j")
    assert make_tool("5.26.3")("database", "restore", f"--from-path={_file(target, 0)}").code == 1
    assert make_tool("2025.02.0")("database", "restore", f"--from-path={_file(target, 0)}").code == 0


def test_a_broken_chain_is_not_restored(backed_up: list[Json], tool: Tool, target: Path) -> None:
    last = _file(target, 2)
    _file(target, 1).unlink()
    result = tool("database", "restore", f"--from-path={last}", "copy")
    assert (result.code, "precedes" in result.err) == (1, True)
    assert tool("sim-digest", "copy").code == 1


def test_a_damaged_artifact_is_not_restored(backed_up: list[Json], tool: Tool, target: Path) -> None:
    path = _file(target, 0)
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    result = tool("database", "restore", f"--from-path={path}", "copy")
    assert (result.code, "corrupt" in result.err) == (1, True)
    assert tool("sim-digest", "copy").code == 1


def test_the_restored_metadata_script(
    backed_up: list[Json], tool: Tool, target: Path, tmp_path: Path
) -> None:
    tool("database", "restore", f"--from-path={_file(target, 0)}", "copy")
    script = tmp_path / "root" / "data" / "scripts" / "copy" / "restore_metadata.cypher"
    assert "CREATE ROLE" in script.read_text(encoding="utf-8")


# --- aggregate -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "words"), [("5.26.3", "database aggregate-backup"), ("2025.01.0", "backup aggregate")]
)
def test_a_chain_becomes_one_full(
    backed_up: list[Json], make_tool: MakeTool, target: Path, version: str, words: str
) -> None:
    tool = make_tool(version)
    result = tool(*words.split(), f"--from-path={target}", "neo4j")
    assert "Successfully aggregated backup chain of database 'neo4j', new artifact:" in result.out
    (header,) = headers(target)
    assert (header.full, header.recovered, header.lowest, header.highest) == (True, True, 1, 16)
    tool("database", "restore", f"--from-path={_file(target, 0)}", "copy")
    assert _restored(tool, "copy") == backed_up[2]


def test_the_old_chain_can_be_kept(backed_up: list[Json], tool: Tool, target: Path) -> None:
    tool("database", "aggregate-backup", f"--from-path={target}", "--keep-old-backup=true", "neo4j")
    assert len(headers(target)) == 4


def test_aggregating_a_file_takes_its_chain(backed_up: list[Json], tool: Tool, target: Path) -> None:
    tool("database", "aggregate-backup", f"--from-path={_file(target, 1)}", "--keep-old-backup=true")
    assert headers(target)[-1].highest == 13


# --- check ---------------------------------------------------------------------------------------


def test_only_a_recovered_full_can_be_checked(backed_up: list[Json], tool: Tool, target: Path) -> None:
    check = ("database", "check", f"--from-path={target}", f"--report-path={target}", "neo4j")
    refused = tool(*check)
    assert (refused.code, "must be aggregated first" in refused.err) == (1, True)
    tool("database", "aggregate-backup", f"--from-path={target}", "neo4j")
    assert tool(*check).code == 0
    assert list(target.glob("*.report")) == []


def test_an_unrecovered_full_is_refused(tmp_path: Path, make_tool: MakeTool, target: Path) -> None:
    tool = make_tool("2025.11.0")
    with running(tmp_path, DATABASES, version="2025.11.0"):
        tool.backup(target, "--skip-recovery", "neo4j")
    assert "has not been recovered" in tool("database", "check", f"--from-path={target}", "neo4j").err
    tool("backup", "aggregate", f"--from-path={target}", "neo4j")
    assert tool("database", "check", f"--from-path={target}", "neo4j").code == 0


def test_checking_one_file_is_later_than_5_26(
    backed_up: list[Json], make_tool: MakeTool, target: Path
) -> None:
    check = ("database", "check", f"--from-path={_file(target, 0)}", "neo4j")
    assert make_tool("5.26.3")(*check).code == 1
    assert make_tool("2025.09.0")(*check).code == 0


def test_ordered_inconsistencies(
    backed_up: list[Json], make_tool: MakeTool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", '{"check": {"db": "neo4j", "message": "broken index"}}')
    check = ("database", "check", f"--from-path={_file(target, 0)}", f"--report-path={target}", "neo4j")
    assert make_tool("2025.09.0")(*check).code == 1
    (report,) = target.glob("inconsistencies-*.report")
    assert report.read_text(encoding="utf-8") == "broken index\n"


# --- into a running server -----------------------------------------------------------------------


def test_restored_into_a_standalone_it_is_a_new_database(
    tmp_path: Path, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, DATABASES) as cluster:
        monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path / "s0"))
        server = cluster["s0"]
        tool.backup(target, "neo4j")
        before = _live_digest(cluster, "neo4j")
        server.commit(5, "neo4j")
        restore = (
            "database",
            "restore",
            f"--from-path={_file(target, 0)}",
            "--overwrite-destination",
            "neo4j",
        )
        in_use = tool(*restore)
        assert "The database is in use. Stop database 'neo4j' and try again." in in_use.err
        assert in_use.code != 0
        server.run("STOP DATABASE neo4j")
        assert tool(*restore).code == 0
        server.run("START DATABASE neo4j")
        assert _live_digest(cluster, "neo4j") == before
        assert server.dbms.replicas["neo4j"].entry.id != headers(target)[0].id
        assert tool.backup(target, "--type=DIFF", "neo4j").code == 1


def test_a_restored_copy_comes_to_life_by_create_database(
    tmp_path: Path, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path, DATABASES) as cluster:
        monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path / "s0"))
        tool.backup(target, "neo4j")
        tool("database", "restore", f"--from-path={_file(target, 0)}", "copy")
        cluster["s0"].run("CREATE DATABASE copy")
        assert _live_digest(cluster, "copy") == _live_digest(cluster, "neo4j")
        assert Store(tmp_path / "s0" / "data" / "databases" / "copy").meta()["restored"] is False
