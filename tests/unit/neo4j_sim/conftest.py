"""Fixtures: a tool of any version with its own home, and no variables of the host."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import backup
from hack.devcluster.neo4j_sim.places import Installation
from tests.unit.neo4j_sim.support import Tool

MakeTool = Callable[[str], Tool]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("NEO4J_", "DEVCLUSTER_", "CONTAINER_"))]:
        monkeypatch.delenv(name)
    for name in ("HEAP_SIZE", "JAVA_OPTS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def make_tool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> MakeTool:
    """By version. The current directory is a private one, because the tool stages there."""
    home = tmp_path / "home"
    (home / "conf").mkdir(parents=True)
    monkeypatch.chdir(home)
    monkeypatch.setenv("CONTAINER_ROOT", str(tmp_path / "root"))
    return lambda version: Tool(Installation(home, version), capsys)


@pytest.fixture
def tool(make_tool: MakeTool) -> Tool:
    return make_tool("5.26.3")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def numbered_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every artifact gets the next second's name at once, instead of waiting for it."""
    moments = (datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number) for number in range(10_000))

    def free_name(folder: Path, database: str) -> tuple[Path, datetime]:
        moment = next(moments)
        return folder / f"{database}-{moment:%Y-%m-%dT%H-%M-%S}.backup", moment

    monkeypatch.setattr(backup, "free_name", free_name)
