"""Names of databases and of backup artifacts.

Guarantee: an artifact's file name is taken apart from the right, so database names with dashes, dots
and digits survive. Non-guarantee: the time in a file name is the client's local time; it is UTC only
because our client runs with ``TZ=UTC``, and nobody should compute an age from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ALL = "*"
SYSTEM = "system"

_DATABASE = re.compile(r"[a-z0-9.-]{1,63}")
_ARTIFACT = re.compile(r"(?P<db>[^/\0\r\n]+)-(?P<ts>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})\.backup", re.ASCII)


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
