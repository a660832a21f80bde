"""The open chains: plain copies of what the next differential continues, one directory a database.

``/data/backups/.chains/<namespace>.<backup>/<database>/`` holds the FULL and the
differentials of the newest chain, and ``chain.json``, which names them in order; a file that it does not
name does not count.

Guarantee: a chain advances only by :func:`advance`, after the run was committed, in one step (the list is
replaced last). Files are hard links into a run's staging and back, so that nothing is copied.
Non-guarantee: the price is disk: one chain's artifacts stay on the database's volume.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from controller.agent.journal import Journal, is_run_id
from controller.agent.places import CHAINS, Places, remove_tree
from controller.neo4j.chains import Link, OpenChain
from controller.wire.messages import AgentStatus, Artifact, Message, Unreadable, decode

LIST = "chain.json"
FORSAKEN_SECONDS = 45 * 24 * 3600.0


class _Kept(Message, frozen=True, kw_only=True):
    """``chain.json``."""

    neo4j_version: str
    artifacts: tuple[Artifact, ...]


def link_of(artifact: Artifact) -> Link:
    return Link(artifact.file, artifact.database_id, artifact.full, artifact.lowest_tx, artifact.highest_tx)


def load(places: Places, chain: str, database: str) -> OpenChain:
    """What is kept; empty when a file is not there or not of the size that was committed."""
    kept = _kept(_directory(places, chain, database))
    return OpenChain(tuple(map(link_of, kept.artifacts)), kept.neo4j_version)


def lend(places: Places, chain: str, database: str, destination: Path) -> None:
    """Put the chain where ``neo4j-admin`` looks for a parent: into its destination."""
    directory = _directory(places, chain, database)
    for artifact in _kept(directory).artifacts:
        os.link(directory / artifact.file, destination / artifact.file)


def advance(places: Places, chain: str, status: AgentStatus, files: Iterable[str]) -> None:
    """Keep those of the run's artifacts that were committed; a FULL one starts its chain anew."""
    committed = set(files)
    for artifact in status.artifacts:
        if artifact.file in committed:
            source = places.artifacts(status.run_id) / artifact.file
            _keep(_directory(places, chain, artifact.database), artifact, source, status.neo4j_version)


def adopt(places: Places, journal: Journal, chain: str, parent: Link) -> None:
    """Keep ``parent`` when it still is in a run's staging: it was committed, and its release got lost."""
    for run_id in sorted(journal.known()):
        request, status = journal.request(run_id), journal.status(run_id)
        if request and status and request.chain == chain:
            files = [one.file for one in status.artifacts if link_of(one) == parent]
            with contextlib.suppress(FileNotFoundError):
                advance(places, chain, status, files)


def forget(places: Places, chain: str, database: str) -> None:
    """Keep nothing of this database: the next backup begins a new chain."""
    remove_tree(_directory(places, chain, database))


def keep_only(places: Places, chain: str, databases: Iterable[str]) -> None:
    """Remove what cannot be continued here any more: it goes on elsewhere, or the database is gone."""
    root, wanted = _root(places, chain), set(databases)
    for entry in root.iterdir() if root.is_dir() else ():
        if entry.name not in wanted:
            remove_tree(entry)
    with contextlib.suppress(OSError):
        root.rmdir()  # nothing in it


def sweep(places: Places, now: float, say: Callable[[str], None]) -> None:
    """Chains that nobody continued for long belong to backups that are gone."""
    for kept in (places.backups / CHAINS).glob(f"*/*/{LIST}"):
        with contextlib.suppress(OSError):
            if now - kept.stat().st_mtime > FORSAKEN_SECONDS:
                say(f"removed {kept.parent}: no backup continued it for 45 days")
                remove_tree(kept.parent)


def _keep(directory: Path, artifact: Artifact, source: Path, version: str) -> None:
    before = _kept(directory).artifacts
    if artifact in before:
        return
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / artifact.file
    target.unlink(missing_ok=True)
    os.link(source, target)
    artifacts = (artifact,) if artifact.full else (*before, artifact)
    aside = directory / f".{LIST}.{time.monotonic_ns()}"
    aside.write_bytes(msgspec.json.encode(_Kept(neo4j_version=version, artifacts=artifacts)))
    aside.replace(directory / LIST)
    wanted = {LIST, *(one.file for one in artifacts)}
    for entry in directory.iterdir():
        if entry.name not in wanted:
            remove_tree(entry)


def _kept(directory: Path) -> _Kept:
    nothing = _Kept(neo4j_version="", artifacts=())
    try:
        kept = decode((directory / LIST).read_bytes(), _Kept)
        whole = all((directory / one.file).stat().st_size == one.size for one in kept.artifacts)
    except (OSError, Unreadable):
        return nothing
    return kept if whole else nothing


def _directory(places: Places, chain: str, database: str) -> Path:
    if "/" in database or database in {"", ".", ".."}:
        raise OSError(f"{database!r} is no database")
    return _root(places, chain) / database


def _root(places: Places, chain: str) -> Path:
    if not is_run_id(chain):
        raise OSError(f"{chain!r} names no chain")
    return places.backups / CHAINS / chain
