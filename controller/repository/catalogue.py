"""What a repository holds, read back from its manifests, and the commit of a new run.

Guarantee: every manifest that the store lists is either read or reported as a problem with its key; a
damaged one hides neither itself nor its neighbours. A newer format stops the reading, because whoever
decides on half a catalogue deletes what it did not see. :func:`commit` either leaves the run's manifest
in the store or raises; a run that another pod of the same Job committed is returned, not overwritten.

Non-guarantee: the catalogue is a snapshot; runs that commit while it is read may be missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from controller.repository import layout
from controller.repository.errors import (
    AlreadyExists,
    DamagedDocument,
    NotFound,
    Unavailable,
    WrongRepository,
)
from controller.repository.manifest import RepositoryIdentity, RunManifest, decode, encode
from controller.repository.store import Store, read_small

_COMMIT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Problem:
    """A document that could not be read, and why."""

    key: str
    reason: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All runs, oldest first, and what could not be read."""

    runs: tuple[RunManifest, ...]
    problems: tuple[Problem, ...] = ()


def read(store: Store) -> Catalogue:
    """Read every manifest. Raises ``UnsupportedFormat`` when one is newer than this release."""
    runs: list[RunManifest] = []
    problems: list[Problem] = []
    for key in sorted(info.key for info in store.list(layout.RUNS)):
        run_id = layout.run_id_of(key)
        if run_id is None:
            continue
        try:
            runs.append(_load(store, run_id))
        except NotFound:
            continue  # deleted since it was listed
        except DamagedDocument as error:
            problems.append(Problem(key, str(error)))
    return Catalogue(tuple(sorted(runs, key=lambda run: (run.started, run.run_id))), tuple(problems))


def find_run(store: Store, run_id: str) -> RunManifest | None:
    """The manifest of ``run_id``; ``None`` when that run was never committed."""
    try:
        return _load(store, run_id)
    except NotFound:
        return None


def prepare(store: Store, namespace: str, backup: str, uid: str, now: datetime) -> RepositoryIdentity:
    """Prove that the repository is ours and can be written, before anything expensive happens."""
    store.put(layout.PROBE, [b"{}\n"])
    wanted = RepositoryIdentity(namespace=namespace, backup=backup, created=now, created_by_uid=uid)
    try:
        store.put_if_absent(layout.IDENTITY, encode(wanted))
    except AlreadyExists:
        found = decode(
            read_small(store, layout.IDENTITY), RepositoryIdentity, f"{store.location}/{layout.IDENTITY}"
        )
        if (found.namespace, found.backup) != (namespace, backup):
            raise WrongRepository(f"{store.location} belongs to {found.namespace}/{found.backup}") from None
        return found
    return wanted


def commit(store: Store, manifest: RunManifest) -> RunManifest:
    """Write the manifest; the run exists from here on."""
    key = layout.manifest(manifest.run_id)
    for attempt in range(1, _COMMIT_ATTEMPTS + 1):
        try:
            store.put_if_absent(key, encode(manifest))
            return manifest
        except AlreadyExists:
            # Ours, when the answer to an earlier attempt was lost; else another pod of this Job's.
            return _load(store, manifest.run_id)
        except Unavailable:
            if attempt == _COMMIT_ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _load(store: Store, run_id: str) -> RunManifest:
    key = layout.manifest(run_id)
    manifest = decode(read_small(store, key), RunManifest, f"{store.location}/{key}")
    if manifest.run_id != run_id:
        raise DamagedDocument(
            f"{store.location}/{key} is damaged: it says that it is run {manifest.run_id!r}"
        )
    return manifest
