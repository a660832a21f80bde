"""The program itself: exit codes, termination message, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest

from controller.runner.main import run_program
from controller.wire.messages import Outcome, RunResult, RunSpec, Server, StorageTarget, encode

CHECKOUT = Path(__file__).resolve().parents[3]
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: c, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
users: [{{name: u, user: {{token: t}}}}]
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pod's file system, and nothing of this machine's Kubernetes."""
    for directory in ("dev", "backup"):
        (tmp_path / directory).mkdir()
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def spec(storage: StorageTarget) -> str:
    run = RunSpec(
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=1,
        deployment="graph",
        servers=(Server(pod="graph-0", namespace="ns"),),
        storage=storage,
    )
    return encode(run).decode()


S3_KEYS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
VOLUME = spec(StorageTarget(type="pvc"))


def message(root: Path) -> RunResult:
    return msgspec.json.decode((root / "dev/termination-log").read_bytes(), type=RunResult)


def start(**env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "controller", "runner"],
        env=dict(os.environ) | env,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"BACKUP_RUN": "{}", "BACKUP_RUN_ID": "r"},
        {"BACKUP_RUN": "not json", "BACKUP_RUN_ID": "r"},
        {"BACKUP_RUN": VOLUME},
    ],
)
def test_a_specification_that_is_none_ends_with_64(root: Path, env: Mapping[str, str]) -> None:
    assert run_program(env) == 64
    assert message(root).error_reason == "BadRunSpec"


def test_a_pod_without_its_api_server_says_so(root: Path) -> None:
    assert run_program({"BACKUP_RUN": VOLUME, "BACKUP_RUN_ID": "r"}) == 1
    assert message(root).error_reason == "KubernetesUnreachable"


def test_the_process_ends_with_the_result_as_its_last_word(root: Path) -> None:
    unknown = spec(StorageTarget(type="gcs"))
    with start(BACKUP_RUN=unknown, BACKUP_RUN_ID="r") as process:
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert message(root).error_reason == "UnsupportedStorage"
    last = out.splitlines()[-1].partition(" result ")[2]
    assert json.loads(last) == json.loads((root / "dev/termination-log").read_text())


def test_a_pod_that_is_told_to_stop_says_so_and_ends(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        kubeconfig = root / "config"
        kubeconfig.write_text(KUBECONFIG.format(port=silent.getsockname()[1]))
        with start(BACKUP_RUN=VOLUME, BACKUP_RUN_ID="r", KUBECONFIG=str(kubeconfig)) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
            connection.close()
    assert process.returncode == 1
    assert (message(root).outcome, message(root).error_reason) == (Outcome.FAILED, "Interrupted")
    assert (root / "backup/ns/nightly/repository.json").exists()


def test_a_pod_whose_store_says_nothing_ends_all_the_same(root: Path) -> None:
    keys = root / "etc/neo4j-backup/storage-credentials"
    keys.mkdir(parents=True)
    for name, value in S3_KEYS.items():
        (keys / name).write_text(value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        (root / "config").write_text(KUBECONFIG.format(port=port))
        bucket = spec(StorageTarget(type="s3", bucket="b", endpoint=f"http://127.0.0.1:{port}"))
        with start(BACKUP_RUN=bucket, BACKUP_RUN_ID="r", KUBECONFIG=str(root / "config")) as process:
            connection, _ = silent.accept()
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
            connection.close()
    assert process.returncode == 1
    assert message(root).error_reason == "Interrupted"
