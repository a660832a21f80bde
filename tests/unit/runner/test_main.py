"""The program itself, as a process: exit codes, termination message, signals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from controller.wire.messages import RunResult, RunSpec, Server, StorageTarget, encode

CHECKOUT = Path(__file__).resolve().parents[3]


def run(root: Path, **env: str) -> tuple[int, str]:
    for directory in ("dev", "backup"):
        (root / directory).mkdir()
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "BACKUP_", "AWS_"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "controller", "runner"],
        env=clean | {"CONTAINER_ROOT": str(root), "HOME": str(root)} | env,
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def spec(storage: StorageTarget) -> str:
    return encode(
        RunSpec(
            namespace="ns",
            backup="nightly",
            backup_uid="uid",
            generation=1,
            deployment="graph",
            servers=(Server(pod="graph-0", namespace="ns"),),
            storage=storage,
        )
    ).decode()


def message(root: Path) -> RunResult:
    return msgspec.json.decode((root / "dev/termination-log").read_bytes(), type=RunResult)


@pytest.mark.parametrize("env", [{}, {"BACKUP_RUN": "{}"}, {"BACKUP_RUN": "not json", "BACKUP_RUN_ID": "r"}])
def test_a_specification_that_is_none_ends_with_64(tmp_path: Path, env: dict[str, str]) -> None:
    code, _ = run(tmp_path, **env)
    assert code == 64
    assert message(tmp_path).error_reason == "BadRunSpec"


def test_a_run_id_is_needed(tmp_path: Path) -> None:
    code, _ = run(tmp_path, BACKUP_RUN=spec(StorageTarget(type="pvc")))
    assert code == 64
    assert "BACKUP_RUN_ID" in message(tmp_path).error


def test_a_store_that_is_unknown_is_reported_twice_the_same(tmp_path: Path) -> None:
    code, log = run(tmp_path, BACKUP_RUN=spec(StorageTarget(type="gcs", bucket="b")), BACKUP_RUN_ID="r")
    assert code == 1
    assert message(tmp_path).error_reason == "UnsupportedStorage"
    last = log.splitlines()[-1].partition(" result ")[2]
    assert json.loads(last) == json.loads((tmp_path / "dev/termination-log").read_text())


def test_a_pod_without_its_api_server_says_so(tmp_path: Path) -> None:
    code, _ = run(tmp_path, BACKUP_RUN=spec(StorageTarget(type="pvc")), BACKUP_RUN_ID="r")
    assert code == 1
    assert message(tmp_path).error_reason == "KubernetesUnreachable"
