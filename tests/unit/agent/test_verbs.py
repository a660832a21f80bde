"""The verbs that the runner calls through exec, as processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import msgspec
import pytest

from controller.agent import follow, main
from controller.wire.messages import (
    Accepted,
    AgentProgress,
    AgentStatus,
    BackupRequest,
    RunState,
    encode,
)
from tests.unit.agent.conftest import Container, until

REQUEST = BackupRequest(run_id="r1", databases=("neo4j", "system"))


def lines(output: bytes) -> list[bytes]:
    return output.splitlines()


def test_submit_answers_what_arrived_and_is_idempotent(container: Container) -> None:
    line = encode(REQUEST)
    for _ in range(2):
        done = container.verb("submit", stdin=line + b"\n")
        assert done.returncode == 0
        accepted = msgspec.json.decode(done.stdout, type=Accepted)
        assert accepted == Accepted(
            run_id="r1", state=RunState.QUEUED, sha256=hashlib.sha256(line).hexdigest()
        )
    assert container.journal.request("r1") == REQUEST
    container.journal.write_status(AgentStatus(run_id="r1", state=RunState.FAILED))
    again = msgspec.json.decode(container.verb("submit", stdin=line).stdout, type=Accepted)
    assert again.state is RunState.FAILED


def test_submit_answers_while_standard_input_stays_open(container: Container) -> None:
    process = container.start("submit")
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(encode(REQUEST) + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["runId"] == "r1"
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"runId":""}',
        b'{"runId":"../x"}',
        b'{"runId":"manual-1"}',
        b'{"runId":"backup"}',
        b'{"runId":"a/b"}',
        b"\xff",
    ],
)
def test_submit_refuses_what_is_no_request(container: Container, line: bytes) -> None:
    done = container.verb("submit", stdin=line + b"\n")
    assert done.returncode == 64
    assert done.stdout == b""
    assert done.stderr
    assert list((container.root / "backup-requests").iterdir()) == []


def test_follow_shows_progress_and_ends_with_the_status(container: Container) -> None:
    container.tell(seconds=0.3)
    container.journal.add(REQUEST)
    follower = container.start("follow", "r1")
    assert follower.stdout is not None
    first = msgspec.json.decode(follower.stdout.readline(), type=AgentProgress)
    assert first.state is RunState.QUEUED
    container.start("run")
    output, _ = follower.communicate(timeout=20)
    *progress, last = lines(output)
    status = msgspec.json.decode(last, type=AgentStatus)
    assert status.state is RunState.SUCCEEDED
    assert len(status.artifacts) == 2
    running = [msgspec.json.decode(line, type=AgentProgress) for line in progress]
    assert max(line.databases_total for line in running) == 2
    assert max(line.bytes_staged for line in running) > 0
    assert {line.database for line in running} >= {"neo4j"}


def test_follow_of_an_unknown_run_ends_at_once(container: Container) -> None:
    for run_id in ("nobody", "../etc"):
        done = container.verb("follow", run_id)
        assert done.returncode == 66
        status = msgspec.json.decode(done.stdout, type=AgentStatus)
        assert status.state is RunState.FAILED
        assert "knows no such run" in status.error


def test_follow_gives_up_when_no_daemon_comes(
    container: Container, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(follow, "ABSENCE_SECONDS", 0.0)
    container.journal.add(REQUEST)
    assert follow.follow("r1") == 0
    status = msgspec.json.decode(lines(capfdbinary.readouterr().out)[-1], type=AgentStatus)
    assert status.error == "no agent is running in this sidecar"


def test_follow_says_something_while_nothing_changes(
    container: Container, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(follow, "ABSENCE_SECONDS", 0.3)
    monkeypatch.setattr(follow, "SILENCE_SECONDS", 0.0)
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.05)
    container.journal.add(REQUEST)
    follow.follow("r1")
    assert len(lines(capfdbinary.readouterr().out)) > 3


def test_status_shows_one_run_or_all(container: Container) -> None:
    container.journal.add(REQUEST)
    container.journal.write_status(AgentStatus(run_id="r0", state=RunState.SUCCEEDED))
    shown = [json.loads(line) for line in lines(container.verb("status").stdout)]
    assert [(line["runId"], line["state"]) for line in shown] == [("r0", "Succeeded"), ("r1", "Queued")]
    (one,) = lines(container.verb("status", "nobody").stdout)
    assert json.loads(one)["state"] == "Failed"


@pytest.fixture
def staged(container: Container) -> tuple[Container, Path]:
    status = container.dump(REQUEST)
    return container, container.root / status.path[1:] / status.artifacts[0].file


def test_fetch_writes_the_bytes_from_the_offset(staged: tuple[Container, Path]) -> None:
    container, artifact = staged
    whole = artifact.read_bytes()
    assert container.verb("fetch", "r1", artifact.name, "0").stdout == whole
    assert container.verb("fetch", "r1", artifact.name, "1234").stdout == whole[1234:]
    assert container.verb("fetch", "r1", artifact.name, str(len(whole))).stdout == b""


def test_fetch_reads_nothing_but_artifacts(staged: tuple[Container, Path]) -> None:
    container, artifact = staged
    (artifact.parent / "other").touch()
    for run_id, file in (
        ("r1", "other"),
        ("r1", "../../../../../etc/passwd"),
        ("r2", artifact.name),
        ("..", "x"),
    ):
        done = container.verb("fetch", run_id, file, "0")
        assert (done.returncode, done.stdout) == (66, b"")
    assert container.verb("fetch", "r1", artifact.name, "-1").returncode == 64


def test_release_removes_everything_and_can_be_repeated(staged: tuple[Container, Path]) -> None:
    container, artifact = staged
    for _ in range(2):
        assert container.verb("release", "r1").returncode == 0
        assert not artifact.exists()
        assert container.journal.known() == set()
    assert container.verb("release", "../x").returncode == 64


def test_release_does_not_pull_the_rug_from_a_dump(container: Container) -> None:
    container.journal.add(REQUEST)
    container.journal.write_progress(AgentProgress(run_id="r1", state=RunState.RUNNING))
    assert container.verb("release", "r1").returncode == 1
    assert container.journal.state("r1") is RunState.RUNNING


def test_fetching_keeps_artifacts_from_being_swept(staged: tuple[Container, Path]) -> None:
    container, artifact = staged
    status_file = container.root / "backup-requests/r1.status"
    os.utime(status_file, (1_000_000, 1_000_000))
    container.verb("fetch", "r1", artifact.name, "0")
    until(lambda: status_file.stat().st_mtime > 2_000_000)


def test_install_copies_the_bundle_and_can_be_repeated(container: Container) -> None:
    source = container.root / "opt/agent-bundle"
    assert container.verb("install").returncode == 1
    (source / "lib").mkdir(parents=True)
    (source / "lib/ld.so").write_text("loader")
    (source / "lib/ld.so").chmod(0o755)
    (source / "lib/ld-linux.so").symlink_to("ld.so")
    for target in ("opt/neo4j-backup-agent", "elsewhere"):
        for _ in range(2):
            assert (
                container.verb("install", *([f"/{target}"] if target == "elsewhere" else [])).returncode == 0
            )
        assert os.access(container.root / target / "lib/ld.so", os.X_OK)
        assert (container.root / target / "lib/ld-linux.so").readlink() == Path("ld.so")


@pytest.mark.parametrize("argv", [[], ["fly"], ["follow"], ["fetch", "r1"], ["run", "now"], ["submit", "x"]])
def test_wrong_usage_is_64(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(argv) == 64
    assert "usage: agent run" in capsys.readouterr().err


def test_help_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["--help"]) == 0
    assert "agent topology" in capsys.readouterr().out
