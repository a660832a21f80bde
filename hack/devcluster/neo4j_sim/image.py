"""Lay the simulated Neo4j out as its image has it: for the devcluster's node, or into a root file system.

Guarantee: the tree can be copied or mounted anywhere; its programs need nothing but the interpreter named at
install time and ``/bin/sh``; installing again over the same directory gives the same tree.
Non-guarantee: the tree holds configuration that the entrypoint rewrites, so every container needs its own
writable copy of :attr:`SimImage.home`.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from hack.devcluster.neo4j_sim.versions import parse_version

HOME = "/var/lib/neo4j"
STARTUP = "/startup"
ENTRYPOINT = f"{STARTUP}/docker-entrypoint.sh"

_PACKAGES = ("hack", "hack/devcluster", "hack/devcluster/neo4j_sim")
_NOT_IN_THE_IMAGE = frozenset({"image.py", "manifests.py", "__main__.py"})
# The bootstrap is given on the command line because isolated mode ignores PYTHONPATH, and without it
# variables and packages of the pod could change what the tool does.
_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1] + '/lib'); "
    "from hack.devcluster.neo4j_sim.launch import main; sys.exit(main(sys.argv[1:]))"
)
_DEFAULT_CONF = "# The simulated image's default configuration.\nserver.jvm.additional=-XX:+UseG1GC\n"


@dataclass(frozen=True, slots=True)
class SimImage:
    """An installed tree. ``writable`` and ``binds`` map paths in the container to directories here."""

    root: Path
    version: str

    @property
    def home(self) -> Path:
        return self.root / HOME.lstrip("/")

    @property
    def writable(self) -> dict[str, Path]:
        return {HOME: self.home}

    @property
    def binds(self) -> dict[str, Path]:
        return {STARTUP: self.root / STARTUP.lstrip("/")}

    @property
    def entrypoint(self) -> tuple[str, ...]:
        return (ENTRYPOINT,)

    @property
    def args(self) -> tuple[str, ...]:
        return ("neo4j",)

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": f"{HOME}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "NEO4J_EDITION": "enterprise",
        }

    @property
    def working_dir(self) -> str:
        return HOME


def install(directory: Path, version: str, python: str = sys.executable) -> SimImage:
    """Raises ValueError for a version without a number."""
    parse_version(version)
    image = SimImage(directory, version)
    library = image.home / "lib"
    shutil.rmtree(library, ignore_errors=True)
    for package in _PACKAGES:
        (library / package).mkdir(parents=True)
        (library / package / "__init__.py").write_text("", encoding="utf-8")
    for module in Path(__file__).parent.glob("*.py"):
        if module.name not in _NOT_IN_THE_IMAGE:
            shutil.copyfile(module, library / _PACKAGES[-1] / module.name)
    (library / "version").write_text(version + "\n", encoding="utf-8")
    for name in ("bin", "conf", "logs"):
        (image.home / name).mkdir(exist_ok=True)
        # As in the real image, so that any user can run it.
        (image.home / name).chmod(0o777)
    image.home.chmod(0o777)
    conf = image.home / "conf" / "neo4j.conf"
    conf.write_text(_DEFAULT_CONF, encoding="utf-8")
    conf.chmod(0o666)
    for program in ("neo4j-admin", "cypher-shell", "neo4j"):
        _wrapper(image.home / "bin" / program, program, python, "..")
    startup = image.root / STARTUP.lstrip("/")
    startup.mkdir(parents=True, exist_ok=True)
    _wrapper(startup / "docker-entrypoint.sh", "entrypoint", python, f"..{HOME}")
    return image


def _wrapper(path: Path, program: str, python: str, home_from_here: str) -> None:
    """The home is found from the script's own place, so that the tree works wherever it is."""
    path.write_text(
        "#!/bin/sh\n"
        f'here=$(cd -- "${{0%/*}}/{home_from_here}" && pwd) || exit 1\n'
        f'exec {shlex.quote(python)} -I -S -c "{_BOOT}" "$here" {program} "$@"\n',
        encoding="utf-8",
    )
    path.chmod(0o755)
