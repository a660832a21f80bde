"""Verification next to the data, with the simulated Neo4j's own tools."""

from __future__ import annotations

import json

import msgspec
import pytest

from controller.agent import dump, space
from controller.neo4j.quantity import GIB
from controller.wire.messages import AgentStatus, BackupRequest, RunState
from tests.unit.agent.conftest import Container
from tests.unit.agent.test_chains import a_run, kept, release
from tests.unit.agent.test_with_simulator import a_server

VERSIONS = ["5.26.3", "2025.06.1", "2026.02.0"]


def checked(request: BackupRequest, **more: object) -> BackupRequest:
    return msgspec.structs.replace(request, verify=True, **more)


def verified(container: Container, request: BackupRequest) -> AgentStatus:
    status = container.dump(request)
    assert (status.state, status.error, status.warnings) == (RunState.SUCCEEDED, "", ())
    assert {one.checked for one in status.artifacts} == {"Consistency"}
    release(container, request.run_id, status)
    return status


@pytest.mark.parametrize("version", VERSIONS)
def test_a_full_and_its_differentials_are_checked_and_left_alone(
    container: Container, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", '{"diff_overlap": 2}')
    with a_server(container, monkeypatch, version) as cluster:
        first = verified(container, checked(a_run("r1", databases=("neo4j", "system"))))
        cluster["s0"].commit(3, "neo4j")
        second = verified(container, checked(a_run("r2", first, databases=("neo4j", "system"))))
        assert [one.full for one in second.artifacts] == [False, False]
        assert second.artifacts[1].highest_tx == 0, "system has nothing new"
        assert kept(container) == [first.artifacts[0].file, second.artifacts[0].file]
        assert container.places.staging.exists()
        assert list(container.places.staging.iterdir()) == []


def test_an_artifact_that_was_not_recovered_is_recovered_in_a_copy_to_be_checked(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2026.02.0"):
        status = verified(container, checked(a_run("r1"), additional_args=("--skip-recovery",)))
    assert status.artifacts[0].recovered is False


def test_a_damaged_artifact_is_no_backup(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", '{"corrupt_artifact": true}')
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(checked(a_run("r1")))
    assert (status.state, status.artifacts) == (RunState.FAILED, ())
    (failure,) = status.failures
    assert failure.unsound
    assert failure.reason.startswith("verification failed: ")
    assert "\n" not in status.error


def test_what_the_check_finds_is_in_the_reason_and_the_chain_is_given_up(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3") as cluster:
        first = verified(container, checked(a_run("r1")))
        cluster["s0"].commit(3, "neo4j")
        found = {"db": "neo4j", "message": "ERROR: relationship 7 points to a node that is not in use"}
        monkeypatch.setenv("NEO4J_SIM_FAULTS", json.dumps({"check": found}))
        status = container.dump(checked(a_run("r2", first)))
        assert "relationship 7 points to a node that is not in use" in status.error
        assert kept(container) == []
        monkeypatch.delenv("NEO4J_SIM_FAULTS")
        release(container, "r2")
        assert verified(container, checked(a_run("r3", first))).artifacts[0].full


@pytest.mark.parametrize(
    "fault",
    [
        {"message": "java.io.IOException: No space left on device"},
        {"message": "java.lang.OutOfMemoryError: Java heap space"},
        {"message": "terminated", "exit": 143},
    ],
)
def test_a_check_that_was_not_possible_is_no_failure_but_told(
    container: Container, monkeypatch: pytest.MonkeyPatch, fault: dict[str, object]
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", json.dumps({"check": {"db": "*", "report": False, **fault}}))
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(checked(a_run("r1")))
    assert status.state is RunState.SUCCEEDED
    assert [one.checked for one in status.artifacts] == ["Chain"]
    (warning,) = status.warnings
    assert "neo4j: the consistency check was not possible" in warning


def test_a_check_that_fails_for_no_known_reason_is_believed(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = {"db": "*", "report": False, "message": "cannot open the store"}
    monkeypatch.setenv("NEO4J_SIM_FAULTS", json.dumps({"check": fault}))
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(checked(a_run("r1")))
    assert status.state is RunState.FAILED
    assert "cannot open the store" in status.error


def test_too_little_room_for_a_check_is_known_before_it_starts(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(space, "lack", lambda *_: "not enough disk space: 1 free, 2 needed")
    monkeypatch.setattr(space, "check", lambda *_: None)
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(checked(a_run("r1")))
    assert [one.checked for one in status.artifacts] == ["Chain"]
    assert "not enough disk space" in status.warnings[0]


def test_a_check_keeps_inside_the_containers_memory(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator kills what takes more than the limit, and Neo4j's own default is nearly all of it."""
    limit = container.root / "memory.max"
    limit.write_text(str(GIB))
    monkeypatch.setenv("NEO4J_SIM_MEMORY_LIMIT_FILE", str(limit))
    monkeypatch.setattr(dump, "memory_limit", lambda: GIB)
    with a_server(container, monkeypatch, "5.26.3") as cluster:
        first = verified(container, checked(a_run("r1")))
        cluster["s0"].commit(3, "neo4j")
        verified(container, checked(a_run("r2", first)))


def test_nothing_is_checked_that_nobody_asked_for(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", json.dumps({"check": {"db": "*", "message": "inconsistent"}}))
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(a_run("r1"))
    assert [one.checked for one in status.artifacts] == [""]
