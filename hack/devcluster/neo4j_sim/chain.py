"""Backup chains: which artifacts belong together, by database id and transaction range.

Guarantee: a chain starts with a FULL and has no gap; from 2026.02 its first DIFF may overlap the FULL.
Non-guarantee: artifacts that cannot be read are left out; whether that is an error is the caller's decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.devcluster.neo4j_sim import artifact
from hack.devcluster.neo4j_sim.artifact import Header
from hack.devcluster.neo4j_sim.versions import Version, at_least


class NoChain(Exception):
    """An artifact whose predecessors are not all there."""


@dataclass(frozen=True, slots=True)
class Artifact:
    path: Path
    header: Header

    @property
    def age_key(self) -> tuple[str, int, str]:
        return self.header.time, self.header.highest, self.path.name


def scan(folder: Path) -> list[Artifact]:
    """The readable artifacts, newest name first."""
    found = []
    for path in sorted(folder.glob("*.backup"), reverse=True):
        try:
            found.append(Artifact(path, artifact.read_header(path)))
        except artifact.Corrupt:
            continue
    return found


def newest(artifacts: Iterable[Artifact]) -> Artifact | None:
    return max(artifacts, key=lambda item: item.age_key, default=None)


def _precedes(candidate: Header, successor: Header, overlap: bool) -> bool:
    if candidate.id != successor.id or candidate.empty or candidate.highest >= successor.highest:
        return False
    if candidate.highest == successor.lowest - 1:
        return True
    return overlap and candidate.full and successor.lowest <= candidate.highest


def chain_to(last: Artifact, artifacts: Sequence[Artifact], version: Version) -> list[Artifact]:
    """From the FULL to ``last``. Raises NoChain."""
    overlap = at_least(version, 2026, 2)
    if last.header.full:
        return [last]
    before = [item for item in artifacts if _precedes(item.header, last.header, overlap)]
    # A FULL ends the search, so it is tried first; among equals the newest.
    for item in sorted(before, key=lambda item: (item.header.full, *item.age_key), reverse=True):
        try:
            return [*chain_to(item, artifacts, version), last]
        except NoChain:
            continue
    raise NoChain(f"No backup that precedes '{last.path.name}' was found.")


def latest_chain(database: str, artifacts: Sequence[Artifact], version: Version) -> list[Artifact]:
    """Raises NoChain."""
    last = newest(item for item in artifacts if item.header.name == database and not item.header.empty)
    if last is None:
        raise NoChain(f"No backup of database '{database}' was found.")
    return chain_to(last, artifacts, version)


def parent_for_diff(
    database_id: str, artifacts: Sequence[Artifact], version: Version, prefer_diff: bool
) -> Artifact | None:
    """The artifact that the next DIFF continues, or None when there is no complete chain."""
    own = [item for item in artifacts if item.header.id == database_id and not item.header.empty]
    differential = [item for item in own if not item.header.full]
    parent = newest(differential) if prefer_diff and differential else newest(own)
    if parent is None:
        return None
    try:
        chain_to(parent, own, version)
    except NoChain:
        return None
    return parent
