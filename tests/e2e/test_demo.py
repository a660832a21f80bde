"""The promise: ``hack/demo`` shows the main job from nothing, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from hack import kubectl
from tests.e2e.world import eventually

COMMAND = [sys.executable, "-m", "hack.devcluster.demo"]
CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _embedded_only(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--control-plane") != "embedded":
        pytest.skip("the demo brings the embedded control plane along")


def test_it_backs_up_restores_and_writes_what_happened(tmp_path: Path) -> None:
    report = tmp_path / "demo.json"
    shown = subprocess.run(
        [*COMMAND, "--dir", str(tmp_path / "d"), "--json", str(report)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    outcome = json.loads(report.read_text())
    assert outcome["phase"] == "Completed"
    sources = {item["database"]: item["role"] for item in outcome["artifacts"]}
    assert sources == {
        "system": "primary",
        "neo4j": "secondary",
        "orders": "secondary",
        "customers": "secondary",
    }
    assert all(len(item["sha256"]) == 64 for item in outcome["artifacts"])
    assert outcome["restore"]["same"] is True
    assert "dumping" in shown.stdout


def test_keep_leaves_it_up_for_the_commands_that_it_prints(tmp_path: Path) -> None:
    command = [*COMMAND, "--keep", "--dir", str(tmp_path / "d")]
    # Into a pipe, and without what makes every print go out at once: as `hack/demo --keep | tee` does.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    demo = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, env=env)
    try:
        assert demo.stdout is not None
        _read_until(demo.stdout, "The control plane stays up")
        printed = _read_until(demo.stdout, "kubectl annotate")
        typed = [line.partition(" && ")[0] for line in printed if line.startswith("kubectl ")]
        assert len(typed) == 3
        (export,) = (line for line in printed if line.startswith("export KUBECONFIG="))
        for line in typed:
            script = f"{export}; {line.replace('kubectl', kubectl.find(), 1)}"
            answer = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=False)
            assert answer.returncode == 0, answer.stderr
            assert "production-backup" in answer.stdout
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 130
    finally:
        demo.kill()
        demo.communicate()


def test_ctrl_c_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = subprocess.Popen([*COMMAND, "--dir", str(tmp_path / "d")], cwd=CHECKOUT, stdout=subprocess.PIPE)
    try:
        eventually(lambda: len(_descendants(demo.pid)) > 5, "containers run")
        started = _descendants(demo.pid)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(timeout=60) == 130
    finally:
        demo.kill()
        demo.communicate()
    assert started & set(_processes()) == set()
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def _read_until(output: IO[str], words: str) -> list[str]:
    """The lines up to the one with ``words``."""
    lines: list[str] = []
    for line in output:
        lines.append(line.strip())
        if words in line:
            return lines
    raise AssertionError(f"it ended without {words!r}: {lines}")


def _processes() -> dict[tuple[int, int], int]:
    """Of every process: its id and start time, which no later process has again, and its parent's id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        found[int(process.name), int(fields[19])] = int(fields[1])
    return found


def _descendants(root: int) -> set[tuple[int, int]]:
    processes = _processes()
    parents, found = {root}, set[tuple[int, int]]()
    while parents:
        children = {key for key, parent in processes.items() if parent in parents}
        found |= children
        parents = {pid for pid, _ in children}
    return found
