"""``neo4j-admin backup inspect``, and the older ``database backup --inspect-path``.

Guarantee: the columns are those of the version; metadata needs ``--show-metadata`` before 2025.07.
Non-guarantee: the key names of ``--format=JSON`` are documented nowhere; these are ours. Row order is no
part of the contract of the real tool either.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from hack.devcluster.neo4j_sim import artifact, chain
from hack.devcluster.neo4j_sim.chain import Artifact, NoChain
from hack.devcluster.neo4j_sim.console import Console
from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.picocli import UsageError
from hack.devcluster.neo4j_sim.versions import Version, at_least

Row = dict[str, str | bool | int]

_JSON_KEYS = {
    "FILE": "file",
    "DATABASE": "database",
    "DATABASE ID": "databaseId",
    "TIME (UTC)": "time",
    "TIME": "time",
    "FULL": "full",
    "COMPRESSED": "compressed",
    "LOWEST TX": "lowestTransactionId",
    "HIGHEST TX": "highestTransactionId",
    "STORE ID HASH": "storeIdHash",
    "RECOVERED": "recovered",
}


def _row(item: Artifact, version: Version, time_column: str) -> Row:
    header = item.header
    row: Row = {
        "FILE": item.path.absolute().as_uri(),
        "DATABASE": header.name,
        "DATABASE ID": header.id,
        time_column: header.time,
        "FULL": header.full,
        "COMPRESSED": header.compressed,
        "LOWEST TX": header.lowest,
        "HIGHEST TX": header.highest,
    }
    if at_least(version, 2025, 9):
        row["STORE ID HASH"] = header.store_id
    if at_least(version, 2025, 6):
        row["RECOVERED"] = header.recovered
    return row


def _cell(value: str | bool | int) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def table(rows: Sequence[Row]) -> str:
    """Right-aligned, one line a row, the header first, no rule below it."""
    lines = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    )


def _read(path: Path) -> tuple[list[Artifact], Artifact | None]:
    """All artifacts of the folder, and the one that the path itself names."""
    if path.is_dir():
        for file in path.glob("*.backup"):
            _header(file)
        return chain.scan(path), None
    if not path.exists():
        raise CommandFailed(f"Path '{path}' does not exist.")
    return chain.scan(path.parent), Artifact(path, _header(path))


def _header(file: Path) -> artifact.Header:
    try:
        return artifact.read_header(file)
    except artifact.Corrupt as error:
        raise CommandFailed(f"Failed to read backup file '{file}': {error}") from error


def _latest_of_each(items: Sequence[Artifact]) -> list[Artifact]:
    newest = {item.header.name: item for item in sorted(items, key=lambda item: item.age_key)}
    return sorted(newest.values(), key=lambda item: item.path.name, reverse=True)


def _select(console: Console, path: Path) -> list[Artifact]:
    parsed, version = console.parsed, console.installation.version
    artifacts, named = _read(path)
    database = parsed.value("--database").lower()
    if parsed.flag("--latest-chain"):
        try:
            found = (
                chain.chain_to(named, artifacts, version)
                if named
                else chain.latest_chain(database, artifacts, version)
            )
        except NoChain as error:
            raise CommandFailed(str(error)) from error
        return found if at_least(version, 2025, 1) else found[::-1]
    shown = [named] if named else artifacts
    shown = [item for item in shown if parsed.flag("--empty") or named or not item.header.empty]
    shown = [item for item in shown if not database or item.header.name == database]
    return _latest_of_each(shown) if parsed.flag("--latest-backup") else shown


def run(console: Console) -> int:
    """Raises UsageError, CommandFailed."""
    parsed = console.parsed
    path = Path(parsed.positionals[0])
    if parsed.flag("--latest-backup") and parsed.flag("--latest-chain"):
        raise UsageError("Error: --latest-backup, --latest-chain are mutually exclusive (specify only one)")
    if parsed.flag("--latest-chain") and path.is_dir() and not parsed.value("--database"):
        raise UsageError("--latest-chain requires --database when the path is a directory")
    version = console.installation.version
    rows = [_row(item, version, "TIME (UTC)") for item in _select(console, path)]
    if not at_least(version, 2025, 7) and not parsed.flag("--show-metadata"):
        rows = [{"FILE": row["FILE"]} for row in rows]
    _print(console, rows)
    return 0


def _print(console: Console, rows: Sequence[Row]) -> None:
    if console.parsed.value("--format", "TABULAR").upper() == "JSON":
        console.say(json.dumps([{_JSON_KEYS[name]: cell for name, cell in row.items()} for row in rows]))
    elif rows:
        console.say(table(rows))


def legacy(console: Console, path: Path) -> int:
    artifacts, named = _read(path)
    rows = [_row(item, console.installation.version, "TIME") for item in ([named] if named else artifacts)]
    if rows:
        console.say(table(rows))
    return 0
