"""The interpreters that the Python peers run in, each with the packages of its own lock file and no others.

Guarantee: hashes are checked and nothing outside ``.cache`` is written. Ours runs in what the image has, the
locked packages and the same CPython, and so do the others: that CPython comes from Debian's archive, as Go
does, whatever interpreter this machine has. Where the archive cannot be used it is the running one, and the
result says so.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from hack.benchmarks import debian
from hack.benchmarks.debian import CACHE, ROOT

UV = ROOT / ".cache" / "uv" / "bin" / "uv"
KOPF_LOCK = ROOT / "hack" / "requirements" / "benchmarks.txt"
BYTECODE = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(CACHE / "bytecode")}
"""What a peer is started with: like an image it has its bytecode, also where this shell wants none written."""


@dataclass(frozen=True)
class Interpreter:
    """How CPython is started, and which."""

    argv: tuple[str, ...]
    version: str


def production() -> Path:
    """The interpreter of ours and of kubernetes-asyncio, which the operator's lock file has as well."""
    locked = CACHE / "production.txt"
    CACHE.mkdir(parents=True, exist_ok=True)
    _uv("export", "--locked", "--no-dev", "--no-emit-project", "--output-file", str(locked))
    return _made("production", locked)


def kopf() -> Path:
    """kopf's interpreter."""
    return _made("kopf", KOPF_LOCK)


@functools.cache
def interpreter() -> Interpreter:
    """The image's CPython, or the running one."""
    wanted = re.search(r"python:(3\.\d+)-slim", (ROOT / "Dockerfile").read_text())
    assert wanted, "the image is no longer made from a Python image"
    program = f"python{wanted[1]}"
    try:
        root = debian.unpacked(CACHE / program, (program,), r"(?:lib|zlib|python3)\S*")
    except debian.Unavailable:
        # -S: what else is installed for it must not be imported along.
        return Interpreter((sys._base_executable, "-S"), platform.python_version())  # type: ignore[attr-defined]
    # Through its own loader, with its own libraries: the archive's need not go with this system's.
    (loader,) = root.glob("usr/lib*/ld-linux-*")
    (libraries,) = root.glob("usr/lib/*-linux-gnu")
    argv = (str(loader), "--library-path", str(libraries), str(root / "usr" / "bin" / program))
    return Interpreter(argv, debian.version_of(CACHE / program).split()[1])


def _made(name: str, locked: Path) -> Path:
    """A script that starts the interpreter with the packages of ``locked``."""
    place, python = CACHE / name, interpreter()
    digest = hashlib.sha256(locked.read_bytes() + repr(python).encode()).hexdigest()
    script, stamp = place / "python", place / "stamp"
    if not stamp.exists() or stamp.read_text() != digest:
        shutil.rmtree(place, ignore_errors=True)
        _install(place / "packages", locked, python.version)
        script.write_text(
            f'#!/bin/sh\nexport PYTHONPATH={shlex.quote(str(place / "packages"))}"${{PYTHONPATH:+:$PYTHONPATH}}"\n'
            f'exec {shlex.join(python.argv)} "$@"\n'
        )
        script.chmod(0o755)
        stamp.write_text(digest)
    return script


def _install(target: Path, locked: Path, version: str) -> None:
    minor = ".".join(version.split(".")[:2])
    _uv(
        *("pip", "install", "--require-hashes", "--only-binary", ":all:", "--target", str(target)),
        *("--python-version", minor, "--python-platform", f"{platform.machine()}-manylinux_2_28"),
        *("--requirement", str(locked)),
    )


def _uv(*words: str) -> None:
    env = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    subprocess.run([str(UV), "--quiet", *words], cwd=ROOT, env=env, check=True)
