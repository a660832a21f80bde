"""Open chains on a sidecar, with the simulated Neo4j: what is continued, what is not, and why."""

from __future__ import annotations

import shutil

import pytest

from controller.agent.submit import release
from controller.wire.messages import AgentStatus, BackupRequest, BackupType, ChainParent, RunState
from tests.unit.agent.conftest import Container
from tests.unit.agent.test_with_simulator import a_server

UID = "0f4d2c3b-1111-2222-3333-444444444444"


def a_run(run_id: str, parent: AgentStatus | None = None, type_: BackupType = "AUTO") -> BackupRequest:
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
        run_id=run_id, type=type_, databases=("neo4j",), chain=UID, parents=parents, max_chain_length=3
    )


def commit(container: Container, request: BackupRequest) -> AgentStatus:
    status = container.dump(request)
    assert status.state is RunState.SUCCEEDED, status.error
    assert status.warnings == ()
    assert release(request.run_id, [one.file for one in status.artifacts]) == 0
    return status


def test_auto_continues_what_was_committed_until_the_chain_is_long_enough(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2026.07.1") as cluster:
        first = commit(container, a_run("r1"))
        assert first.artifacts[0].full
        assert "no backup that it could continue" in first.artifacts[0].why_full
        cluster["s0"].commit(3, "neo4j")
        second = container.dump(a_run("r2", first))
        assert not second.artifacts[0].full
        assert release("r2") == 0  # never committed: it must not be a parent
        third = commit(container, a_run("r3", first))
        assert not third.artifacts[0].full
        chain = container.root / "data/backups/.chains" / UID / "neo4j"
        assert len(list(chain.glob("*.backup"))) == 2
        shutil.rmtree(chain)
        lost = commit(container, a_run("r4", first))
        assert lost.artifacts[0].full
        assert "not kept on this server" in lost.artifacts[0].why_full


def test_a_diff_without_its_parent_says_what_to_do(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(a_run("r1", type_="DIFF"))
    assert status.state is RunState.FAILED
    assert "set options.backupType to AUTO or FULL" in status.error
