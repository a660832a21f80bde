"""Open chains on a sidecar, with the simulated Neo4j: what is continued, what is not, and why."""

from __future__ import annotations

import shutil

import pytest

from controller.agent.submit import end_run
from controller.wire.messages import (
    AgentStatus,
    BackupRequest,
    BackupType,
    ChainParent,
    ReleaseRequest,
    RunState,
)
from tests.unit.agent.conftest import Container
from tests.unit.agent.test_with_simulator import DATABASES, PRIMARY, a_server

CHAIN = "ns.nightly"


def a_run(
    run_id: str,
    parent: AgentStatus | None = None,
    type_: BackupType = "AUTO",
    databases: tuple[str, ...] = ("neo4j",),
) -> BackupRequest:
    parents = tuple(
        ChainParent(
            database=one.database,
            file=one.file,
            database_id=one.database_id,
            full=one.full,
            lowest_tx=one.lowest_tx,
            highest_tx=one.highest_tx,
        )
        for one in (parent.artifacts if parent else ())
    )
    return BackupRequest(
        run_id=run_id, type=type_, databases=databases, chain=CHAIN, parents=parents, max_chain_length=3
    )


def dumped(container: Container, request: BackupRequest) -> AgentStatus:
    status = container.dump(request)
    assert status.state is RunState.SUCCEEDED, status.error
    return status


def release(container: Container, run_id: str, status: AgentStatus | None = None, **more: object) -> None:
    files = tuple(one.file for one in status.artifacts) if status else ()
    request = ReleaseRequest(run_id=run_id, committed=files, **more)  # type: ignore[arg-type]
    assert end_run(request, container.places) == 0


def commit(container: Container, request: BackupRequest) -> AgentStatus:
    status = dumped(container, request)
    release(container, request.run_id, status)
    return status


def kept(container: Container, database: str = "neo4j") -> list[str]:
    return sorted(
        path.name for path in (container.places.backups / ".chains" / CHAIN / database).glob("*.backup")
    )


