"""The Go peer, built with Go and client-go from Debian's archive: no Go proxy is asked."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from hack.benchmarks import debian

SOURCE = Path(__file__).resolve().parent / "go" / "main.go"
PLACE = debian.CACHE / "go"
WANTED = ("golang-go", "golang-k8s-client-go-dev")


def informer() -> Path:
    """The built program; made once, which takes some minutes. Raises ``debian.Unavailable``."""
    program, stamp = PLACE / "informer", PLACE / "stamp"
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    if program.exists() and stamp.exists() and stamp.read_text() == digest:
        return program
    root = debian.unpacked(PLACE, WANTED, r"golang-\S+")
    try:
        _build(root, program)
    except subprocess.CalledProcessError as error:
        raise debian.Unavailable(f"client-go could not be built: {error}") from error
    stamp.write_text(digest)
    return program


def versions() -> str:
    """Of client-go and of Go, as Debian counts them."""
    return debian.version_of(PLACE)


def _build(root: Path, program: Path) -> None:
    """Compile in GOPATH mode, against the unpacked libraries alone."""
    (goroot,) = (root / "usr" / "lib").glob("go-1.*")
    place = PLACE / "path" / "src" / "informer"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE, place)
    env = {
        **os.environ,
        "GOROOT": str(goroot),
        "GOPATH": f"{PLACE / 'path'}:{root / 'usr' / 'share' / 'gocode'}",
        "GOCACHE": str(PLACE / "objects"),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    subprocess.run([str(goroot / "bin" / "go"), "build", "-o", str(program), "informer"], env=env, check=True)
