"""Whether the disk has room for a dump, judged before it starts.

Guarantee: a dump is refused when the free space is below what the stores on this pod's own disk make
likely: a temporary copy of the largest store, and the artifacts. Non-guarantee: an estimate; where the
stores cannot be seen (a layout of one's own), only :data:`MINIMUM` is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from controller.agent.destination import Refused
from controller.agent.places import Places, tree_size
from controller.neo4j.names import ALL
from controller.neo4j.quantity import MIB, human

MINIMUM = 16 * MIB
COMPRESSED_SHARE = 0.6
"""Stores usually compress to a third; dense ones (vectors, blobs) to rather more than a half."""


def store_sizes(places: Places) -> dict[str, int]:
    """Bytes of every database's store on this server's disk."""
    try:
        entries = [entry for entry in (places.data / "databases").iterdir() if entry.is_dir()]
    except OSError:
        return {}
    return {entry.name: tree_size(entry) for entry in entries}


def check(
    places: Places, databases: Iterable[str], compress: bool, destination: Path, temporary: Path
) -> None:
    """Raises :class:`Refused` with the numbers when there is too little room."""
    sizes = _chosen(store_sizes(places), tuple(databases))
    artifacts = int(sum(sizes.values()) * (COMPRESSED_SHARE if compress else 1))
    copy = max(sizes.values(), default=0)
    if os.stat(destination).st_dev == os.stat(temporary).st_dev:
        _require(destination, artifacts + copy + MINIMUM)
    else:
        _require(destination, artifacts + MINIMUM)
        _require(temporary, copy + MINIMUM)


def _chosen(sizes: Mapping[str, int], databases: tuple[str, ...]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if databases == (ALL,) or name in databases}


def _require(directory: Path, needed: int) -> None:
    found = os.statvfs(directory)
    free = found.f_bavail * found.f_frsize
    if free < needed:
        raise Refused(
            f"not enough disk space: {human(free)} free for {directory}, about {human(needed)} needed; "
            "enlarge the volume or remove old backups"
        )
