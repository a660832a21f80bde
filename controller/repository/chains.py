"""What an artifact needs to be restored: its chain, from what the manifests say.

Guarantee: pure. :func:`needs` never leaves out a parent: all that the artifact's own chain holds before
it, and whatever its transaction ids say that it continues. :func:`lineage` is the way from a full
artifact to this one, or nothing where a link is missing.

The links are Neo4j's: a differential begins with the transaction after its parent's last one; the first
one after a full artifact may overlap it (2026.02 and later); an empty one (0/0) continues whatever was
there. A database that was dropped and made anew has another id, and nothing continues across that.

Non-guarantee: an artifact whose transaction ids are unknown is taken to continue its predecessor.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.repository.manifest import RunManifest, StoredArtifact


@dataclass(frozen=True, slots=True)
class Saved:
    """One artifact and the run that saved it."""

    run: RunManifest
    artifact: StoredArtifact

    @property
    def is_full(self) -> bool:
        return self.artifact.full

    @property
    def is_empty(self) -> bool:
        """A differential without a transaction, or one of which nothing is known."""
        return not self.artifact.full and not self.artifact.highest_tx


def by_database(runs: Iterable[RunManifest]) -> dict[str, tuple[Saved, ...]]:
    """Every artifact of every database, oldest run first, however the runs come."""
    found: dict[str, list[Saved]] = {}
    for run in sorted(runs, key=lambda run: (run.started, run.run_id)):
        for artifact in run.artifacts:
            found.setdefault(artifact.database, []).append(Saved(run, artifact))
    return {name: tuple(items) for name, items in sorted(found.items())}


@dataclass(frozen=True, slots=True)
class Open:
    """What the next differential of a database continues, and how many artifacts its chain has."""

    parent: StoredArtifact
    length: int


@dataclass(frozen=True, slots=True)
class OpenChains:
    """By database. One that has neither has no backup yet."""

    open: Mapping[str, Open] = field(default_factory=dict)
    broken: Mapping[str, str] = field(default_factory=dict)
    """Why there is nothing to continue although there are backups."""


def open_chains(runs: Iterable[RunManifest], sizes: Mapping[str, int]) -> OpenChains:
    """What can be continued: the newest artifact that holds anything, when it could be restored today.

    ``sizes`` are those of the stored objects by key: a chain of which somebody removed a part is not
    made longer.
    """
    found: dict[str, Open] = {}
    broken: dict[str, str] = {}
    for name, items in by_database(runs).items():
        at = next((index for index in reversed(range(len(items))) if not items[index].is_empty), None)
        if at is None:
            continue
        way = lineage(items[at], items[:at])
        reason = _why_closed(items[at], way, sizes)
        if reason:
            broken[name] = reason
        else:
            chain = items[at].artifact.chain
            found[name] = Open(items[at].artifact, sum(1 for one in items if one.artifact.chain == chain))
    return OpenChains(found, broken)


def _why_closed(newest: Saved, way: Sequence[Saved], sizes: Mapping[str, int]) -> str:
    if not way:
        return f"the repository lacks what {newest.artifact.key} continues"
    for one in way:
        if one.artifact.verified is False:
            return f"{one.artifact.key} did not stand verification"
        if sizes.get(one.artifact.key) != one.artifact.size:
            return f"{one.artifact.key} is not in the repository any more as it was stored"
    return ""


def newest_full_by_database(runs: Iterable[RunManifest]) -> dict[str, StoredArtifact]:
    """What a FULL backup of each database took last."""
    found = by_database(runs)
    fulls = {name: [one for one in saved if one.is_full] for name, saved in found.items()}
    return {name: saved[-1].artifact for name, saved in fulls.items() if saved}


def needs(item: Saved, earlier: Sequence[Saved]) -> tuple[Saved, ...]:
    """What must be kept as long as ``item`` is; ``earlier`` is its database's, oldest first."""
    if item.is_full:
        return ()
    mates = _mates(item, earlier)
    links = lineage(item, earlier)
    needed = {id(one) for one in (*mates, *links)}
    return tuple(one for one in earlier if id(one) in needed)


def lineage(item: Saved, earlier: Sequence[Saved]) -> tuple[Saved, ...]:
    """From a full artifact to ``item``, both included; empty when there is no unbroken way."""
    if item.is_full:
        return (item,)
    return _linked(item, _mates(item, earlier)) or _linked(item, earlier)


def _mates(item: Saved, earlier: Sequence[Saved]) -> list[Saved]:
    """What was written into the chains that ``item`` says it belongs to, before it.

    A chain begins with its full artifact, so the search ends there: years of backups are not walked
    through for every differential.
    """
    searched = {item.artifact.chain, item.artifact.parent_chain} - {""}
    mates: list[Saved] = []
    for one in reversed(earlier):
        if not searched:
            break
        if one.artifact.chain in searched and _same_database(item, one):
            mates.append(one)
            searched |= {one.artifact.parent_chain} - {""}
            if one.is_full:
                searched.discard(one.artifact.chain)
    return mates[::-1]


def _linked(item: Saved, pool: Sequence[Saved]) -> tuple[Saved, ...]:
    way = [item]
    before = [one for one in pool if _same_database(item, one)]
    while not way[-1].is_full:
        at = next(
            (index for index in reversed(range(len(before))) if _continues(way[-1], before[index])), None
        )
        if at is None:
            return ()
        way.append(before[at])
        before = before[:at]
    return tuple(reversed(way))


def _continues(item: Saved, parent: Saved) -> bool:
    if item.is_empty:
        return True
    if parent.is_empty:
        return False  # it moved nothing: whoever comes after it continues what came before it
    first, last = item.artifact.lowest_tx, parent.artifact.highest_tx
    if parent.is_full:
        return not last or first <= last + 1
    return first == last + 1


def _same_database(one: Saved, other: Saved) -> bool:
    ids = {one.artifact.database_id, other.artifact.database_id} - {""}
    return len(ids) <= 1
