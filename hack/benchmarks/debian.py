"""The Go peer's toolchain and libraries, from Debian's archive, unpacked and never installed.

Guarantee: packages are checked against the sums of the archive's index; nothing outside ``.cache`` is
written, and no Go proxy is asked. Non-guarantee: unstable moves on, so the version that was measured is
part of the result (:func:`version`). The index itself is not verified against Debian's key.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCE = Path(__file__).resolve().parent / "go"
CACHE = ROOT / ".cache" / "benchmarks" / "go"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "sid"
CLIENT_GO = "golang-k8s-client-go-dev"
SYSTEM = ("amd64", "all")

Package = Mapping[str, str]


class NoGo(RuntimeError):
    """The Go peer cannot be built here; the message says why."""


def informer() -> Path:
    """The built program; made once, which takes some minutes."""
    program = CACHE / "informer"
    source = (SOURCE / "main.go").read_bytes()
    stamp = CACHE / "stamp"
    digest = hashlib.sha256(source).hexdigest()
    if program.exists() and stamp.exists() and stamp.read_text() == digest:
        return program
    try:
        if not (CACHE / "root").exists():
            unpack()
        build(program)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        raise NoGo(f"client-go could not be fetched or built: {error}") from error
    stamp.write_text(digest)
    return program


def version() -> str:
    """Of client-go and of Go, as Debian counts them."""
    return (CACHE / "version").read_text()


def unpack() -> None:
    """Fetch client-go, all it imports, and the newest Go."""
    CACHE.mkdir(parents=True, exist_ok=True)
    packages = index()
    go = newest_go(packages)
    wanted = closure(packages, [CLIENT_GO, f"{go}-go", f"{go}-src"])
    scratch = CACHE / "unpacking"
    for name in wanted:
        subprocess.run(["dpkg-deb", "-x", str(fetch(packages[name])), str(scratch)], check=True)
    versions = (f"client-go {packages[CLIENT_GO]['Version']}", f"{go} {packages[f'{go}-go']['Version']}")
    (CACHE / "version").write_text(", ".join(versions))
    scratch.rename(CACHE / "root")


def index() -> dict[str, Package]:
    """What the archive has, by name."""
    packages: dict[str, Package] = {}
    for system in SYSTEM:
        url = f"{MIRROR}/dists/{SUITE}/main/binary-{system}/Packages.xz"
        with urllib.request.urlopen(url, timeout=120) as answer:
            text = lzma.decompress(answer.read()).decode()
        packages |= {package["Package"]: package for package in parse(text)}
    return packages


def parse(text: str) -> Iterable[Package]:
    """The paragraphs of a Packages file; only fields of one line matter here."""
    for paragraph in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", paragraph, re.MULTILINE))
        if "Package" in fields:
            yield fields


def newest_go(packages: Mapping[str, Package]) -> str:
    """``golang-1.26`` or later."""
    found = (re.fullmatch(r"golang-1\.(\d+)-go", name) for name in packages)
    minor = max(int(match[1]) for match in found if match)
    return f"golang-1.{minor}"


def closure(packages: Mapping[str, Package], roots: Iterable[str]) -> list[str]:
    """``roots`` with the Go libraries they need, and theirs."""
    found: dict[str, None] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found[name] = None
        for group in packages[name].get("Depends", "").split(","):
            first = re.split(r"[ (|:]", group.strip())[0]
            if first.startswith("golang-") and first.endswith("-dev") and first in packages:
                todo.append(first)
    return [*found]


def fetch(package: Package) -> Path:
    """The package's file, checked."""
    path = CACHE / "debs" / Path(package["Filename"]).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(f"{MIRROR}/{package['Filename']}", timeout=300) as answer:
            content: bytes = answer.read()
        if hashlib.sha256(content).hexdigest() != package["SHA256"]:
            raise NoGo(f"{package['Filename']} is not what the archive's index says")
        path.write_bytes(content)
    return path


def build(program: Path) -> None:
    """Compile in GOPATH mode, against the unpacked libraries alone."""
    root = CACHE / "root"
    (goroot,) = (root / "usr" / "lib").glob("go-1.*")
    place = CACHE / "path" / "src" / "informer"
    place.mkdir(parents=True, exist_ok=True)
    (place / "main.go").write_bytes((SOURCE / "main.go").read_bytes())
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


if __name__ == "__main__":
    print(informer(), version())
