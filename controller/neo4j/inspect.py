"""What ``neo4j-admin backup inspect`` prints, parsed.

Guarantee: columns are found by the header's names, so releases that add columns, or that write
``TIME`` for ``TIME (UTC)``, parse alike; lines that are no row of the table (JVM warnings, the verbose
header) are ignored; order is never relied on. Non-guarantee: without ``--show-metadata`` old releases
print file names only, and that is an empty result here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from controller.neo4j.quantity import parse_count


@dataclass(frozen=True, slots=True)
class Inspected:
    """The header of one artifact."""

    file: str
    """File name without its directory."""
    database: str
    database_id: str
    time: str
    full: bool
    compressed: bool
    lowest_tx: int
    highest_tx: int
    recovered: bool | None = None
    """``None`` where this release does not say (before 2025.06)."""
    store_id_hash: str = ""

    @property
    def is_empty(self) -> bool:
        """A differential artifact that holds no transaction."""
        return not self.full and self.highest_tx == 0


def parse_inspect(output: str) -> list[Inspected]:
    """Every complete row of every table in ``output``."""
    return [row for row in map(_row, _records(output)) if row is not None]


def _records(output: str) -> Iterator[dict[str, str]]:
    header: list[str] = []
    for line in output.splitlines():
        cells = _cells(line)
        if "FILE" in cells and "DATABASE" in cells:
            header = cells
        elif header and len(cells) == len(header):
            yield dict(zip(header, cells, strict=True))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _row(record: dict[str, str]) -> Inspected | None:
    try:
        return Inspected(
            file=_file_name(record["FILE"]),
            database=record["DATABASE"],
            database_id=record["DATABASE ID"],
            time=record["TIME (UTC)"] if "TIME (UTC)" in record else record["TIME"],
            full=_boolean(record["FULL"]),
            compressed=_boolean(record["COMPRESSED"]),
            lowest_tx=parse_count(record["LOWEST TX"]),
            highest_tx=parse_count(record["HIGHEST TX"]),
            recovered=_boolean(record["RECOVERED"]) if "RECOVERED" in record else None,
            store_id_hash=record.get("STORE ID HASH", ""),
        )
    except (KeyError, ValueError):
        return None


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _file_name(location: str) -> str:
    """FILE is a URI from ``backup inspect`` and a plain path from ``--inspect-path``."""
    path = unquote(urlsplit(location).path) if "://" in location or location.startswith("file:") else location
    return path.rstrip("/").rpartition("/")[2]
