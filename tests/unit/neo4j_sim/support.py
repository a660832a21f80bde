"""Simulated servers inside the test's process, and the tools called as functions."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import admin, artifact, chain, cypher, topology
from hack.devcluster.neo4j_sim.artifact import Header
from hack.devcluster.neo4j_sim.dbms import Dbms
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.listeners import Listeners
from hack.devcluster.neo4j_sim.places import Installation
from hack.devcluster.neo4j_sim.protocol import Json

PATIENCE_SECONDS = 15.0


def free_block() -> str:
    """The first three bytes of loopback addresses that nobody listens on."""
    while True:
        prefix = f"127.{random.randint(16, 250)}.{random.randint(0, 255)}"
        with socket.socket() as probe:
            try:
                probe.bind((f"{prefix}.2", 7687))
                return prefix
            except OSError:
                continue


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.01)


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@dataclass
class Tool:
    """``neo4j-admin`` of one version, called in this process."""

    installation: Installation
    capture: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str | Path) -> Result:
        self.capture.readouterr()
        code = admin.main(self.installation, [str(word) for word in arguments], isolate=lambda work: work())
        captured = self.capture.readouterr()
        return Result(code, captured.out, captured.err)

    def backup(self, target: Path, *more: str) -> Result:
        return self("database", "backup", f"--to-path={target}", *more)


class Server:
    """One running server."""

    def __init__(self, dbms: Dbms, listeners: Listeners, version: str) -> None:
        self.dbms = dbms
        self.listeners = listeners
        self.version = version
        self._threads = dbms.start()
        listeners.start()

    def run(self, statement: str, database: str = "system", routed: bool = True) -> Json:
        query = cypher.Query.from_json({"statement": statement, "database": database, "routed": routed})
        return cypher.execute(self.dbms, self.version, query)

    def refused(self, statement: str, database: str = "system", routed: bool = True) -> str:
        with pytest.raises(ServerError) as caught:
            self.run(statement, database, routed)
        return caught.value.message

    def rows(self, columns: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.run(f"SHOW DATABASES YIELD {columns}")["rows"]]

    def last_tx(self, database: str) -> int:
        return self.dbms.replicas[database].last_tx()

    def commit(self, count: int, database: str) -> None:
        self.run(f"CALL sim.commit({count})", database)

    def stop(self) -> None:
        self.dbms.stopping.set()
        for thread in self._threads:
            thread.join()
        self.listeners.stop()
        for replica in self.dbms.replicas.values():
            replica.close()


class Cluster:
    """Servers ``s0``, ``s1``… of one document, each on its own loopback address."""

    def __init__(self, document: Json, directory: Path, version: str, prefix: str) -> None:
        self.topology = topology.topology_from_json(document)
        self.directory = directory
        self.version = version
        self.prefix = prefix
        self.servers: dict[str, Server] = {}

    def start(self, name: str) -> Server:
        server = self.topology.server(name)
        assert server
        settings = {
            f"server.{port}.listen_address": f"{server.address}:{number}"
            for port, number in (("bolt", 7687), ("cluster", 6000), ("backup", 6362), ("http", 7474))
        }
        dbms = Dbms(self.topology, name, self.directory / name / "data", settings)
        self.servers[name] = Server(dbms, Listeners(dbms, self.version), self.version)
        return self.servers[name]

    def stop(self, name: str) -> None:
        self.servers.pop(name).stop()

    def __getitem__(self, name: str) -> Server:
        return self.servers[name]

    def address(self, name: str) -> str:
        server = self.topology.server(name)
        assert server
        return server.address

    def sources(self, *names: str) -> str:
        return "--from=" + ",".join(f"{self.address(name)}:6362" for name in names)

    def settle(self) -> None:
        """Until every server sees every other, and all copies are where they should be."""
        running = list(self.servers.values())
        others = len(self.topology.servers) - 1
        eventually(lambda: all(sum(map(bool, _heard(server))) == others for server in running))
        eventually(lambda: all(_level(server) for server in running))


def _heard(server: Server) -> list[Json | None]:
    return [peer.status for peer in server.dbms.peers.values()]


def _level(server: Server) -> bool:
    """Whether this server's copies are as far as the writer's, less the ordered lag."""
    dbms = server.dbms
    for name, replica in dbms.replicas.items():
        writer = dbms.writer_of(replica.entry)
        known = dbms.database_on(writer, name) if writer else None
        if known and known["lastTx"] - replica.entry.lag_of(dbms.own.name) > replica.last_tx():
            return False
    return True


def document(prefix: str, databases: Sequence[Json], count: int = 1, aliases: Sequence[Json] = ()) -> Json:
    servers = [{"name": f"s{index}", "address": f"{prefix}.{index + 2}"} for index in range(count)]
    return {
        "name": prefix,
        "servers": servers,
        "databases": [{"storeBytes": 20_000, **item} for item in databases],
        "aliases": list(aliases),
        "pullSeconds": 0.02,
    }


@contextmanager
def running(
    directory: Path,
    databases: Sequence[Json],
    count: int = 1,
    version: str = "5.26.3",
    aliases: Sequence[Json] = (),
) -> Iterator[Cluster]:
    prefix = free_block()
    os.environ["DEVCLUSTER_POD_IP"] = f"{prefix}.2"
    cluster = Cluster(document(prefix, databases, count, aliases), directory, version, prefix)
    try:
        for server in cluster.topology.servers:
            cluster.start(server.name)
        cluster.settle()
        yield cluster
    finally:
        for name in list(cluster.servers):
            cluster.stop(name)
        del os.environ["DEVCLUSTER_POD_IP"]


def headers(folder: Path) -> list[Header]:
    """Oldest first."""
    return [item.header for item in sorted(chain.scan(folder), key=lambda item: item.path.name)]


def an_artifact(folder: Path, stamp: str, **more: object) -> Path:
    """A file with a header and no content, as ``inspect`` and the chain rules see it."""
    values: dict[str, object] = {
        "name": "db",
        "id": "id-1",
        "store_id": "s",
        "time": f"2026-01-01T{stamp}",
        "full": False,
        "compressed": True,
        "lowest": 1,
        "highest": 1,
        "recovered": False,
        "version": "5.26.3",
        "store_size": 0,
    }
    header = Header(**(values | more))  # type: ignore[arg-type]
    path = folder / f"{header.name}-2026-01-01T{stamp.replace(':', '-')}.backup"
    artifact.write(path, header, [])
    return path
