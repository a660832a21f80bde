"""The interpreters that the peers run in, each with the packages of its own lock file and no others.

Guarantee: hashes are checked, nothing outside ``.cache`` is written, and ours runs with what the image
has: development tools would be imported along (structlog takes rich where it finds it).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "benchmarks"
UV = ROOT / ".cache" / "uv" / "bin" / "uv"
KOPF_LOCK = ROOT / "hack" / "requirements" / "benchmarks.txt"


def production() -> Path:
    """The interpreter of ours and of kubernetes-asyncio, which the operator's lock file has as well."""
    return _made("production", (ROOT / "uv.lock", ROOT / "pyproject.toml"), _sync)


def kopf() -> Path:
    """kopf's interpreter."""
    return _made("kopf", (KOPF_LOCK,), _install_kopf)


def _made(name: str, locks: tuple[Path, ...], make: Callable[[Path], None]) -> Path:
    place = CACHE / name
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()
    stamp = place / "stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(place, ignore_errors=True)
        make(place)
        stamp.write_text(digest)
    return place / "bin" / "python"


def _sync(place: Path) -> None:
    wanted = ["sync", "--quiet", "--locked", "--no-dev", "--no-install-project", "--compile-bytecode"]
    _uv([*wanted, "--python", sys.executable], UV_PROJECT_ENVIRONMENT=str(place))


def _install_kopf(place: Path) -> None:
    _uv(["venv", "--quiet", "--python", sys.executable, str(place)])
    wanted = ["pip", "install", "--quiet", "--require-hashes", "--compile-bytecode"]
    _uv([*wanted, "--python", str(place / "bin" / "python"), "--requirement", str(KOPF_LOCK)])


def _uv(argv: list[str], **env: str) -> None:
    settings = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", **env}
    subprocess.run([str(UV), *argv], cwd=ROOT, env=settings, check=True)
