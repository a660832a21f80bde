"""A backup over its life: a database that changes, an agent's real files, a repository, and every mishap.

The agent's rules, its open chains and the repository's are the real ones. Neo4j is modelled by what it
writes: transactions from one to another of a database id, empty where nothing is new.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from controller.agent import continuing
from controller.agent.journal import Journal
from controller.agent.places import CHAINS, Places
from controller.agent.submit import end_run
from controller.agent.workshop import Workshop
from controller.neo4j.chains import continues, head
from controller.neo4j.versions import Version, capabilities
from controller.repository import layout
from controller.repository.chains import OpenChains, by_database, lineage, open_chains
from controller.repository.manifest import RunManifest, StoredArtifact
from controller.runner.dump import link_of, plain_file, request_for
from controller.wire.messages import (
    AgentStatus,
    Artifact,
    BackupRequest,
    BackupType,
    Outcome,
    ReleaseRequest,
    RunSpec,
    RunState,
    StorageTarget,
)

START = datetime(2026, 3, 1, tzinfo=UTC)
DATABASE = "orders"
Fate = Literal["committed", "release lost", "not committed"]


@dataclass
class Life:
    """One database, one server, one backup."""

    root: Path
    version: Version = field(default_factory=lambda: Version(2026, 1, 0))
    database_id: int = 0
    last_tx: int = 5
    oldest_log: int = 1
    minutes: int = 0
    runs: list[RunManifest] = field(default_factory=list)
    sizes: dict[str, int] = field(default_factory=dict)
    undisturbed: bool = False
    """Nothing happened since the last committed run that would keep AUTO from continuing it."""

    def __post_init__(self) -> None:
        self.places = Places(requests=self.root / "requests", backups=self.root / "backups", data=self.root)
        self.places.requests.mkdir()
        self.places.backups.mkdir()
        self.journal = Journal(self.places.requests)
        self.workshop = Workshop(self.places, self.journal, {}, lambda: False, lambda _: None)

    # --- what happens to it -------------------------------------------------------------------

    def write(self, transactions: int) -> None:
        self.last_tx += transactions

    def recreate(self) -> None:
        self.database_id += 1
        self.last_tx, self.oldest_log, self.undisturbed = 5, 1, False

    def upgrade(self) -> None:
        self.version = Version(self.version.major, self.version.minor + 1)
        self.undisturbed = False

    def lose_the_volume(self) -> None:
        shutil.rmtree(self.places.backups)
        self.places.backups.mkdir()
        shutil.rmtree(self.places.requests)
        self.places.requests.mkdir()
        self.undisturbed = False

    def damage_the_chain(self) -> None:
        for file in (self.places.backups / CHAINS).rglob("*.backup"):
            file.unlink()
            break
        self.undisturbed = False

    def prune_logs(self) -> None:
        self.oldest_log = self.last_tx + 1
        self.undisturbed = False

    def lose_an_object(self) -> None:
        for key in sorted(self.sizes)[-1:]:
            del self.sizes[key]
        self.undisturbed = False

    # --- a run ---------------------------------------------------------------------------------

    def back_up(self, type_: BackupType, fate: Fate, longest: int = 4) -> str:
        """``FULL``, ``DIFF``, or the reason why there is no backup."""
        self.minutes += 1
        spec = RunSpec(
            namespace="ns",
            backup="nightly",
            backup_uid="uid",
            generation=1,
            deployment="graph",
            servers=(),
            storage=StorageTarget(type="pvc"),
            type=type_,
            max_chain_length=longest,
        )
        chains = open_chains(self.runs, self.sizes)
        request = request_for(spec, (DATABASE,), f"run-{self.minutes:04}", chains, {})
        self.journal.add(request)
        found = continuing.decide(request, (DATABASE,), self.version, self.workshop)
        if DATABASE in found.refused:
            return found.refused[DATABASE]
        destination = self.places.artifacts(request.run_id)
        destination.mkdir(parents=True)
        found = continuing.lay_out(found, request, (DATABASE,), self.workshop, destination)
        ((kind, _),) = found.groups((DATABASE,))
        made = self._neo4j(kind, destination)
        if made is None:
            return "the transaction logs are gone"
        self._say(request, made)
        self._settle(spec, request, made, chains, fate)
        return "FULL" if made.full else "DIFF"

    def _neo4j(self, kind: BackupType, destination: Path) -> Artifact | None:
        kept = [one for one in self._committed() if (destination / plain_file(one)).exists()]
        parent = head([link_of(one) for one in kept if one.database_id == str(self.database_id)])
        lowest = parent.highest_tx + 1 if parent else 1
        if kind != "FULL" and parent is not None and self.oldest_log > lowest and lowest <= self.last_tx:
            parent = None
        if kind == "DIFF" and parent is None:
            return None
        full = kind == "FULL" or parent is None
        empty = not full and self.last_tx < lowest
        moment = START + timedelta(minutes=self.minutes)
        made = Artifact(
            database=DATABASE,
            file=f"{DATABASE}-{moment:%Y-%m-%dT%H-%M-%S}.backup",
            size=10 + self.minutes,
            database_id=str(self.database_id),
            full=full,
            lowest_tx=1 if full else 0 if empty else lowest,
            highest_tx=0 if empty else self.last_tx,
        )
        (destination / made.file).write_bytes(b"x" * made.size)
        return made

    def _committed(self) -> list[StoredArtifact]:
        return [item.artifact for items in by_database(self.runs).values() for item in items]

    def _say(self, request: BackupRequest, made: Artifact) -> None:
        status = AgentStatus(
            run_id=request.run_id,
            state=RunState.SUCCEEDED,
            neo4j_version=str(self.version),
            artifacts=(made,),
        )
        self.journal.write_status(status)

    def _settle(
        self, spec: RunSpec, request: BackupRequest, made: Artifact, chains: OpenChains, fate: Fate
    ) -> None:
        if fate == "not committed":
            self._release(ReleaseRequest(run_id=request.run_id))
            return
        self._commit(made, chains)
        self.undisturbed = spec.type != "FULL" or (self.undisturbed and not made.full)
        if fate == "committed":
            is_kept = spec.type != "FULL"
            self._release(
                ReleaseRequest(
                    run_id=request.run_id,
                    committed=(made.file,),
                    chain="ns.nightly",
                    open=(DATABASE,) if is_kept else (),
                )
            )

    def _release(self, request: ReleaseRequest) -> None:
        assert end_run(request, self.places) == 0

    def _commit(self, made: Artifact, chains: OpenChains) -> None:
        parent = None if made.full else chains.open[DATABASE].parent
        overlap = capabilities(self.version).first_diff_may_overlap
        assert parent is None or continues(link_of(made), link_of(parent), may_overlap=overlap)
        run_id = f"{self.minutes:08}-1111-2222-3333-444444444444"
        chain = parent.chain if parent else layout.new_chain(made.file, run_id)
        stored = StoredArtifact(
            database=DATABASE,
            key=layout.artifact(DATABASE, chain, made.file),
            size=made.size,
            sha256="",
            chain=chain,
            parent_chain=parent.chain if parent else "",
            full=made.full,
            database_id=made.database_id,
            lowest_tx=made.lowest_tx,
            highest_tx=made.highest_tx,
        )
        moment = START + timedelta(minutes=self.minutes)
        self.sizes[stored.key] = stored.size
        self.runs.append(
            RunManifest(
                run_id=run_id,
                namespace="ns",
                backup="nightly",
                backup_uid="uid",
                generation=1,
                spec_digest="",
                deployment="graph",
                outcome=Outcome.SUCCEEDED,
                started=moment,
                finished=moment,
                requested_type="AUTO",
                artifacts=(stored,),
            )
        )

    # --- what must be true ---------------------------------------------------------------------

    def newest_restores_to(self) -> tuple[str, int]:
        """Database id and last transaction of a restore of the newest run; every transaction once."""
        items = by_database(self.runs)[DATABASE]
        way = lineage(items[-1], items[:-1])
        assert way, "the newest backup has no way to a FULL one"
        covered = 0
        for item in way:
            if not item.is_empty:
                assert item.artifact.lowest_tx <= covered + 1, "transactions are missing"
                covered = item.artifact.highest_tx
        assert {item.artifact.database_id for item in way} == {items[-1].artifact.database_id}
        needed = [item for item in way if not item.is_empty]  # an empty one holds nothing to restore
        assert all(item.artifact.key in self.sizes for item in needed), "a part of it is not stored"
        return items[-1].artifact.database_id, covered
