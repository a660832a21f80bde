"""Carries out what retention decided, so that a crash between any two steps does no harm.

Guarantee: at every moment each manifest names only artifacts that are there, and everything that they
need. First the artifacts are copied (Archive), then their removal is noted, then the manifest goes or is
rewritten without them, then they are deleted, then the note; newest runs first, so that no differential
outlives its parent. Doing it again after an interruption ends in the same state.

Non-guarantee: a run that is being written while this works is not looked at; it cannot depend on what
goes, because the newest chain always stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from controller.repository import layout
from controller.repository.errors import NotFound, Unavailable
from controller.repository.intents import Intents
from controller.repository.manifest import RunManifest, StoredArtifact, decode, encode
from controller.repository.store import Store, read_small


@dataclass(frozen=True, slots=True)
class Excess:
    """One artifact that retention does not keep."""

    run_id: str
    key: str
    archive: bool = False


def prune(
    store: Store, runs: Iterable[RunManifest], excess: Iterable[Excess], now: Callable[[], datetime],
    cold: Store | None = None,
) -> int:  # fmt: skip
    """Remove or archive; returns how many artifacts went.

    ``cold`` is the same repository, opened to write archived artifacts in a storage class of their own.
    """
    going = {(one.run_id, one.key): one for one in excess}
    every = sorted(runs, key=lambda run: (run.started, run.run_id), reverse=True)
    kept = {one.key for run in every for one in run.artifacts if (run.run_id, one.key) not in going}
    gone = 0
    for run in every:
        leaving = [one for one in run.artifacts if (run.run_id, one.key) in going and one.key not in kept]
        if leaving:
            archive = [one for one in leaving if going[run.run_id, one.key].archive]
            if archive:
                _archive(store, run, archive, cold or store)
            _let_go(store, run, leaving, now)
            gone += len(leaving)
    return gone


def _let_go(
    store: Store, run: RunManifest, leaving: list[StoredArtifact], now: Callable[[], datetime]
) -> None:
    # Until the manifest is changed the keys are owned, so a note that comes too early removes nothing.
    note = Intents(store, f"removal-{run.run_id}", now)
    note.add(*(one.key for one in leaving), removal=True)
    rest = tuple(one for one in run.artifacts if one not in leaving)
    if rest:
        store.put(layout.manifest(run.run_id), [encode(msgspec.structs.replace(run, artifacts=rest))])
    else:
        store.delete(layout.manifest(run.run_id))
    note.undo()


def _archive(store: Store, run: RunManifest, artifacts: list[StoredArtifact], cold: Store) -> None:
    """Through this process: providers' own copies end at 5 GiB. The manifest is not cold: it is read."""
    for one in artifacts:
        target = layout.archived(one.key)
        cold.put(target, store.get(one.key), size_hint=one.size)
        if store.head(target).size != one.size:
            raise Unavailable(f"{store.location}/{target} is not as long as what was copied there")
    key = layout.archived(layout.manifest(run.run_id))
    known = {one.key: one for one in _archived_before(store, key, run.run_id)}
    merged = known | {one.key: one for one in artifacts}
    store.put(key, [encode(msgspec.structs.replace(run, artifacts=tuple(merged.values())))])


def _archived_before(store: Store, key: str, run_id: str) -> tuple[StoredArtifact, ...]:
    try:
        return decode(read_small(store, key), RunManifest, f"{store.location}/{key}").artifacts
    except NotFound:
        return ()
