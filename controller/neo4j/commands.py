"""Command lines of ``neo4j-admin`` and ``cypher-shell``, as argument lists.

Guarantee: an argument list is handed to the kernel as it is, never to a shell; databases come last,
because an option with several values would eat them, and are always explicit, because without any
Neo4j takes ``neo4j`` only; no list holds a secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from controller.neo4j.names import ALL, SYSTEM
from controller.neo4j.quantity import format_size
from controller.neo4j.versions import Version, capabilities

BackupType = Literal["FULL", "DIFF", "AUTO"]

TOPOLOGY_COLUMNS = (
    "name",
    "type",
    "address",
    "role",
    "writer",
    "requestedStatus",
    "currentStatus",
    "databaseID",
    "lastCommittedTxn",
    "replicationLag",
    "statusMessage",
)
"""``statusMessage`` is last because it is free text: whatever it holds spoils no other column."""


@dataclass(frozen=True, slots=True)
class Backup:
    """One call of ``neo4j-admin database backup``."""

    databases: tuple[str, ...]
    to_path: str
    temp_path: str
    type: BackupType = "AUTO"
    from_addresses: tuple[str, ...] = ("localhost:6362",)
    compress: bool = True
    page_cache: int = 0
    """Bytes; 0 leaves it to Neo4j."""
    include_metadata: str = "all"
    extra: tuple[str, ...] = ()
    """Already checked by :mod:`controller.neo4j.arguments`."""

    def argv(self, neo4j_admin: str) -> list[str]:
        if not self.databases:
            raise ValueError("a backup without database names would silently take the default one only")
        return [neo4j_admin, "database", "backup", *self._options(), *self.databases]

    def _options(self) -> list[str]:
        options = [
            f"--to-path={self.to_path}",
            f"--temp-path={self.temp_path}",
            f"--type={self.type}",
            f"--compress={str(self.compress).lower()}",
            f"--from={','.join(self.from_addresses)}",
        ]
        # the metadata of `system` cannot be used, and the manual advises a call without the flag
        if self.databases != (SYSTEM,):
            options.append(f"--include-metadata={self.include_metadata}")
        if self.page_cache:
            options.append(f"--pagecache={format_size(self.page_cache)}")
        return [*options, "--verbose", *self.extra]


def split_calls(databases: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The databases of each call: ``system`` apart from the others, ``*`` alone, duplicates dropped."""
    if not databases or ALL in databases:
        return [(ALL,)]
    names = tuple(dict.fromkeys(databases))
    others = tuple(name for name in names if name != SYSTEM)
    return [call for call in (others, (SYSTEM,) if SYSTEM in names else ()) if call]


def inspect(neo4j_admin: str, version: Version, path: str) -> list[str]:
    """Read back every artifact in ``path``, empty differential ones included."""
    show = ["--show-metadata"] if capabilities(version).inspect_needs_show_metadata else []
    return [neo4j_admin, "backup", "inspect", *show, "--empty", "--format=TABULAR", path]


def version(neo4j_admin: str) -> list[str]:
    return [neo4j_admin, "--version"]


@dataclass(frozen=True, slots=True)
class CheckPlaces:
    """What the tools that verify read and write."""

    source: str
    """For a check the directory of one FULL artifact, which every release takes; for an aggregation the
    newest artifact of the chain, with the others beside it."""
    temporary: str
    report: str
    config: str
    off_heap: int
    """Bytes. Neo4j's own default is nearly all of the machine's memory, whatever the container may use."""


def aggregate(neo4j_admin: str, version: Version, places: CheckPlaces) -> list[str]:
    """One FULL artifact of a chain, beside it. The chain is kept: removing it is Neo4j's default."""
    words = (
        ("backup", "aggregate")
        if capabilities(version).backup_aggregate
        else ("database", "aggregate-backup")
    )
    return [
        neo4j_admin,
        *words,
        f"--from-path={places.source}",
        f"--temp-path={places.temporary}",
        f"--additional-config={places.config}",
        "--keep-old-backup=true",
        "--verbose",
    ]


def check(neo4j_admin: str, database: str, places: CheckPlaces) -> list[str]:
    """Neo4j's consistency check of a recovered FULL artifact, outside of any running database."""
    return [
        neo4j_admin,
        "database",
        "check",
        f"--from-path={places.source}",
        f"--temp-path={places.temporary}",
        f"--report-path={places.report}",
        f"--additional-config={places.config}",
        f"--max-off-heap-memory={format_size(places.off_heap)}",
        "--verbose",
        database,
    ]


def show_databases(cypher_shell: str, address: str) -> list[str]:
    """``SHOW DATABASES`` with the credentials in ``NEO4J_USERNAME`` and ``NEO4J_PASSWORD``, not in here."""
    statement = f"SHOW DATABASES YIELD {', '.join(TOPOLOGY_COLUMNS)};"
    return [cypher_shell, "-a", address, "-d", "system", "--format", "plain", "--non-interactive", statement]
