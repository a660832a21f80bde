"""Packages from Debian's archive, fetched by apt, unpacked and never installed.

Guarantee: apt checks what it fetches against Debian's keys, and nothing outside ``.cache`` is written.
Non-guarantee: unstable moves on, so the versions that were measured are part of the result
(:func:`version_of`).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache" / "benchmarks"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SUITE = "sid"
TOOLS = ("apt-get", "apt-cache", "dpkg-deb")


class Unavailable(RuntimeError):
    """The archive cannot be used here; the message says why."""


def unpacked(place: Path, wanted: Sequence[str], kept: str) -> Path:
    """The root of a tree with ``wanted`` and those packages they need whose names match ``kept``.

    Made once; raises :class:`Unavailable`.
    """
    root = place / "root"
    if not root.exists():
        if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
            raise Unavailable(
                f"{', '.join(wanted)} come from Debian's archive, and there is no {missing[0]} here"
            )
        try:
            _fetch(place, wanted, kept)
        except subprocess.CalledProcessError as error:
            raise Unavailable(f"{', '.join(wanted)} could not be fetched: {error}: {error.stderr}") from error
    return root


def version_of(place: Path) -> str:
    """Of the packages that were wanted, as Debian counts them."""
    return (place / "versions").read_text()


def _fetch(place: Path, wanted: Sequence[str], kept: str) -> None:
    debs, scratch = place / "debs", place / "unpacking"
    debs.mkdir(parents=True, exist_ok=True)
    options = _private_apt()
    _run(["apt-get", *options, "--quiet", "update"])
    planned = _run(["apt-get", *options, "--simulate", "--no-install-recommends", "install", *wanted])
    packages = re.findall(rf"^Inst ({kept}) ", planned, re.MULTILINE)
    _run(["apt-get", *options, "--quiet", "download", *packages], cwd=debs)
    for deb in sorted(debs.glob("*.deb")):
        _run(["dpkg-deb", "--extract", str(deb), str(scratch)])
    (place / "versions").write_text(", ".join(_version(options, package) for package in wanted))
    scratch.rename(place / "root")
    shutil.rmtree(debs)


def _private_apt() -> list[str]:
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


def _version(options: Sequence[str], package: str) -> str:
    shown = _run(["apt-cache", *options, "show", "--no-all-versions", package])
    found = re.search(r"^Version: (?:\d+:)?(\S+)", shown, re.MULTILINE)
    return f"{package} {found[1] if found else 'of an unknown version'}"


def _run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """What it said."""
    return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True).stdout
