"""``database backup`` against running servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import artifact
from hack.devcluster.neo4j_sim.protocol import Json
from tests.unit.neo4j_sim.conftest import MakeTool
from tests.unit.neo4j_sim.support import Cluster, Result, Tool, eventually, headers, running

pytestmark = pytest.mark.usefixtures("numbered_seconds")

DATABASES: list[Json] = [
    {"name": "system"},
    {"name": "neo4j"},
    {"name": "orders"},
    {"name": "stopped", "status": "offline"},
    {"name": "fabric", "type": "composite", "constituents": ["neo4j"]},
]


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[Cluster]:
    with running(tmp_path, DATABASES, aliases=[{"name": "sales", "database": "orders"}]) as cluster:
        yield cluster


def _faults(monkeypatch: pytest.MonkeyPatch, **faults: object) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", json.dumps(faults))


def _ranges(folder: Path) -> list[tuple[bool, int, int]]:
    return [(header.full, header.lowest, header.highest) for header in headers(folder)]


def test_a_full_backup(standalone: Cluster, tool: Tool, target: Path) -> None:
    result = tool.backup(target, "--type=full", "neo4j")
    assert (result.code, result.err) == (0, "")
    (header,) = headers(target)
    assert (header.name, header.full, header.lowest, header.highest) == ("neo4j", True, 1, 10)
    assert header.id == standalone["s0"].dbms.replicas["neo4j"].entry.id
    assert (
        f"Finished artifact creation '{next(target.iterdir()).name}' for database 'neo4j', took" in result.out
    )
    assert result.out.rstrip().endswith("Backup command completed.")
    artifact.verify(next(target.iterdir()))


def test_without_a_name_only_the_default_database(standalone: Cluster, tool: Tool, target: Path) -> None:
    assert tool.backup(target).code == 0
    assert [header.name for header in headers(target)] == ["neo4j"]


def test_the_star_takes_what_is_online_and_physical(standalone: Cluster, tool: Tool, target: Path) -> None:
    assert tool.backup(target, "*").code == 0
    assert {header.name for header in headers(target)} == {"system", "neo4j", "orders"}


@pytest.mark.parametrize("name", ["nobody", "stopped", "fabric", "sales"])
def test_a_name_that_cannot_be_backed_up_fails_and_the_others_go_on(
    standalone: Cluster, tool: Tool, target: Path, name: str
) -> None:
    result = tool.backup(target, name, "ORDERS")
    assert result.code == 1
    assert f"Database '{name}' was not found or not running" in result.err
    assert "Backup command completed." not in result.out
    assert [header.name for header in headers(target)] == ["orders"]


def test_a_differential_continues_the_newest_artifact(standalone: Cluster, tool: Tool, target: Path) -> None:
    server = standalone["s0"]
    assert tool.backup(target, "neo4j").code == 0
    for _ in range(2):
        server.commit(3, "neo4j")
        assert tool.backup(target, "--type=DIFF", "neo4j").code == 0
    assert _ranges(target) == [(True, 1, 10), (False, 11, 13), (False, 14, 16)]


def test_a_differential_without_a_full_fails(standalone: Cluster, tool: Tool, target: Path) -> None:
    result = tool.backup(target, "--type=DIFF", "neo4j")
    assert result.code == 1
    assert "Differential backups require that a full backup of the same database exists" in result.err
    assert str(target) in result.err
    assert list(target.iterdir()) == []


def test_auto_falls_back_to_full(standalone: Cluster, tool: Tool, target: Path) -> None:
    result = tool.backup(target, "neo4j")
    assert "Falling back to full backup of database 'neo4j'." in result.out
    assert _ranges(target) == [(True, 1, 10)]


def test_no_news_is_an_empty_differential(standalone: Cluster, tool: Tool, target: Path) -> None:
    tool.backup(target, "neo4j")
    result = tool.backup(target, "neo4j")
    assert result.code == 0
    assert "has not any recent data for database" in result.out
    assert _ranges(target) == [(True, 1, 10), (False, 0, 0)]
    standalone["s0"].commit(1, "neo4j")
    tool.backup(target, "neo4j")
    assert _ranges(target)[-1] == (False, 11, 11)


def test_a_pruned_log_forces_a_full(tmp_path: Path, tool: Tool, target: Path) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j", "retainTx": 5}]) as cluster:
        tool.backup(target, "neo4j")
        cluster["s0"].commit(6, "neo4j")
        refused = tool.backup(target, "--type=DIFF", "neo4j")
        assert (refused.code, "transaction 11 is needed" in refused.err) == (1, True)
        assert tool.backup(target, "--type=AUTO", "neo4j").code == 0
        assert _ranges(target) == [(True, 1, 10), (True, 1, 16)]
        cluster["s0"].commit(5, "neo4j")
        assert tool.backup(target, "--type=DIFF", "neo4j").code == 0
    assert _ranges(target)[-1] == (False, 17, 21)


def test_a_database_made_again_starts_a_new_chain(standalone: Cluster, tool: Tool, target: Path) -> None:
    server = standalone["s0"]
    tool.backup(target, "orders")
    server.run("DROP DATABASE orders")
    server.run("CREATE DATABASE orders")
    assert tool.backup(target, "--type=DIFF", "orders").code == 1
    assert tool.backup(target, "orders").code == 0
    first, second = headers(target)
    assert second.full
    assert first.id != second.id


def test_prefer_diff_as_parent_skips_a_newer_full(tmp_path: Path, make_tool: MakeTool, target: Path) -> None:
    tool = make_tool("2026.02.0")
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}], version="2026.02.0") as cluster:
        for kind in ("FULL", "DIFF", "FULL"):
            tool.backup(target, f"--type={kind}", "neo4j")
            cluster["s0"].commit(2, "neo4j")
        tool.backup(target, "--type=DIFF", "--prefer-diff-as-parent", "neo4j")
        tool.backup(target, "--type=DIFF", "neo4j")
    # 13..16 continues 11..12 and overlaps the second FULL, which ends at 14.
    assert _ranges(target) == [
        (True, 1, 10),
        (False, 11, 12),
        (True, 1, 14),
        (False, 13, 16),
        (False, 0, 0),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--to-path=/no/such/place", "neo4j"], "does not exist"),
        (["--to-path=s3://bucket/dir", "neo4j"], "please add a terminal '/' to your path"),
    ],
)
def test_a_target_that_cannot_be_written(
    standalone: Cluster, tool: Tool, options: list[str], message: str
) -> None:
    result = tool("database", "backup", *options)
    assert (result.code, message in result.err) == (1, True)


def test_the_temporary_path_must_exist_and_be_empty(
    standalone: Cluster, tool: Tool, target: Path, tmp_path: Path
) -> None:
    staging = tmp_path / "staging"
    missing = tool.backup(target, f"--temp-path={staging}", "neo4j")
    assert (missing.code, "Storage staging path does not exist" in missing.err) == (1, True)
    staging.mkdir()
    assert tool.backup(target, f"--temp-path={staging}", "neo4j").code == 0
    assert list(staging.iterdir()) == []
    (staging / "left-over").touch()
    assert tool.backup(target, f"--temp-path={staging}", "neo4j").code == 1


def test_metadata_is_for_all_databases_but_system(standalone: Cluster, tool: Tool, target: Path) -> None:
    assert tool.backup(target, "--include-metadata=all", "neo4j", "system").code == 0
    assert tool.backup(target, "--include-metadata=none", "--type=FULL", "orders").code == 0
    found = {header.name: header.metadata for header in headers(target)}
    assert "neo4j_reader" in found["neo4j"]
    assert (found["system"], found["orders"]) == ("", "")


def test_compression_is_the_default(standalone: Cluster, tool: Tool, target: Path) -> None:
    tool.backup(target, "neo4j")
    tool.backup(target, "--type=FULL", "--compress=false", "neo4j")
    small, large = sorted(target.iterdir())
    assert small.stat().st_size < large.stat().st_size * 0.8
    assert [header.compressed for header in headers(target)] == [True, False]


def test_skipping_recovery_shows_in_the_header(tmp_path: Path, make_tool: MakeTool, target: Path) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}], version="2025.11.0"):
        make_tool("2025.11.0").backup(target, "--skip-recovery", "neo4j")
    assert [header.recovered for header in headers(target)] == [False]


def test_a_client_older_than_the_server_is_refused(tmp_path: Path, tool: Tool, target: Path) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}], version="2025.01.0"):
        result = tool.backup(target, "neo4j")
    assert (result.code, "older than server" in result.err) == (1, True)


# --- several servers -----------------------------------------------------------------------------

CLUSTER: list[Json] = [
    {"name": "system", "hosts": {"s0": "primary"}},
    {"name": "orders", "hosts": {"s0": "primary", "s1": "secondary"}, "lag": {"s1": 4}},
    {"name": "only1", "hosts": {"s1": "primary"}},
]


def test_only_what_the_listed_servers_host(tmp_path: Path, tool: Tool, target: Path) -> None:
    with running(tmp_path, CLUSTER, count=2) as cluster:
        assert tool.backup(target, "*").code == 0
        assert {header.name for header in headers(target)} == {"system", "orders"}
        assert tool.backup(target, "only1").code == 1
        assert tool.backup(target, cluster.sources("s0", "s1"), "*").code == 0
    assert {header.name for header in headers(target)} == {"system", "orders", "only1"}


def test_a_server_that_does_not_answer_spoils_the_exit_code_only(
    tmp_path: Path, tool: Tool, target: Path
) -> None:
    with running(tmp_path, CLUSTER, count=2) as cluster:
        result = tool.backup(target, cluster.sources("s0") + f",{cluster.prefix}.99:6362", "orders")
    assert result.code == 1
    assert [header.name for header in headers(target)] == ["orders"]


def test_no_server_at_all(tool: Tool, target: Path) -> None:
    result = tool.backup(target, "--from=no-such-host.invalid:6362", "neo4j")
    assert result.code == 1
    assert list(target.iterdir()) == []


def test_a_lagging_secondary_gives_an_older_backup(tmp_path: Path, tool: Tool, target: Path) -> None:
    with running(tmp_path, CLUSTER, count=2) as cluster:
        cluster["s0"].commit(10, "orders")
        eventually(lambda: cluster["s1"].last_tx("orders") == 16)
        tool.backup(target, cluster.sources("s1"), "orders")
        tool.backup(target, cluster.sources("s0", "s1"), "--type=FULL", "orders")
    assert [header.highest for header in headers(target)] == [16, 20]


def test_remote_address_resolution_prefers_secondaries(
    tmp_path: Path, make_tool: MakeTool, target: Path
) -> None:
    with running(tmp_path, CLUSTER, count=2, version="2025.09.0") as cluster:
        result = make_tool("2025.09.0").backup(
            target, cluster.sources("s0"), "--remote-address-resolution", "orders", "only1"
        )
        servers = [f"{cluster.address(name)}:6362" for name in ("s1", "s0")]
    assert result.code == 0
    assert f"from servers: [{', '.join(servers)}]" in result.out
    assert {header.name for header in headers(target)} == {"orders", "only1"}


def test_the_cluster_port_answers_backups_too(tmp_path: Path, tool: Tool, target: Path) -> None:
    with running(tmp_path, CLUSTER, count=2) as cluster:
        assert tool.backup(target, f"--from={cluster.address('s1')}:6000", "only1").code == 0


# --- ordered faults ------------------------------------------------------------------------------


def _failing(tool: Tool, target: Path, *more: str) -> Result:
    result = tool.backup(target, *more, "neo4j", "orders")
    assert result.code != 0
    assert "Backup command completed." not in result.out
    return result


def test_one_database_ordered_to_fail(
    standalone: Cluster, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _faults(monkeypatch, backup={"db": "neo4j", "exit": 70, "message": "out of luck"})
    result = _failing(tool, target)
    assert (result.code, "out of luck" in result.err) == (70, True)
    assert [header.name for header in headers(target)] == ["orders"]


def test_a_full_disk_leaves_nothing(
    standalone: Cluster, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _faults(monkeypatch, no_space=True)
    assert "java.io.IOException: No space left on device" in _failing(tool, target).err
    assert list(target.iterdir()) == []
    _failing(tool, target, "--keep-failed")
    kept = list(target.iterdir())
    assert kept
    assert all(path.is_dir() for path in kept)


def test_all_artifacts_and_still_exit_one(
    standalone: Cluster, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _faults(monkeypatch, exit_one_with_artifacts=True)
    assert _failing(tool, target).code == 1
    assert {header.name for header in headers(target)} == {"neo4j", "orders"}


def test_damage_that_only_reading_everything_finds(
    standalone: Cluster, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _faults(monkeypatch, corrupt_artifact=True)
    assert tool.backup(target, "neo4j").code == 0
    assert tool("backup", "inspect", target).code == 0
    result = tool("database", "check", f"--from-path={target}", f"--report-path={target}", "neo4j")
    assert result.code == 1
    assert list(target.glob("inconsistencies-*.report"))


def test_the_ordered_speed(
    standalone: Cluster, tool: Tool, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_SIM_BYTES_PER_SECOND", "200000")
    started = time.monotonic()
    tool.backup(target, "neo4j")
    assert time.monotonic() - started >= 0.1
