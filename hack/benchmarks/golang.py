"""The Go peer's toolchain and libraries, from Debian's archive by apt, unpacked and never installed.

Guarantee: apt checks what it fetches against Debian's keys; nothing outside ``.cache`` is written, and no
Go proxy is asked. Non-guarantee: unstable moves on, so the versions that were measured are part of the
result (:func:`versions`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(__file__).resolve().parent / "go" / "main.go"
CACHE = ROOT / ".cache" / "benchmarks" / "go"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "sid"
WANTED = ("golang-go", "golang-k8s-client-go-dev")
TOOLS = ("apt-get", "apt-cache", "dpkg-deb")


class NoGo(RuntimeError):
    """The Go peer cannot be built here; the message says why."""


def informer() -> Path:
    """The built program; made once, which takes some minutes."""
    program, stamp = CACHE / "informer", CACHE / "stamp"
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()
    if program.exists() and stamp.exists() and stamp.read_text() == digest:
        return program
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise NoGo(f"client-go comes from Debian's archive, and there is no {missing[0]} here")
    try:
        if not (CACHE / "root").exists():
            unpack()
        build(program)
    except subprocess.CalledProcessError as error:
        raise NoGo(f"client-go could not be fetched or built: {error}: {error.stderr or ''}") from error
    stamp.write_text(digest)
    return program


def versions() -> str:
    """Of client-go and of Go, as Debian counts them."""
    return (CACHE / "versions").read_text()


def unpack() -> None:
    """Fetch client-go, all it imports, and Go."""
    CACHE.mkdir(parents=True, exist_ok=True)
    options = private_apt()
    run(["apt-get", *options, "--quiet", "update"])
    debs, scratch = CACHE / "debs", CACHE / "unpacking"
    debs.mkdir(exist_ok=True)
    run(["apt-get", *options, "--quiet", "download", *closure(options)], cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg-deb", "--extract", str(deb), str(scratch)])
    (CACHE / "versions").write_text(", ".join(version_of(options, package) for package in WANTED))
    scratch.rename(CACHE / "root")
    shutil.rmtree(debs)


def private_apt() -> list[str]:
    """Options that keep apt away from the system's own state: another suite, nothing installed."""
    state = CACHE / "apt"
    for part in ("lists/partial", "archives/partial"):
        (state / part).mkdir(parents=True, exist_ok=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb {MIRROR} {SUITE} main\n")
    settings = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": state / "status",
        "Dir::Cache": state,
        "APT::Sandbox::User": "",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def closure(options: Sequence[str]) -> list[str]:
    """The packages of Go and of Go libraries that apt would install for :data:`WANTED`."""
    planned = run(["apt-get", *options, "--simulate", "--no-install-recommends", "install", *WANTED])
    return re.findall(r"^Inst (golang-\S+)", planned, re.MULTILINE)


def version_of(options: Sequence[str], package: str) -> str:
    shown = run(["apt-cache", *options, "show", "--no-all-versions", package])
    found = re.search(r"^Version: (?:\d+:)?(\S+)", shown, re.MULTILINE)
    return f"{package} {found[1] if found else 'of an unknown version'}"


def build(program: Path) -> None:
    """Compile in GOPATH mode, against the unpacked libraries alone."""
    root = CACHE / "root"
    (goroot,) = (root / "usr" / "lib").glob("go-1.*")
    place = CACHE / "path" / "src" / "informer"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copy(SOURCE, place)
    env = {
        **os.environ,
        "GOROOT": str(goroot),
        "GOPATH": f"{CACHE / 'path'}:{root / 'usr' / 'share' / 'gocode'}",
        "GOCACHE": str(CACHE / "objects"),
        "GO111MODULE": "off",
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    subprocess.run([str(goroot / "bin" / "go"), "build", "-o", str(program), "informer"], env=env, check=True)


def run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """What it said."""
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    print(informer(), versions())
