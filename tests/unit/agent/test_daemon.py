"""The daemon: order, hand-written requests, being stopped, being killed, and what it clears up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from controller.agent import daemon as daemon_module
from controller.agent import handwritten
from controller.agent.daemon import Daemon
from controller.agent.lock import JVM_LOCK, is_held
from controller.wire.messages import AgentStatus, Artifact, BackupRequest, RunState
from tests.unit.agent.conftest import Container, until


def a_run(run_id: str, **fields: object) -> BackupRequest:
    return BackupRequest(**({"run_id": run_id, "databases": ("neo4j",)} | fields))  # type: ignore[arg-type]


def public_status(container: Container) -> dict[str, object]:
    content: dict[str, object] = json.loads((container.root / "backup-requests/backup.status").read_text())
    return content


def by_hand(container: Container, text: str) -> None:
    (container.root / "backup-requests/backup.request").write_text(text)


def work(container: Container) -> Daemon:
    daemon = Daemon(container.places)
    daemon.recover()
    while daemon.step():
        pass
    return daemon


def test_requests_are_taken_in_order_of_arrival(container: Container) -> None:
    for age, run_id in ((1, "b"), (3, "c"), (2, "a")):
        container.journal.add(a_run(run_id, databases=(f"db-{run_id}",)))
        path = container.root / f"backup-requests/{run_id}.request"
        os.utime(path, (1_000_000 - age, 1_000_000 - age))
    assert container.journal.waiting() == ["c", "a", "b"]
    work(container)
    assert [argv[-1] for argv in container.backups()] == ["db-c", "db-a", "db-b"]
    assert container.journal.waiting() == []


def test_the_documented_request_by_hand(container: Container) -> None:
    by_hand(container, '{"path":"/data/backups/backup-20250721-151209","type":"FULL","database":"neo4j"}\n')
    work(container)
    status = public_status(container)
    assert (status["state"], status["exitCode"]) == ("Succeeded", 0)
    assert status["path"] == "/data/backups/backup-20250721-151209"
    (artifact,) = (container.root / "data/backups/backup-20250721-151209").iterdir()
    assert artifact.name == "neo4j-2026-01-01T00-00-00.backup"
    assert not (container.root / "backup-requests/backup.request").exists()
    # the documented file is not taken a second time
    work(container)
    assert len(container.backups()) == 1


def test_without_a_database_every_one_is_dumped(container: Container) -> None:
    by_hand(container, '{"path":"/data/backups/test","type":"full"}')
    work(container)
    assert container.backups()[0][-1] == "*"
    assert public_status(container)["state"] == "Succeeded"
    assert len(list((container.root / "data/backups/test").iterdir())) == 2


def test_without_a_path_a_dated_one_is_made(container: Container) -> None:
    by_hand(container, "{}")
    work(container)
    assert str(public_status(container)["path"]).startswith("/data/backups/backup-20")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"type":"SOME"}', "Invalid enum value 'SOME'"),
        ('{"path":"/data/backups/../x"}', "write a directory below /data/backups"),
        ('{"path":"/data/backups"}', "write a directory below /data/backups"),
        ('{"path":"/data/backups/.staging/x"}', "write a directory below /data/backups"),
        ('{"database":"a;b"}', "no database name"),
        ("[1]", "no request"),
    ],
)
def test_bad_requests_by_hand_fail_with_what_to_write(container: Container, text: str, told: str) -> None:
    by_hand(container, text)
    old = datetime.now(UTC).timestamp() - 10
    os.utime(container.root / "backup-requests/backup.request", (old, old))
    work(container)
    status = public_status(container)
    assert status["state"] == "Failed"
    assert told in str(status["error"])
    assert container.backups() == []


def test_half_a_request_is_waited_for_and_then_refused(container: Container) -> None:
    by_hand(container, '{"path":"/data/bac')
    now = datetime.now(UTC)
    assert handwritten.take(container.journal, now) == ""
    assert not Daemon(container.places).step()
    assert container.journal.known() == set()
    assert (container.root / "backup-requests/backup.request").exists()
    assert handwritten.take(container.journal, now + timedelta(seconds=2)) == ""
    assert not (container.root / "backup-requests/backup.request").exists()
    status = public_status(container)
    assert status["state"] == "Failed"
    assert 'write for example {"path":"/data/backups/today"' in str(status["error"])


def test_the_public_status_can_be_read_before_any_request(container: Container) -> None:
    Daemon(container.places).recover()
    assert public_status(container) == {"runId": "", "state": "Idle"}


def test_runs_of_the_runner_leave_the_public_status_alone(container: Container) -> None:
    container.journal.add(a_run("r1"))
    work(container)
    assert public_status(container)["state"] == "Idle"


def test_a_damaged_request_file_fails_its_run_only(container: Container) -> None:
    (container.root / "backup-requests/r0.request").write_text("{")
    container.journal.add(a_run("r1"))
    work(container)
    damaged, good = container.journal.status("r0"), container.journal.status("r1")
    assert damaged is not None
    assert damaged.state is RunState.FAILED
    assert good is not None
    assert good.state is RunState.SUCCEEDED


def test_sigterm_ends_the_dump_and_says_so(container: Container) -> None:
    container.tell(seconds=60)
    daemon = container.start("run")
    container.journal.add(a_run("r1"))
    until(container.backups)
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(15) == 0
    status = container.journal.status("r1")
    assert status is not None
    assert status.state is RunState.FAILED
    assert "asked to stop (SIGTERM)" in status.error
    assert not is_held(container.root / "backup-requests" / JVM_LOCK)
    assert list(container.places.staging.iterdir()) == []


def test_a_killed_daemon_is_followed_by_one_that_clears_up(container: Container) -> None:
    container.tell(seconds=60)
    daemon = container.start("run")
    by_hand(container, '{"path":"/data/backups/x","type":"FULL"}')
    until(container.journal.known)
    container.journal.add(a_run("later"))
    until(container.backups)
    assert public_status(container)["state"] == "Running"
    daemon.kill()
    daemon.wait()
    lock = container.root / "backup-requests" / JVM_LOCK
    assert is_held(lock)
    container.tell()
    work(container)
    assert not is_held(lock)
    assert "the agent was restarted" in str(public_status(container)["error"])
    later = container.journal.status("later")
    assert later is not None
    assert later.state is RunState.SUCCEEDED


def test_only_one_daemon_works_in_a_directory(container: Container) -> None:
    first = container.start("run")
    until(lambda: is_held(container.root / "backup-requests/.agent.lock"))
    second = container.verb("run")
    assert second.returncode == 1
    assert b"another agent works" in second.stdout
    assert first.poll() is None


def test_unknown_staging_is_swept_and_known_staging_stays(container: Container) -> None:
    container.journal.add(a_run("r1"))
    work(container)
    (container.places.staging / "stranger/artifacts").mkdir(parents=True)
    (container.root / "backup-requests/.r9.request.1-2").touch()
    work(container)
    assert [path.name for path in container.places.staging.iterdir()] == ["r1"]
    assert not (container.root / "backup-requests/.r9.request.1-2").exists()


def test_artifacts_that_nobody_fetches_are_removed_in_the_end(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    container.journal.add(a_run("r1"))
    work(container)
    monkeypatch.setattr(daemon_module, "UNCLAIMED_SECONDS", -1.0)
    work(container)
    assert list(container.places.staging.iterdir()) == []
    assert container.journal.status("r1") is not None
    monkeypatch.setattr(daemon_module, "FORGET_SECONDS", -1.0)
    work(container)
    assert container.journal.known() == set()


def test_a_request_directory_that_cannot_be_used_does_not_kill_the_daemon(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_module, "RETRY_SECONDS", 0.0)
    (container.root / "backup-requests/backup.request").mkdir()
    daemon = Daemon(container.places)
    said: list[str] = []
    monkeypatch.setattr(daemon_module, "say", said.append)
    assert not daemon._step_safely()
    assert "cannot work in" in said[0]


def test_a_run_is_accepted_once_and_is_found_by_its_state(container: Container) -> None:
    journal = container.journal
    assert journal.add(a_run("r1"))
    assert not journal.add(a_run("r1", databases=("other",)))
    assert journal.state("r1") is RunState.QUEUED
    kept = journal.request("r1")
    assert kept is not None
    assert kept.databases == ("neo4j",)
    assert journal.state("r2") is None
    artifact = Artifact(database="a", file="f", size=1)
    journal.write_status(AgentStatus(run_id="r1", state=RunState.SUCCEEDED, artifacts=(artifact,)))
    assert journal.state("r1") is RunState.SUCCEEDED
    journal.forget("r1")
    assert journal.state("r1") is None
    assert [path for path in journal.directory.iterdir() if path.name.startswith(".r1")] == []


def test_orphans_are_reaped_by_process_one(tmp_path: Path) -> None:
    child = subprocess.Popen(["true"])
    until(lambda: Path(f"/proc/{child.pid}/stat").read_text().split()[2] == "Z")
    daemon_module.reap_orphans()
    assert not Path(f"/proc/{child.pid}").exists()
    child.wait()
