"""The init container fills a volume whose directory is not its own, and may have to do it again."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.agent.install import install
from controller.wire.locations import AGENT_BUNDLE, AGENT_BUNDLE_SOURCE, ENV_ROOT


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / AGENT_BUNDLE_SOURCE.lstrip("/")
    (source / "lib").mkdir(parents=True)
    (source / "lib" / "loader.so.2").write_text("loader")
    (source / "lib" / "ld.so").symlink_to("loader.so.2")
    (tmp_path / AGENT_BUNDLE.lstrip("/")).mkdir(parents=True)
    monkeypatch.setenv(ENV_ROOT, str(tmp_path))
    return tmp_path / AGENT_BUNDLE.lstrip("/")


def test_the_volumes_own_directory_keeps_its_mode(root: Path) -> None:
    root.chmod(0o2777)
    assert install("") == 0
    assert root.stat().st_mode & 0o7777 == 0o2777


def test_an_init_container_that_runs_again_leaves_the_whole_bundle(root: Path) -> None:
    assert install("") == 0
    (root / "lib" / "loader.so.2").write_text("cut sho")
    assert install("") == 0
    assert (root / "lib" / "ld.so").read_text() == "loader"
