"""Histories of backups as the real thing makes them: chains, overlaps, empty differentials, new ids."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from controller.repository.manifest import RunManifest, StoredArtifact
from controller.wire.messages import Outcome

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def run(
    number: int, artifacts: tuple[StoredArtifact, ...], *, started: datetime | None = None
) -> RunManifest:
    at = started or START + number * 24 * HOUR
    return RunManifest(
        run_id=f"run-{number:03}",
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=1,
        spec_digest="",
        deployment="graph",
        outcome=Outcome.SUCCEEDED,
        started=at,
        finished=at + HOUR,
        requested_type="AUTO",
        artifacts=artifacts,
    )


@dataclass
class Database:
    """The transactions and chains of one database, as the agents would see them."""

    name: str
    incarnation: int = 0
    last_tx: int = 5
    chain: str = ""
    chain_of_parent: str = ""
    backed_up: int = 0
    full_at: int = 0
    made: int = field(default=0)

    def full(self, *, verified: bool | None = None) -> StoredArtifact:
        self.made += 1
        self.chain = self.chain_of_parent = f"c{self.made}"
        self.backed_up = self.full_at = self.last_tx
        return self._artifact(True, 1, self.last_tx, verified)

    def diff(self, *, overlap: int = 0, verified: bool | None = None) -> StoredArtifact:
        """Continues the newest artifact; with ``overlap`` it reaches back into its full one (2026.02)."""
        self.made += 1
        if self.last_tx == self.backed_up:
            return self._artifact(False, 0, 0, verified)
        reach = overlap if self.backed_up == self.full_at else 0
        lowest = max(2, self.backed_up + 1 - reach)
        self.backed_up = self.last_tx
        return self._artifact(False, lowest, self.last_tx, verified)

    def recreate(self) -> None:
        self.incarnation += 1
        self.last_tx, self.chain = 5, ""

    def _artifact(self, full: bool, lowest: int, highest: int, verified: bool | None) -> StoredArtifact:
        return StoredArtifact(
            database=self.name,
            key=f"databases/{self.name}/{self.chain}/{self.name}-{self.made}.backup",
            size=10,
            sha256="0" * 64,
            chain=self.chain,
            parent_chain="" if full else self.chain,
            full=full,
            database_id=f"{self.name}-{self.incarnation}",
            lowest_tx=lowest,
            highest_tx=highest,
            verified=verified,
        )


@st.composite
def histories(draw: st.DrawFn, max_runs: int = 10) -> list[RunManifest]:
    """Up to three databases over some runs; not every run saves every database."""
    databases = [Database(name) for name in ("neo4j", "orders", "system")[: draw(st.integers(1, 3))]]
    runs: list[RunManifest] = []
    at = START
    for number in range(draw(st.integers(0, max_runs))):
        at += draw(st.sampled_from([HOUR, 6 * HOUR, 24 * HOUR, 24 * HOUR, 700 * HOUR]))
        artifacts = [artifact for one in databases if (artifact := draw(backups(one))) is not None]
        if artifacts:
            runs.append(run(number, tuple(artifacts), started=at))
    return runs


@st.composite
def backups(draw: st.DrawFn, database: Database) -> StoredArtifact | None:
    database.last_tx += draw(st.sampled_from([0, 0, 1, 7]))
    verified = draw(st.sampled_from([None, None, True, True, False]))
    match draw(st.sampled_from(["full", "diff", "diff", "diff", "diff", "overlap", "none", "recreate"])):
        case "none":
            return None
        case "full":
            return database.full(verified=verified)
        case "recreate":
            database.recreate()
            return database.full(verified=verified)
        case kind if database.chain:
            return database.diff(overlap=3 if kind == "overlap" else 0, verified=verified)
        case _:
            return database.full(verified=verified)
