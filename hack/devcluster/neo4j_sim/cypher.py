"""The statements that the simulated server understands.

Guarantee: administration commands take effect in the whole cluster; a writing statement adds exactly one
transaction, on the writer; anything else is a syntax error, never silently ignored.
Non-guarantee: there is no graph. ``CALL sim.commit(n[, bytes])`` adds ``n`` transactions and is not Neo4j's.
Nothing is seeded from a URI; that is refused.
"""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass, field, replace

from hack.devcluster.neo4j_sim import showing
from hack.devcluster.neo4j_sim.dbms import Dbms
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.showing import syntax_error
from hack.devcluster.neo4j_sim.topology import PRIMARY, SECONDARY, DatabaseEntry

_FLAGS = re.IGNORECASE | re.DOTALL
_NAME = r"(?P<name>`[^`]+`|\$?[\w.-]+)"
_PREFIX = re.compile(r"^CYPHER\s+(?:5|25)\s+", _FLAGS)
_CREATE = re.compile(
    r"^CREATE\s+(?P<kind>COMPOSITE\s+)?DATABASE\s+" + _NAME + r"(?P<lenient>\s+IF\s+NOT\s+EXISTS)?"
    r"(?:\s+TOPOLOGY\s+(?P<primaries>\d+)\s+PRIMAR(?:Y|IES)(?:\s+(?P<secondaries>\d+)\s+SECONDAR(?:Y|IES))?)?"
    r"(?:\s+OPTIONS\s*\{\s*(?P<options>.*?)\s*\})?(?:\s+(?:NO)?WAIT(?:\s+\d+\s+SECONDS)?)?$",
    _FLAGS,
)
_EXISTING_DATA = re.compile(r"^existingData\s*:\s*'use'$", _FLAGS)
_ALTER = re.compile(
    r"^(?P<verb>START|STOP|DROP)\s+(?:COMPOSITE\s+)?DATABASE\s+" + _NAME + r"(?P<lenient>\s+IF\s+EXISTS)?"
    r"(?:\s+(?:NO)?WAIT(?:\s+\d+\s+SECONDS)?)?$",
    _FLAGS,
)
_ALIAS = re.compile(r"^CREATE\s+ALIAS\s+" + _NAME + r"\s+FOR\s+DATABASE\s+`?(?P<target>[\w.-]+)`?$", _FLAGS)
_COMMIT = re.compile(r"^CALL\s+sim\.commit\(\s*(?P<count>\d+)\s*(?:,\s*(?P<bytes>\d+)\s*)?\)$", _FLAGS)
_COMPONENTS = re.compile(r"^CALL\s+dbms\.components\(\)(?:\s+YIELD\s+(?P<columns>.+))?$", _FLAGS)
_RETURN = re.compile(r"^RETURN\s+(?P<value>'[^']*'|-?\d+|true|false)(?:\s+AS\s+(?P<alias>\w+))?$", _FLAGS)
_COUNT = re.compile(
    r"^MATCH\s+\(\w*\)\s+RETURN\s+(?P<value>count\([\w*]+\))(?:\s+AS\s+(?P<alias>\w+))?$", _FLAGS
)
_WRITING = re.compile(
    r"^(CREATE|MERGE|UNWIND\b.*\bCREATE|MATCH\b.*\b(SET|DELETE|CREATE|MERGE|REMOVE))\b", _FLAGS
)

_NOTHING: Json = {"columns": [], "rows": []}


@dataclass(frozen=True, slots=True)
class Query:
    statement: str
    database: str
    parameters: Json = field(default_factory=dict)
    routed: bool = True
    """``neo4j://``: writes find the writer by themselves; with ``bolt://`` they do not."""

    @classmethod
    def from_json(cls, value: Json) -> Query:
        statement = _PREFIX.sub("", value["statement"].strip().rstrip(";").strip())
        return cls(statement, value.get("database") or "", value.get("parameters", {}), value["routed"])

    def to_json(self) -> Json:
        return {
            "statement": self.statement,
            "database": self.database,
            "parameters": self.parameters,
            "routed": self.routed,
        }

    def name(self, match: re.Match[str]) -> str:
        given = match["name"]
        if given.startswith("$"):
            given = str(self.parameters[given[1:]])
        return given.strip("`").lower()


def execute(dbms: Dbms, version: str, query: Query) -> Json:
    """Raises ServerError."""
    database = query.database.lower() or dbms.settings.get("initial.dbms.default_database", "neo4j")
    _require_database(dbms, database)
    if match := showing.SHOW.match(query.statement):
        return showing.show(dbms, version, match, query.parameters)
    if _CREATE.match(query.statement) or _ALTER.match(query.statement) or _ALIAS.match(query.statement):
        return _on_writer(dbms, "system", query) or _administer(dbms, query)
    if match := _COMPONENTS.match(query.statement):
        return _project(
            match["columns"], {"name": "Neo4j Kernel", "versions": [version], "edition": "enterprise"}
        )
    if match := _RETURN.match(query.statement):
        return {"columns": [match["alias"] or match["value"]], "rows": [[_literal(match["value"])]]}
    return _data(dbms, database, query)


