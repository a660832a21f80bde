"""``SHOW DATABASES`` and ``SHOW SERVERS``, with ``YIELD``, ``WHERE``, ``ORDER BY`` and ``RETURN``.

Guarantee: one row for every database and hosting server; columns, their order and their defaults by version;
a server that does not answer shows as Neo4j shows it.
Non-guarantee: conditions are comparisons joined with AND, nothing more.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hack.devcluster.neo4j_sim.dbms import Dbms
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.protocol import BOLT_PORT, HTTP_PORT, Json
from hack.devcluster.neo4j_sim.topology import DatabaseEntry
from hack.devcluster.neo4j_sim.versions import at_least, parse_version

_DATABASE_DEFAULTS = [
    "name",
    "type",
    "aliases",
    "access",
    "address",
    "role",
    "writer",
    "requestedStatus",
    "currentStatus",
    "statusMessage",
    "default",
    "home",
    "constituents",
]
_DATABASE_MORE = [
    "databaseID",
    "serverID",
    "currentPrimariesCount",
    "currentSecondariesCount",
    "requestedPrimariesCount",
    "requestedSecondariesCount",
    "creationTime",
    "lastStartTime",
    "lastStopTime",
    "store",
    "lastCommittedTxn",
    "replicationLag",
    "options",
]
_SHARD_COLUMNS = [
    "shardTxnLag",
    "graphShards",
    "propertyShards",
    "currentPropertyShardReplicas",
    "requestedPropertyShardReplicas",
]
_SERVER_DEFAULTS = ["name", "address", "state", "health", "hosting"]
_SERVER_MORE = [
    "serverId",
    "httpAddress",
    "httpsAddress",
    "requestedHosting",
    "tags",
    "allowedDatabases",
    "deniedDatabases",
    "modeConstraint",
    "version",
]

SHOW = re.compile(
    r"^SHOW\s+(?P<what>DATABASES?|SERVERS?)"
    r"(?:\s+(?!(?:YIELD|WHERE)\b)(?P<name>`[^`]+`|\$?[\w.-]+))?"
    r"(?:\s+YIELD\s+(?P<columns>.+?))?(?:\s+ORDER\s+BY\s+(?P<order>.+?))?"
    r"(?:\s+WHERE\s+(?P<where>.+?))?(?:\s+RETURN\s+(?P<returned>.+?))?$",
    re.IGNORECASE | re.DOTALL,
)
_CONDITION = re.compile(
    r"^(?P<column>\w+)\s*(?:(?P<operator>=|<>|IN)\s*(?P<value>.+))?$", re.IGNORECASE | re.DOTALL
)
_LITERAL = re.compile(r"'([^']*)'|\"([^\"]*)\"|([\w.+-]+)")


def syntax_error(text: str) -> ServerError:
    return ServerError("Neo.ClientError.Statement.SyntaxError", f"Invalid input '{text}'")


# --- rows ----------------------------------------------------------------------------------------


def _database_columns(version: str) -> tuple[list[str], list[str]]:
    number = parse_version(version)
    more = list(_DATABASE_MORE)
    if at_least(number, 2025, 6):
        more.append("defaultLanguage")
    if at_least(number, 2025, 12):
        more.extend(_SHARD_COLUMNS)
    return _DATABASE_DEFAULTS, [*_DATABASE_DEFAULTS, *more]


def database_rows(dbms: Dbms) -> list[Json]:
    rows: list[Json] = []
    for entry in sorted(dbms.catalogue.current.databases, key=lambda entry: entry.name):
        if entry.type == "composite":
            rows.append(_composite_row(dbms, entry))
        else:
            rows.extend(_hosted_rows(dbms, entry))
    return rows


def _common(dbms: Dbms, entry: DatabaseEntry) -> Json:
    modes = [mode for _, mode in entry.hosts]
    default = entry.name == dbms.settings.get("initial.dbms.default_database", "neo4j")
    return {
        "name": entry.name,
        "type": entry.type,
        "aliases": [alias for alias, target in dbms.catalogue.current.aliases if target == entry.name],
        "access": "read-write",
        "requestedStatus": entry.requested,
        "statusMessage": "",
        "default": default,
        "home": default,
        "constituents": list(entry.constituents),
        "databaseID": entry.id,
        "currentPrimariesCount": modes.count("primary"),
        "currentSecondariesCount": modes.count("secondary"),
        "requestedPrimariesCount": modes.count("primary"),
        "requestedSecondariesCount": modes.count("secondary"),
        "creationTime": "2026-01-01T00:00:00Z",
        "lastStartTime": "2026-01-01T00:00:00Z",
        "options": {},
        "defaultLanguage": "CYPHER 5",
    }


def _composite_row(dbms: Dbms, entry: DatabaseEntry) -> Json:
    return _common(dbms, entry) | {
        "address": f"{dbms.own.address}:{BOLT_PORT}",
        "serverID": dbms.own.id,
        "writer": False,
        "currentStatus": entry.requested,
    }


def _hosted_rows(dbms: Dbms, entry: DatabaseEntry) -> list[Json]:
    known = {server: dbms.database_on(server, entry.name) for server, _ in entry.hosts}
    newest = max((status["lastTx"] for status in known.values() if status), default=0)
    writer = dbms.writer_of(entry)
    rows = []
    for server, mode in entry.hosts:
        row = _common(dbms, entry) | _place(dbms, server)
        status = known[server]
        if dbms.is_reachable(server):
            row |= {"role": mode, "writer": server == writer, "currentStatus": _status(entry, status)}
            if status and status["open"]:
                row["store"] = "block-block-1.1"
                row["lastCommittedTxn"] = status["lastTx"]
                row["replicationLag"] = status["lastTx"] - newest
        rows.append(row)
    return rows


def _status(entry: DatabaseEntry, status: Json | None) -> str:
    if entry.requested == "offline":
        return "offline"
    return "online" if status and status["open"] else "starting"


def _place(dbms: Dbms, server: str) -> Json:
    """Where, and for a server that does not answer, how that is shown."""
    found = dbms.topology.server(server)
    reachable = dbms.is_reachable(server)
    return {
        "serverID": found.id if found else None,
        "address": f"{found.address}:{BOLT_PORT}" if found and reachable else None,
        "role": "unknown",
        "writer": False,
        "currentStatus": "unknown",
        "statusMessage": "" if reachable else "Server is unavailable",
    }


def server_rows(dbms: Dbms, version: str) -> list[Json]:
    rows = []
    for server in dbms.topology.servers:
        hosted = [entry.name for entry in dbms.catalogue.current.databases if entry.mode_on(server.name)]
        reachable = dbms.is_reachable(server.name)
        rows.append(
            {
                "name": server.id,
                "address": f"{server.address}:{BOLT_PORT}",
                "state": "Enabled",
                "health": "Available" if reachable else "Unavailable",
                "hosting": hosted if reachable else [],
                "serverId": server.id,
                "httpAddress": f"{server.address}:{HTTP_PORT}",
                "requestedHosting": hosted,
                "tags": [],
                "allowedDatabases": [],
                "deniedDatabases": [],
                "modeConstraint": server.mode,
                "version": version if reachable else None,
            }
        )
    return rows


# --- clauses -------------------------------------------------------------------------------------


def show(dbms: Dbms, version: str, match: re.Match[str], parameters: Json) -> Json:
    if match["what"].upper().startswith("SERVER"):
        defaults, known = _SERVER_DEFAULTS, [*_SERVER_DEFAULTS, *_SERVER_MORE]
        rows = server_rows(dbms, version)
    else:
        defaults, known = _database_columns(version)
        rows = database_rows(dbms)
        if match["name"]:
            name = str(parameters.get(match["name"][1:], match["name"])).strip("`").lower()
            rows = [row for row in rows if row["name"] == name]
    if match["order"] and match["columns"]:
        rows = _ordered(rows, match["order"], known)
    for condition in re.split(r"\s+AND\s+", match["where"] or "", flags=re.IGNORECASE):
        if condition:
            keep = _predicate(condition.strip(), known)
            rows = [row for row in rows if keep(row)]
    items = _items(match["columns"] or ", ".join(defaults), known)
    if match["returned"]:
        renamed = {alias: column for column, alias in items}
        items = [(renamed[column], alias) for column, alias in _items(match["returned"], list(renamed))]
    return {
        "columns": [alias for _, alias in items],
        "rows": [[row.get(c) for c, _ in items] for row in rows],
    }


def _items(text: str, known: Sequence[str]) -> list[tuple[str, str]]:
    """(column, name shown) for each item of YIELD or RETURN."""
    if text.strip() == "*":
        return [(column, column) for column in known]
    found = []
    for item in text.split(","):
        column, *alias = re.split(r"\s+AS\s+", item.strip(), flags=re.IGNORECASE)
        _require(column, known)
        found.append((column, alias[0] if alias else column))
    return found


def _require(column: str, known: Sequence[str]) -> None:
    if column not in known:
        raise ServerError("Neo.ClientError.Statement.SyntaxError", f"Variable `{column}` not defined")


def _ordered(rows: list[Json], text: str, known: Sequence[str]) -> list[Json]:
    for item in reversed(text.split(",")):
        column, *direction = item.split()
        _require(column, known)
        descending = bool(direction) and direction[0].upper().startswith("DESC")
        rows = sorted(rows, key=lambda row: (row.get(column) is None, row.get(column)), reverse=descending)
    return rows


def _predicate(text: str, known: Sequence[str]) -> Callable[[Json], bool]:
    negated = text.upper().startswith("NOT ")
    match = _CONDITION.match(text[4:].strip() if negated else text)
    if match is None:
        raise syntax_error(text)
    _require(match["column"], known)
    values = [_value(found) for found in _LITERAL.finditer(match["value"] or "true")]
    different = match["operator"] == "<>"
    return lambda row: (row.get(match["column"]) in values) != (negated or different)


def _value(match: re.Match[str]) -> Any:
    single, double, word = match.groups()
    if word is None:
        return single if single is not None else double
    if word.lower() in ("true", "false"):
        return word.lower() == "true"
    return int(word) if word.lstrip("-").isdigit() else word
