"""What a run knows so far: saved, missing and why, tried where.

Guarantee: a database that was saved is not missing, whatever failed on other servers before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.plan.source import EVERYTHING
from controller.repository.manifest import MissingDatabase, StoredArtifact
from controller.runner.dump import Harvest


@dataclass(slots=True)
class Tally:
    """What is known so far."""

    saved: dict[str, StoredArtifact] = field(default_factory=dict)
    reasons: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    tried: dict[str, set[str]] = field(default_factory=dict)
    unsound: dict[str, str] = field(default_factory=dict)
    """Databases of which a server's artifact did not stand verification; another's may have."""
    neo4j_version: str = ""
    transport: str = "tls"

    def add(self, harvest: Harvest) -> None:
        for artifact in harvest.saved:
            self.saved[artifact.database] = artifact
        for one in harvest.missing:
            self.reasons.setdefault(one.database, []).append(one.reason)
        self.warnings += harvest.warnings
        self.unsound |= harvest.unsound
        self.neo4j_version = harvest.neo4j_version or self.neo4j_version
        self.transport = "exec" if harvest.transport == "exec" else self.transport

    def missing(self) -> tuple[MissingDatabase, ...]:
        return tuple(
            MissingDatabase(database=name, reason="; ".join(reasons))
            for name, reasons in sorted(self.reasons.items())
            if name not in self.saved and not (name == EVERYTHING and self.saved)
        )
