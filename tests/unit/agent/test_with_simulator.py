"""The agent against the simulated Neo4j, which is as strict as the real one is documented to be."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest

from controller.agent.topology import look
from controller.wire.messages import AgentStatus, BackupRequest, RunState, encode
from hack.devcluster.neo4j_sim.image import install
from hack.devcluster.neo4j_sim.protocol import Json
from tests.unit.agent.conftest import Container, until
from tests.unit.neo4j_sim.support import Cluster, running

PRIMARY = {"s0": "primary"}
DATABASES = (
    {"name": "system", "type": "system", "hosts": PRIMARY},
    {"name": "neo4j", "hosts": PRIMARY},
    {"name": "my-shop.v2", "hosts": PRIMARY},
)


@contextmanager
def a_server(
    container: Container, monkeypatch: pytest.MonkeyPatch, version: str, databases: Sequence[Json] = DATABASES
) -> Iterator[Cluster]:
    """A standalone server, and its image's programs beside it."""
    shutil.rmtree(container.root / "var")
    install(container.root, version)
    with running(container.root / "servers", databases, version=version) as cluster:
        monkeypatch.setenv("NEO4J_AUTH", "neo4j/neo4j")
        container.env.update(os.environ)
        yield cluster


@pytest.mark.parametrize("version", ["5.26.3", "2025.06.1", "2026.07.1"])
def test_a_backup_from_submit_to_release(
    container: Container, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    with a_server(container, monkeypatch, version):
        container.start("run")
        request = BackupRequest(
            run_id="r1",
            type="FULL",
            databases=("system", "neo4j", "my-shop.v2"),
            page_cache="2Gi",
            additional_args=("--temp-path=/tmp/backup", "--parallel-recovery", "--verbose"),
        )
        assert container.verb("submit", stdin=encode(request) + b"\n").returncode == 0
        last = container.verb("follow", "r1").stdout.splitlines()[-1]
        status = msgspec.json.decode(last, type=AgentStatus)
        assert status.error == ""
        assert status.state is RunState.SUCCEEDED
        assert status.neo4j_version == version
        assert sorted(artifact.database for artifact in status.artifacts) == ["my-shop.v2", "neo4j", "system"]
        for artifact in status.artifacts:
            assert artifact.full
            assert artifact.highest_tx > 0
            assert artifact.recovered is (None if version.startswith("5.") else True)
            fetched = container.verb("fetch", "r1", artifact.file, "0").stdout
            assert len(fetched) == artifact.size
        assert container.verb("release", "r1").returncode == 0
        assert list(container.places.staging.iterdir()) == []
        assert list((container.root / "tmp/backup").iterdir()) == []


def test_the_documented_request_takes_every_database(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        container.start("run")
        requests = container.root / "backup-requests"
        (requests / "backup.request").write_text('{"path":"/data/backups/test","type":"FULL"}\n')
        until((requests / "backup.status").exists)
        until(lambda: b"Succeeded" in (requests / "backup.status").read_bytes())
        assert len(list((container.root / "data/backups/test").glob("*.backup"))) == 3


def test_a_differential_backup_without_its_parent_fails_in_neo4js_words(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(BackupRequest(run_id="r1", type="DIFF", databases=("neo4j",)))
    assert status.state is RunState.FAILED
    assert "Differential backups require that a full backup" in status.error


def test_a_database_that_is_not_there_is_named(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        status = container.dump(BackupRequest(run_id="r1", databases=("neo4j", "gone")))
    assert status.state is RunState.FAILED
    assert [failure.database for failure in status.failures] == ["gone"]
    assert "not found or not running" in status.error
    assert [artifact.database for artifact in status.artifacts] == ["neo4j"]


def test_a_server_that_is_down_fails_every_database(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3") as cluster:
        cluster.stop("s0")
        status = container.dump(BackupRequest(run_id="r1", databases=("neo4j", "system")))
    assert status.state is RunState.FAILED
    assert {failure.database for failure in status.failures} == {"neo4j", "system"}
    assert status.exit_code == 1


def test_topology_shows_every_database_or_why_not(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "2025.11.0") as cluster:
        address = f"{cluster.address('s0')}:7687"
        wrong = look(dict(os.environ) | {"NEO4J_AUTH": "neo4j/wrong-one"})
        assert "unauthorized" in wrong.error
        answer = look(os.environ)
    assert answer.error == ""
    assert (answer.neo4j_version, answer.server_address) == ("2025.11.0", address)
    assert {(row.name, row.role, row.current_status) for row in answer.databases} == {
        ("system", "primary", "online"),
        ("neo4j", "primary", "online"),
        ("my-shop.v2", "primary", "online"),
    }
    assert all(row.writer and row.last_committed_tx for row in answer.databases)
