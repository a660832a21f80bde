"""``SHOW DATABASES`` as ``cypher-shell --format plain`` prints it.

Guarantee: columns are found by name; quoted text may hold commas, quotes and line breaks; rows that
do not fit the header are dropped rather than misread. ``address`` is the Bolt address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from controller.neo4j.names import normalise
from controller.neo4j.quantity import parse_count

_HEADER = re.compile(r"^(?=.*\bcurrentStatus\b)name,.*$\n?", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class HostedDatabase:
    """One database on one hosting server."""

    name: str
    type: str
    address: str
    role: str
    writer: bool
    requested_status: str
    current_status: str
    status_message: str = ""
    database_id: str = ""
    last_committed_tx: int | None = None
    replication_lag: int | None = None

    @property
    def can_be_backed_up(self) -> bool:
        """Online and physical: composite databases and aliases have nothing to copy."""
        return self.current_status == "online" and self.type in {
            "standard",
            "system",
            "graph shard",
            "property shard",
        }


def parse_topology(output: str) -> list[HostedDatabase]:
    """Every row below the line that names the columns; what stands above that line is ignored."""
    found = _HEADER.search(output)
    if not found:
        return []
    header = [name.strip() for name in found[0].split(",")]
    rows = [record for record in _records(output[found.end() :]) if len(record) == len(header)]
    return [_row(dict(zip(header, record, strict=True))) for record in rows]


def _row(cells: dict[str, str | None]) -> HostedDatabase:
    def text(column: str) -> str:
        return cells.get(column) or ""

    return HostedDatabase(
        name=normalise(text("name")),
        type=text("type"),
        address=text("address"),
        role=text("role"),
        writer=text("writer").lower() == "true",
        requested_status=text("requestedStatus"),
        current_status=text("currentStatus"),
        status_message=text("statusMessage"),
        database_id=text("databaseID"),
        last_committed_tx=_integer(text("lastCommittedTxn")),
        replication_lag=_integer(text("replicationLag")),
    )


def _integer(text: str) -> int | None:
    try:
        return parse_count(text)
    except ValueError:
        return None


def _records(output: str) -> Iterator[list[str | None]]:
    """Comma separated cells, one record a line; a line break inside quotes belongs to the text."""
    cells: list[str | None] = []
    position, end = 0, len(output)
    while position < end:
        if output[position] == '"':
            value: str | None
            value, position = _quoted(output, position + 1)
        else:
            value, position = _bare(output, position)
        cells.append(value)
        position = _skip_blanks(output, position)
        if position < end and output[position] == ",":
            position = _skip_blanks(output, position + 1)
            continue
        yield cells
        cells = []
        position = _next_line(output, position)


def _quoted(output: str, position: int) -> tuple[str, int]:
    text: list[str] = []
    while position < len(output) and output[position] != '"':
        if output[position] == "\\" and position + 1 < len(output):
            position += 1
        text.append(output[position])
        position += 1
    return "".join(text), position + 1


def _bare(output: str, position: int) -> tuple[str | None, int]:
    start = position
    while position < len(output) and output[position] not in ",\n":
        position += 1
    text = output[start:position].strip()
    return (None if text in {"NULL", "null"} else text), position


def _skip_blanks(output: str, position: int) -> int:
    while position < len(output) and output[position] in " \t\r":
        position += 1
    return position


def _next_line(output: str, position: int) -> int:
    newline = output.find("\n", position)
    return len(output) if newline < 0 else newline + 1
