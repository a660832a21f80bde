"""Names of databases and of backup artifacts.

Guarantee: an artifact's file name is taken apart from the right, so database names with dashes, dots
and digits survive. Non-guarantee: the time in a file name is the client's local time; it is UTC only
because our client runs with ``TZ=UTC``, and nobody should compute an age from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from controller.neo4j.versions import Version

ALL = "*"
SYSTEM = "system"

_DATABASE = re.compile(r"[a-z0-9.-]{1,63}")
_ARTIFACT = re.compile(r"(?P<db>[^/\0\r\n]+)-(?P<ts>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})\.backup", re.ASCII)
_PROPERTY_SHARD = re.compile(r"-p\d{3,}$")
_SHARD = re.compile(r"-[gp]\d{3,}$")


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """``<database>-<timestamp>.backup``, taken apart."""

    database: str
    timestamp: str

    def __str__(self) -> str:
        return f"{self.database}-{self.timestamp}.backup"


def parse_artifact(file_name: str) -> ArtifactName | None:
    """``None`` for everything that is not an artifact: failed leftovers, dumps, directories."""
    match = _ARTIFACT.fullmatch(file_name)
    return ArtifactName(match["db"], match["ts"]) if match else None


def is_property_shard(database: str, version: Version) -> bool:
    """Whether this is ``foo-p000``, the physical name that a sharded property database gives its shards.

    Before 2025.12 there are no such databases, and the name is like any other.
    """
    return version.at_least(2025, 12) and bool(_PROPERTY_SHARD.search(normalise(database)))


def is_shard(database: str, version: Version) -> bool:
    """The same for property and graph shards (``foo-g000``)."""
    return version.at_least(2025, 12) and bool(_SHARD.search(normalise(database)))


def normalise(database: str) -> str:
    """Neo4j's database names are case-insensitive and stored in lower case."""
    return database.strip().lower()


def refusal(database: str) -> str:
    """Why ``database`` cannot be backed up by this exact name; empty when it can, or is ``*``.

    Patterns other than ``*`` are refused on purpose: in Neo4j ``sales*`` matches ``salesdata`` but not
    ``sales``, and it would take in databases made later that nobody meant.
    """
    name = normalise(database)
    if name == ALL or _DATABASE.fullmatch(name):
        return ""
    if "*" in name or "?" in name:
        return f"database {database!r} is a pattern: write exact names, or * for every database"
    return (
        f"{database!r} is no database name: write 1 to 63 letters, digits, dots and dashes, "
        "the name of a database and not of an alias"
    )
