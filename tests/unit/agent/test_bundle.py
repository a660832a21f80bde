"""The agent's bundle runs elsewhere, with nothing of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from controller.wire.locations import AGENT_BUNDLE, agent_command
from hack import agent_bundle

LIMIT = 35 * 1024**2
LOADED = (
    "import asyncio, http.server, msgspec, re, sys, ssl\n"
    "from controller.agent import daemon, dump, fetch, follow, install, serve, submit, topology\n"
    "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1], *sys.modules)"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("bundle")
    agent_bundle.build(directory / "built")
    # somewhere else than where it was built: that is what relocatable means
    (directory / "built").rename(directory / "moved")
    return directory / "moved"


def relocated(bundle: Path, *verb: str) -> list[str]:
    return [word.replace(AGENT_BUNDLE, str(bundle)) for word in agent_command(*verb)]


def run(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, env={}, timeout=60, check=False, **options)  # type: ignore[call-overload,no-any-return]


def test_it_starts_from_another_path_with_an_empty_environment(bundle: Path) -> None:
    done = run(relocated(bundle, "--help"), cwd="/")
    assert done.stderr == ""
    assert "usage: agent run" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="chroot needs root")
def test_it_starts_in_a_root_that_holds_nothing_else(bundle: Path, tmp_path: Path) -> None:
    home = tmp_path / AGENT_BUNDLE[1:]
    home.parent.mkdir(parents=True)
    shutil.copytree(bundle, home, symlinks=True)
    done = run(agent_command("--help"), preexec_fn=lambda: os.chroot(tmp_path), cwd=tmp_path)
    assert done.stderr == ""
    assert "usage: agent run" in done.stdout


def test_every_library_comes_from_the_bundle(bundle: Path) -> None:
    argv = relocated(bundle)
    show = "import ssl, msgspec, hashlib, asyncio; print(open('/proc/self/maps').read())"
    done = run([*argv[: argv.index("-m")], "-c", show])
    mapped = {line.split()[-1] for line in done.stdout.splitlines() if ".so" in line}
    assert mapped
    assert all(path.startswith(str(bundle)) for path in mapped)


def test_it_is_small_and_loads_little(bundle: Path) -> None:
    size = sum(path.lstat().st_size for path in bundle.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < LIMIT
    argv = relocated(bundle)
    done = run([*argv[: argv.index("-m")], "-c", LOADED])
    peak_kib, *modules = done.stdout.split()
    assert int(peak_kib) < 40 * 1024
    assert not {"pydantic", "aiohttp", "cryptography", "anyio", "controller.api"} & set(modules)


def test_it_writes_nothing_when_it_runs(bundle: Path) -> None:
    before = sorted(path for path in bundle.rglob("*"))
    run(relocated(bundle, "--help"))
    assert sorted(path for path in bundle.rglob("*")) == before
    cached = {path.name.partition(".")[0] for path in bundle.rglob("controller/agent/__pycache__/*.pyc")}
    assert {"daemon", "serve"} <= cached


def test_building_over_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "bin").mkdir()
    with pytest.raises(FileExistsError):
        agent_bundle.build(tmp_path)
