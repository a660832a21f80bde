"""Whether the disk has room for a dump: judged before it starts, and watched while it runs.

Guarantee: a dump is refused, with the numbers, when less is free than it will likely take: the artifacts
that have to be FULL, by what they took last time and by what their stores have grown since, and a
temporary copy of the largest store. A dump that takes more is ended while the database next door still has
:func:`reserve` of the volume to write to.

Non-guarantee: an estimate. Where neither an earlier backup nor the stores are known (a layout of one's
own), only the reserve is asked for; a differential counts nothing until it is written.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from controller.agent.destination import Refused
from controller.agent.places import Places, tree_size
from controller.neo4j.names import ALL
from controller.neo4j.quantity import MIB, human
from controller.wire.messages import LastFull

COMPRESSED_SHARE = 0.6
"""Stores usually compress to a third; dense ones (vectors, blobs) to rather more than a half."""
GROWTH = 1.1
"""What was saved last time is known; what came since only where the store can be seen."""
SMALLEST_RESERVE, LARGEST_RESERVE = 16 * MIB, 256 * MIB


class Filling(Refused):
    """The disk runs full under a dump."""


def store_sizes(places: Places) -> dict[str, int]:
    """Bytes of every database's store on this server's disk."""
    try:
        entries = [entry for entry in (places.data / "databases").iterdir() if entry.is_dir()]
    except OSError:
        return {}
    return {entry.name: tree_size(entry) for entry in entries}


def forecast(stores: Mapping[str, int], lasts: Iterable[LastFull], compress: bool) -> dict[str, int]:
    """Bytes of the FULL artifact of every database of which anything is known."""
    share = COMPRESSED_SHARE if compress else 1.0
    sizes = {name: int(size * share) for name, size in stores.items()}
    for last in lasts:
        grown = stores.get(last.database, 0) / last.store_size if last.store_size else 1.0
        sizes[last.database] = int(last.size * max(grown, 1.0) * GROWTH)
    return sizes


def check(
    stores: Mapping[str, int], artifacts: Mapping[str, int], databases: Iterable[str], destination: Path,
    temporary: Path,
) -> None:  # fmt: skip
    """Raises :class:`Refused` when the FULL artifacts of ``databases`` have too little room."""
    asked = tuple(databases)
    written = sum(_chosen(artifacts, asked).values())
    copy = max(_chosen(stores, asked).values(), default=0)
    if os.stat(destination).st_dev == os.stat(temporary).st_dev:
        _require(destination, written + copy)
    else:
        _require(destination, written)
        _require(temporary, copy)


def watch(directories: Iterable[Path]) -> None:
    """Raises :class:`Filling` when nothing but the reserve is left."""
    for directory in directories:
        free, total = _room(directory)
        if free < reserve(total):
            raise Filling(
                f"the disk was filling up: the dump was ended at {human(free)} free for {directory}, which "
                "the database itself needs; enlarge the volume or remove old backups"
            )


def reserve(total: int) -> int:
    """What is left to the database, of a volume of ``total`` bytes."""
    return min(max(total // 100, SMALLEST_RESERVE), LARGEST_RESERVE)


def _chosen(sizes: Mapping[str, int], databases: tuple[str, ...]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if databases == (ALL,) or name in databases}


def _require(directory: Path, needed: int) -> None:
    if reason := lack(directory, needed):
        raise Refused(f"{reason}; enlarge the volume or remove old backups")


def lack(directory: Path, needed: int) -> str:
    """What is missing for ``needed`` bytes more, in numbers; empty when there is room."""
    free, total = _room(directory)
    if free >= needed + reserve(total):
        return ""
    return (
        f"not enough disk space: {human(free)} free for {directory}, about {human(needed)} needed and "
        f"{human(reserve(total))} left to the database"
    )


def _room(directory: Path) -> tuple[int, int]:
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize
