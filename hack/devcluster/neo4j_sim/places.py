"""Where the simulated image's files are.

Guarantee: with ``CONTAINER_ROOT`` set, every fixed absolute path is looked up under that directory, as the
product's own programs do where the kernel refuses mount namespaces. Paths given as arguments are taken as
they are: whoever gives them has already looked them up.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from hack.devcluster.neo4j_sim.versions import Version, parse_version


def located(path: str) -> Path:
    """``path`` as this process can open it; one that is already below the root stays as it is."""
    root = os.environ.get("CONTAINER_ROOT", "")
    return Path(path if path.startswith(root) else root + path)


@dataclass(frozen=True, slots=True)
class Installation:
    """One installed tree, ``/var/lib/neo4j`` in the image."""

    home: Path
    version_text: str

    @property
    def version(self) -> Version:
        return parse_version(self.version_text)

    @property
    def conf(self) -> Path:
        configured = os.environ.get("NEO4J_CONF", "")
        return located(configured) if configured else self.home / "conf"


def installation(home: Path) -> Installation:
    return Installation(home, (home / "lib" / "version").read_text(encoding="utf-8").strip())