@pytest.mark.parametrize("version", ["5.26.3", "2025.06.1", "2026.07.1"])
def test_auto_continues_what_was_committed_until_the_chain_is_long_enough(
    container: Container, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    with a_server(container, monkeypatch, version) as cluster:
        first = commit(container, a_run("r1"))
        assert first.artifacts[0].full
        assert first.warnings == ()
        assert "no backup that it could continue" in first.artifacts[0].why_full
        parent = first
        for run_id in ("r2", "r3"):
            cluster["s0"].commit(3, "neo4j")
            status = commit(container, a_run(run_id, parent))
            (made,) = status.artifacts
            assert (made.full, made.lowest_tx) == (False, parent.artifacts[0].highest_tx + 1)
            parent = status
        assert len(kept(container)) == 3
        (made,) = commit(container, a_run("r4", parent)).artifacts
        assert made.full
        assert "maxChainLength is 3" in made.why_full
        assert kept(container) == [made.file]


def test_what_was_not_committed_is_no_parent(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_server(container, monkeypatch, "2026.07.1") as cluster:
        first = commit(container, a_run("r1"))
        cluster["s0"].commit(3, "neo4j")
        assert not dumped(container, a_run("r2", first)).artifacts[0].full
        release(container, "r2")
        cluster["s0"].commit(3, "neo4j")
        (third,) = commit(container, a_run("r3", first)).artifacts
        assert (third.full, third.lowest_tx) == (False, first.artifacts[0].highest_tx + 1)
        assert kept(container) == [first.artifacts[0].file, third.file]


def test_a_run_whose_release_got_lost_is_continued_all_the_same(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2026.07.1") as cluster:
        first = commit(container, a_run("r1"))
        cluster["s0"].commit(3, "neo4j")
        second = dumped(
            container, a_run("r2", first)
        )  # committed, but the runner died before it could say so
        cluster["s0"].commit(3, "neo4j")
        (third,) = commit(container, a_run("r3", second)).artifacts
        assert (third.full, third.lowest_tx) == (False, second.artifacts[0].highest_tx + 1)
        assert len(kept(container)) == 3


def test_an_empty_differential_moves_nothing(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_server(container, monkeypatch, "2025.06.1") as cluster:
        first = commit(container, a_run("r1"))
        (empty,) = commit(container, a_run("r2", first)).artifacts
        assert (empty.full, empty.lowest_tx, empty.highest_tx) == (False, 0, 0)
        cluster["s0"].commit(2, "neo4j")
        (third,) = commit(container, a_run("r3", first)).artifacts
        assert (third.full, third.lowest_tx) == (False, first.artifacts[0].highest_tx + 1)


@pytest.mark.parametrize("version", ["5.26.3", "2026.02.0"])
def test_a_first_differential_may_reach_back_into_its_full_from_2026_02(
    container: Container, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", '{"diff_overlap": 2}')
    with a_server(container, monkeypatch, version) as cluster:
        first = commit(container, a_run("r1"))
        cluster["s0"].commit(3, "neo4j")
        second = commit(container, a_run("r2", first))
        reach = 2 if version == "2026.02.0" else 0
        assert second.artifacts[0].lowest_tx == first.artifacts[0].highest_tx + 1 - reach
        cluster["s0"].commit(3, "neo4j")
        (third,) = commit(container, a_run("r3", second)).artifacts
        assert (third.full, third.lowest_tx) == (False, second.artifacts[0].highest_tx + 1)


def test_a_new_chain_begins_where_the_old_one_ends_for_good(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2026.07.1") as cluster:
        first = commit(container, a_run("r1"))
        chain = container.places.backups / ".chains" / CHAIN / "neo4j"
        shutil.rmtree(chain)
        second = commit(container, a_run("r2", first))
        assert "not kept on this server" in second.artifacts[0].why_full
        list_ = chain / "chain.json"
        list_.write_text(list_.read_text().replace("2026.07.1", "2026.06.0"))
        third = commit(container, a_run("r3", second))
        assert "Neo4j was changed from 2026.06.0 to 2026.07.1" in third.artifacts[0].why_full
        cluster["s0"].run("DROP DATABASE neo4j")
        cluster["s0"].run("CREATE DATABASE neo4j WAIT")
        fourth = commit(container, a_run("r4", third))
        assert "the database id changed" in fourth.artifacts[0].why_full
        assert kept(container) == [fourth.artifacts[0].file]


def test_where_the_logs_are_gone_auto_takes_a_full_and_warns(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ({"name": "system", "type": "system", "hosts": PRIMARY}, {**DATABASES[1], "retainTx": 5})
    with a_server(container, monkeypatch, "5.26.3", short) as cluster:
        first = commit(container, a_run("r1"))
        cluster["s0"].commit(10, "neo4j")
        status = commit(container, a_run("r2", first))
        assert status.artifacts[0].full
        assert "raise db.tx_log.rotation.retention_policy" in status.artifacts[0].why_full
        assert any("retention_policy" in warning for warning in status.warnings)


def test_a_chain_that_was_damaged_on_disk_costs_one_full_and_no_backup(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3") as cluster:
        first = commit(container, a_run("r1"))
        path = container.places.backups / ".chains" / CHAIN / "neo4j" / first.artifacts[0].file
        path.write_bytes(b"x" * path.stat().st_size)
        cluster["s0"].commit(3, "neo4j")
        (second,) = commit(container, a_run("r2", first)).artifacts
        assert second.full
        assert kept(container) == [second.file]


def test_a_diff_refuses_only_the_database_without_a_parent_and_says_what_to_do(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3") as cluster:
        first = commit(container, a_run("r1"))
        cluster["s0"].commit(3, "neo4j")
        status = container.dump(a_run("r2", first, "DIFF", ("neo4j", "system")))
    assert status.state is RunState.FAILED
    assert [(one.database, one.full) for one in status.artifacts] == [("neo4j", False)]
    (failure,) = status.failures
    assert failure.database == "system"
    assert "set options.backupType to AUTO or FULL" in failure.reason


def test_an_agent_keeps_no_chain_that_goes_on_elsewhere(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        commit(container, a_run("r1", databases=("neo4j", "system")))
        release(container, "r2", chain=CHAIN, open=("neo4j",))
        assert kept(container, "neo4j")
        assert not kept(container, "system")
        release(container, "r3", chain=CHAIN)
        assert not (container.places.backups / ".chains" / CHAIN).exists()


def test_a_shard_of_properties_gets_full_backups_only(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a sharded property database calls its shards; the simulator has none, and refuses the name."""
    with a_server(container, monkeypatch, "2026.07.1"):
        status = container.dump(BackupRequest(run_id="r1", type="DIFF", databases=("shop-p000",)))
    assert "not found or not running" in status.error, "a FULL was tried: a DIFF fails for its parent"