def _data(dbms: Dbms, database: str, query: Query) -> Json:
    entry = dbms.catalogue.current.find(database)
    if match := _COUNT.match(query.statement):
        replica = dbms.replicas.get(entry.name) if entry else None
        count = replica.last_tx() if replica else 0
        return {"columns": [match["alias"] or match["value"]], "rows": [[count]]}
    match = _COMMIT.match(query.statement)
    if match is None and not _WRITING.match(query.statement):
        raise syntax_error(query.statement)
    if entry is None or entry.requested != "online":
        raise _unavailable(database)
    forwarded = _on_writer(dbms, entry.name, query)
    if forwarded:
        return forwarded
    replica = dbms.replicas[entry.name]
    for _ in range(int(match["count"]) if match else 1):
        replica.commit("" if match else query.statement, int(match["bytes"] or 0) if match else 0)
    return _NOTHING


def _project(columns: str | None, row: Json) -> Json:
    names = [name.strip() for name in columns.split(",")] if columns else list(row)
    return {"columns": names, "rows": [[row[name] for name in names]]}


def _literal(text: str) -> str | int | bool:
    if text.startswith("'"):
        return text.strip("'")
    return text.lower() == "true" if text.isalpha() else int(text)


def _require_database(dbms: Dbms, name: str) -> None:
    if dbms.catalogue.current.find(name) is None:
        raise ServerError(
            "Neo.ClientError.Database.DatabaseNotFound",
            f"Unable to get a routing table for database '{name}' because this database does not exist",
        )


def _unavailable(name: str) -> ServerError:
    return ServerError(
        "Neo.TransientError.General.DatabaseUnavailable",
        f"Unable to get a routing table for database '{name}' because this database is unavailable",
    )


def _on_writer(dbms: Dbms, database: str, query: Query) -> Json | None:
    """The writer's answer; None when this server is the writer."""
    entry = dbms.catalogue.current.find(database)
    writer = dbms.writer_of(entry) if entry else None
    if writer is None:
        raise ServerError(
            "Neo.ClientError.Cluster.NotALeader", f"No write server of '{database}' is available."
        )
    if writer == dbms.own.name:
        return None
    if not query.routed:
        raise ServerError(
            "Neo.ClientError.Cluster.NotALeader",
            "No write operations are allowed directly on this database. Writes must pass through the leader. "
            "The role of this server is: FOLLOWER",
        )
    try:
        answer = dbms.peers[writer].request({"op": "execute", **query.to_json()})
    except OSError as error:
        raise _unavailable(database) from error
    if "error" in answer:
        raise ServerError(answer["error"], answer["message"])
    return answer


# --- administration ------------------------------------------------------------------------------


def _administer(dbms: Dbms, query: Query) -> Json:
    if match := _CREATE.match(query.statement):
        _create(dbms, query.name(match), match)
    elif match := _ALTER.match(query.statement):
        _alter(dbms, query.name(match), match)
    elif match := _ALIAS.match(query.statement):
        alias, target = query.name(match), match["target"].lower()
        _require_database(dbms, target)
        current = dbms.catalogue.current
        aliases = (*current.aliases, (alias, target))
        dbms.change(replace(current, version=current.version + 1, aliases=aliases))
    return _NOTHING


def _create(dbms: Dbms, name: str, match: re.Match[str]) -> None:
    current = dbms.catalogue.current
    if match["options"] and not _EXISTING_DATA.match(match["options"]):
        # A seed that is not fetched would be an empty database where a restored one was asked for.
        raise ServerError(
            "Neo.ClientError.Statement.NotImplemented",
            f"The simulation knows only existingData: 'use', not OPTIONS {{{match['options']}}}",
        )
    if current.find(name):
        if match["lenient"]:
            return
        raise ServerError(
            "Neo.ClientError.Database.ExistingDatabaseFound",
            f"Failed to create the specified database '{name}': Database already exists.",
        )
    if match["kind"]:
        entry = DatabaseEntry(name=name, id=str(uuid.uuid4()), type="composite")
    else:
        entry = _fresh(dbms, name, int(match["primaries"] or 1), int(match["secondaries"] or 0))
    dbms.change(current.with_database(entry))


def _fresh(dbms: Dbms, name: str, primaries: int, secondaries: int) -> DatabaseEntry:
    can_lead = [server.name for server in dbms.topology.servers if server.mode != "SECONDARY"]
    # The server that executes the statement comes first: what was restored offline there is found by it.
    leading = sorted(can_lead, key=lambda server: server != dbms.own.name)[:primaries]
    others = [server.name for server in dbms.topology.servers if server.name not in leading]
    others.sort(key=lambda server: server in can_lead)
    if len(leading) < primaries or len(others) < secondaries:
        raise ServerError(
            "Neo.ClientError.Database.IllegalAliasChain",
            f"Failed to create database '{name}': not enough servers for the requested topology.",
        )
    hosts = [(server, PRIMARY) for server in leading]
    hosts += [(server, SECONDARY) for server in others[:secondaries]]
    return DatabaseEntry(
        name=name, id=str(uuid.uuid4()), hosts=tuple(hosts), store_bytes=50_000, initial_tx=1
    )


def _alter(dbms: Dbms, name: str, match: re.Match[str]) -> None:
    current = dbms.catalogue.current
    entry = current.find(name)
    if entry is None:
        if match["lenient"]:
            return
        raise ServerError(
            "Neo.ClientError.Database.DatabaseNotFound",
            f"Failed to {match['verb'].lower()} the specified database '{name}': Database does not exist.",
        )
    if entry.type == "system":
        raise ServerError(
            "Neo.ClientError.Statement.AccessMode",
            f"Failed to {match['verb'].lower()} the specified database '{name}': not permitted.",
        )
    if match["verb"].upper() == "DROP":
        dbms.change(current.without(entry.name))
    else:
        requested = "online" if match["verb"].upper() == "START" else "offline"
        dbms.change(current.with_database(replace(entry, requested=requested)))
