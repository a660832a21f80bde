"""The simulated DBMS as data: servers, databases, where each is hosted and in which mode.

Guarantee: the document that describes it round-trips; every server that reads the same document sees the
same database ids. Non-guarantee: nothing checks that a document describes something Neo4j could build.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from hack.devcluster.neo4j_sim.protocol import Json

_NAMESPACE = uuid.UUID("6f1f5d0e-8f0b-4d7e-9a57-7b0f4a1c5d10")
PRIMARY = "primary"
SECONDARY = "secondary"


def stable_id(text: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, text))


@dataclass(frozen=True, slots=True)
class ServerEntry:
    name: str
    address: str
    id: str
    mode: str = "NONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseEntry:
    """One database, as the system database knows it."""

    name: str
    id: str
    type: str = "standard"
    requested: str = "online"
    hosts: tuple[tuple[str, str], ...] = ()
    """(server, mode) in the order in which primaries are preferred as the writer."""
    store_bytes: int = 1_000_000
    initial_tx: int = 10
    tx_bytes: int = 1_000
    tx_per_second: float = 0.0
    retain_tx: int = 0
    """How many transactions the log goes back; 0 means that nothing is pruned."""
    lag: tuple[tuple[str, int], ...] = ()
    """Transactions that a server stays behind the writer."""
    constituents: tuple[str, ...] = ()
    restored: bool = False
    """The content came from a backup on one server; the others copy it instead of making their own."""

    def mode_on(self, server: str) -> str | None:
        return dict(self.hosts).get(server)

    def lag_of(self, server: str) -> int:
        return dict(self.lag).get(server, 0)

    def primaries(self) -> list[str]:
        return [server for server, mode in self.hosts if mode == PRIMARY]

    def to_json(self) -> Json:
        return {
            "name": self.name,
            "id": self.id,
            "type": self.type,
            "status": self.requested,
            "hosts": dict(self.hosts),
            "storeBytes": self.store_bytes,
            "initialTx": self.initial_tx,
            "bytesPerTx": self.tx_bytes,
            "txPerSecond": self.tx_per_second,
            "retainTx": self.retain_tx,
            "lag": dict(self.lag),
            "constituents": list(self.constituents),
            "restored": self.restored,
        }


def database_from_json(value: Json, servers: tuple[ServerEntry, ...], cluster: str) -> DatabaseEntry:
    name = str(value["name"]).lower()
    kind = value.get("type") or ("system" if name == "system" else "standard")
    hosts = value.get("hosts") or {server.name: PRIMARY for server in servers}
    writer = value.get("writer")
    ordered = sorted(hosts.items(), key=lambda item: item[0] != writer) if writer else list(hosts.items())
    return DatabaseEntry(
        name=name,
        id=value.get("id") or stable_id(f"{cluster}/{name}"),
        type=kind,
        requested=value.get("status", "online"),
        hosts=tuple(ordered),
        store_bytes=int(value.get("storeBytes", 200_000 if name == "system" else 1_000_000)),
        initial_tx=max(1, int(value.get("initialTx", 10))),
        tx_bytes=int(value.get("bytesPerTx", 1_000)),
        tx_per_second=float(value.get("txPerSecond", 0)),
        retain_tx=int(value.get("retainTx", 0)),
        lag=tuple((value.get("lag") or {}).items()),
        constituents=tuple(value.get("constituents") or ()),
        restored=bool(value.get("restored")),
    )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What the system database holds. A higher version wins between servers."""

    version: int
    databases: tuple[DatabaseEntry, ...]
    aliases: tuple[tuple[str, str], ...] = ()

    def find(self, name: str) -> DatabaseEntry | None:
        target = dict(self.aliases).get(name.lower(), name.lower())
        return next((entry for entry in self.databases if entry.name == target), None)

    def with_database(self, entry: DatabaseEntry) -> Catalogue:
        others = tuple(known for known in self.databases if known.name != entry.name)
        return replace(self, version=self.version + 1, databases=(*others, entry))

    def without(self, name: str) -> Catalogue:
        return replace(
            self,
            version=self.version + 1,
            databases=tuple(entry for entry in self.databases if entry.name != name),
            aliases=tuple(alias for alias in self.aliases if name not in alias),
        )

    def to_json(self) -> Json:
        return {
            "version": self.version,
            "databases": [entry.to_json() for entry in self.databases],
            "aliases": [{"name": name, "database": target} for name, target in self.aliases],
        }


@dataclass(frozen=True, slots=True)
class Topology:
    """The document. ``pull_seconds`` is how often a follower asks the writer for news."""

    name: str
    servers: tuple[ServerEntry, ...]
    catalogue: Catalogue
    pull_seconds: float = 0.5

    def server(self, name: str) -> ServerEntry | None:
        return next((server for server in self.servers if server.name == name), None)


def catalogue_from_json(value: Json, servers: tuple[ServerEntry, ...], cluster: str) -> Catalogue:
    return Catalogue(
        int(value.get("version", 1)),
        tuple(database_from_json(item, servers, cluster) for item in value["databases"]),
        tuple((alias["name"], alias["database"]) for alias in value.get("aliases", ())),
    )


def topology_from_json(value: Json) -> Topology:
    cluster = str(value.get("name", "neo4j"))
    servers = tuple(
        ServerEntry(
            item["name"],
            item.get("address") or item["name"],
            item.get("id") or stable_id(f"{cluster}/server/{item['name']}"),
            item.get("modeConstraint", "NONE"),
        )
        for item in value["servers"]
    )
    catalogue = catalogue_from_json(value, servers, cluster)
    return Topology(cluster, servers, catalogue, float(value.get("pullSeconds", 0.5)))


def own_name() -> str:
    """A pod's name is its host name; the variable is what a devcluster without UTS namespaces sets."""
    return os.environ.get("HOSTNAME") or socket.gethostname()


def _standalone() -> Json:
    name = own_name()
    hosts = {name: PRIMARY}
    return {
        "name": name,
        "servers": [{"name": name, "address": "localhost"}],
        "databases": [{"name": "system", "hosts": hosts}, {"name": "neo4j", "hosts": hosts}],
    }


def load() -> Topology:
    """From the environment; without a document, a standalone server with ``neo4j`` and ``system``."""
    text = os.environ.get("NEO4J_SIM_CLUSTER", "")
    file = os.environ.get("NEO4J_SIM_CLUSTER_FILE", "")
    if not text and file:
        text = Path(file).read_text(encoding="utf-8")
    return topology_from_json(json.loads(text) if text else _standalone())
