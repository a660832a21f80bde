"""Which databases of a request continue their chains, which begin one, and why.

Guarantee: AUTO continues a chain only from exactly what the repository has, and gives the reason where it
does not; DIFF never begins a chain, it refuses the database with the reason and what to do; property
shards get FULL backups only. A chain that AUTO will not continue is given up before the dump, so that its
room can be used.

Non-guarantee: whether the server still has the transaction logs is found out by Neo4j.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from controller.agent import chains
from controller.agent.destination import Refused
from controller.agent.verdict import fell_back
from controller.agent.workshop import Workshop
from controller.neo4j.chains import Link, why_full
from controller.neo4j.commands import BackupType
from controller.neo4j.names import ALL, is_property_shard
from controller.neo4j.output import Event, fallbacks
from controller.neo4j.versions import Version
from controller.wire.messages import Artifact, BackupRequest

REMEDY = "set options.backupType to AUTO or FULL"
_UNKNOWN = "its name was not known beforehand"


@dataclass(frozen=True, slots=True)
class Continuation:
    """The decision. A database that is in neither mapping is dumped with the type that was asked for."""

    type: BackupType
    full: Mapping[str, str] = field(default_factory=dict)
    """Databases that get a FULL backup instead, and why."""
    refused: Mapping[str, str] = field(default_factory=dict)
    lent: tuple[str, ...] = ()
    """Databases whose chain was laid out beside the artifacts to be."""

    def groups(self, databases: tuple[str, ...]) -> list[tuple[BackupType, tuple[str, ...]]]:
        """What is dumped in one go: those that begin a chain apart from those that continue one."""
        wanted = tuple(name for name in databases if name not in self.refused)
        fresh = tuple(name for name in wanted if name in self.full)
        others = tuple(name for name in wanted if name not in self.full)
        kinds: list[tuple[BackupType, tuple[str, ...]]] = [("FULL", fresh), (self.type, others)]
        return [(type_, names) for type_, names in kinds if names]

    def given_up(self, names: tuple[str, ...], why: str) -> Continuation:
        """With ``names`` beginning a chain after all."""
        return replace(
            self,
            full={**self.full, **dict.fromkeys(names, why)},
            lent=tuple(name for name in self.lent if name not in names),
        )


def decide(
    request: BackupRequest, databases: tuple[str, ...], version: Version, workshop: Workshop
) -> Continuation:
    """Raises :class:`Refused` where nothing can be dumped, ``OSError``."""
    if request.chain and databases == (ALL,):
        if request.type == "DIFF":
            raise Refused("a DIFF backup needs the names of its databases, and the DBMS could not be asked")
        return Continuation("FULL", {ALL: _UNKNOWN})
    reasons = {name: _why_full(request, name, version, workshop) for name in databases}
    reasons = {name: reason for name, reason in reasons.items() if reason}
    if request.type == "DIFF" and request.chain:
        refused = {
            name: f"a DIFF backup is not possible: {reason}; {REMEDY}" for name, reason in reasons.items()
        }
        return Continuation("DIFF", refused=refused)
    if request.type == "AUTO" and request.chain:
        for name in reasons:
            chains.forget(workshop.places, request.chain, name)
    return Continuation(request.type, reasons)


def lay_out(found: Continuation, request: BackupRequest, databases: tuple[str, ...], work: Workshop, to: Path
) -> Continuation:  # fmt: skip
    """Put the chains that are continued into ``to``, where ``neo4j-admin`` looks for parents."""
    if not request.chain or request.type == "FULL" or databases == (ALL,):
        return found
    going_on = (name for name in databases if name not in found.full and name not in found.refused)
    for name in going_on:
        chains.lend(work.places, request.chain, name, to)
        found = replace(found, lent=(*found.lent, name))
    return found


def _why_full(request: BackupRequest, name: str, version: Version, workshop: Workshop) -> str:
    if is_property_shard(name, version):
        return "a property shard has no differential backups"
    if not request.chain or request.type == "FULL":
        return ""
    if name in request.broken:
        return request.broken[name]
    parent = parent_of(request, name)
    kept = chains.load(workshop.places, request.chain, name)
    if parent and parent not in kept.links:
        chains.adopt(workshop.places, workshop.journal, request.chain, parent)
        kept = chains.load(workshop.places, request.chain, name)
    # only AUTO begins a new chain by itself
    return why_full(kept, parent, version, request.max_chain_length if request.type == "AUTO" else 0)


def parent_of(request: BackupRequest, name: str) -> Link | None:
    """What the repository has of ``name`` to be continued."""
    found = next((one for one in request.parents if one.database == name), None)
    if found is None:
        return None
    return Link(found.file, found.database_id, found.full, found.lowest_tx, found.highest_tx)


def explained(
    artifact: Artifact, request: BackupRequest, found: Continuation, events: Iterable[Event]
) -> Artifact:
    """A FULL artifact that AUTO would rather have had differential, with the reason."""
    if request.type != "AUTO" or not request.chain or not artifact.full:
        return artifact
    why = found.full.get(artifact.database) or found.full.get(ALL) or _by_neo4j(artifact, request, events)
    return msgspec.structs.replace(artifact, why_full=why)


def _by_neo4j(artifact: Artifact, request: BackupRequest, events: Iterable[Event]) -> str:
    parent = parent_of(request, artifact.database)
    if parent and parent.database_id != artifact.database_id:
        return "the database id changed: it was dropped, restored or made anew"
    return fell_back(fallbacks(events).get(artifact.database, "Neo4j gave no reason"))
