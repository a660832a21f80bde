"""A container's directories in a temporary directory, with a Neo4j in it that does as it is told."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.agent.daemon import Daemon
from controller.agent.journal import Journal
from controller.agent.places import Places, default_places
from controller.wire.messages import AgentStatus, BackupRequest
from tests.unit.agent import fake_neo4j

CHECKOUT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Container:
    """One sidecar, as the devcluster runs one without mount namespaces."""

    root: Path
    env: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def places(self) -> Places:
        return default_places()

    @property
    def journal(self) -> Journal:
        return Journal(self.root / "backup-requests")

    @property
    def bin(self) -> Path:
        return self.root / "var/lib/neo4j/bin"

    def tell(self, **what: Any) -> None:
        """What the fake ``neo4j-admin`` shall do."""
        (self.bin / "fake.json").write_text(json.dumps(what))

    def calls(self) -> list[dict[str, Any]]:
        """What the fake was asked for."""
        path = self.bin / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def backups(self) -> list[list[str]]:
        return [call["argv"] for call in self.calls() if call["argv"][:2] == ["database", "backup"]]

    def dump(self, request: BackupRequest) -> AgentStatus:
        """Queue ``request`` and let a daemon work it off."""
        assert self.journal.add(request)
        daemon = Daemon(self.places)
        assert daemon.step()
        status = self.journal.status(request.run_id)
        assert status is not None
        return status

    def verb(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a verb to its end, as exec does."""
        return subprocess.run(
            self.argv(*arguments),
            input=stdin,
            capture_output=True,
            env=self.env,
            cwd=CHECKOUT,
            timeout=30,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            self.argv(*arguments), stdin=pipe, stdout=pipe, stderr=pipe, env=self.env, cwd=CHECKOUT
        )
        self.processes.append(process)
        return process

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "controller", "agent", *arguments]


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    for name in [name for name in os.environ if name.startswith("NEO4J_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path))
    for directory in ("backup-requests", "data/backups", "data/databases", "tmp", "var/lib/neo4j/bin"):
        (tmp_path / directory).mkdir(parents=True)
    made = Container(tmp_path, dict(os.environ) | {"PYTHONDONTWRITEBYTECODE": "1"})
    shutil.copy(fake_neo4j.__file__, made.bin / "fake_neo4j.py")
    program = made.bin / "neo4j-admin"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -S -E {made.bin}/fake_neo4j.py "$@"\n')
    program.chmod(0o755)
    made.tell()
    yield made
    for process in made.processes:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                if stream:
                    stream.close()


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
