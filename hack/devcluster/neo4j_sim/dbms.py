"""One simulated server: its databases, its view of the cluster, and the threads that keep both up to date.

Guarantee: a database is online on a server when the catalogue says so and its content is open; the writer
is the first reachable primary, and there is none without a majority; followers pull from the writer and stay
behind by the ordered lag.
Non-guarantee: no elections, no terms; a writer that comes back with less than the others first catches up.
"""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hack.devcluster.neo4j_sim import protocol
from hack.devcluster.neo4j_sim.catalogue import Accounts, CatalogueFile
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.peers import TIMEOUT, Peer
from hack.devcluster.neo4j_sim.protocol import BACKUP_PORT, CLUSTER_PORT, Json
from hack.devcluster.neo4j_sim.replica import Replica
from hack.devcluster.neo4j_sim.store import read_frames
from hack.devcluster.neo4j_sim.topology import Catalogue, DatabaseEntry, ServerEntry, Topology

_PULL_BATCH_TX = 500


class Dbms:
    """Threads read ``catalogue.current`` and peers' statuses; both are replaced whole, never changed."""

    def __init__(self, topology: Topology, name: str, data: Path, settings: Mapping[str, str]) -> None:
        own = topology.server(name)
        if own is None:
            raise ServerError("Neo.General", f"server '{name}' is not in the topology document")
        self.own: ServerEntry = own
        self.topology = topology
        self.settings = settings
        self.data = data
        self.catalogue = CatalogueFile(data / "dbms" / "catalogue.json", topology)
        self.accounts = Accounts(data, settings.get("dbms.security.auth_enabled", "true") != "false")
        self.replicas: dict[str, Replica] = {}
        self.peers = {
            server.name: Peer(server, self.status) for server in topology.servers if server.name != name
        }
        self.stopping = threading.Event()
        self._reconciling = threading.Lock()

    # --- what this server is ------------------------------------------------------------------

    def status(self) -> Json:
        """What servers tell each other, question and answer alike."""
        return {
            "op": "status",
            "from": self.own.name,
            "catalogue": self.catalogue.current.version,
            "databases": {name: replica.status() for name, replica in list(self.replicas.items())},
        }

    def is_reachable(self, server: str) -> bool:
        return server == self.own.name or self.peers[server].status is not None

    def database_on(self, server: str, name: str) -> Json | None:
        if server == self.own.name:
            replica = self.replicas.get(name)
            return replica.status() if replica else None
        return self.peers[server].database(name)

    def writer_of(self, entry: DatabaseEntry) -> str | None:
        primaries = entry.primaries()
        alive = [server for server in primaries if self.is_reachable(server)]
        return alive[0] if len(alive) * 2 > len(primaries) and entry.requested == "online" else None

    # --- threads ------------------------------------------------------------------------------

    def start(self) -> list[threading.Thread]:
        self.reconcile()
        interval = self.topology.pull_seconds
        work = [
            threading.Thread(target=peer.run, args=(interval, self.stopping, self._heard), daemon=True)
            for peer in self.peers.values()
        ]
        work.append(threading.Thread(target=self._follow, args=(interval,), daemon=True))
        work.append(threading.Thread(target=self._grow, daemon=True))
        for thread in work:
            thread.start()
        return work

    def _heard(self, status: Json) -> None:
        if status["catalogue"] <= self.catalogue.current.version:
            return
        try:
            self.catalogue.adopt(self.peers[status["from"]].request({"op": "catalogue"}))
        except OSError:
            return
        self.reconcile()

    def _follow(self, interval: float) -> None:
        while not self.stopping.wait(interval):
            for replica in list(self.replicas.values()):
                try:
                    self._catch_up(replica)
                except (OSError, ValueError):
                    continue

    def _grow(self) -> None:
        owed: dict[str, float] = {}
        before = time.monotonic()
        while not self.stopping.wait(0.2):
            now = time.monotonic()
            for name, replica in list(self.replicas.items()):
                due = owed.get(name, 0.0) + replica.entry.tx_per_second * (now - before)
                owed[name] = due % 1
                if replica.is_open and self.writer_of(replica.entry) == self.own.name:
                    for _ in range(int(due)):
                        replica.commit()
            before = now

    # --- replication --------------------------------------------------------------------------

    def _catch_up(self, replica: Replica) -> None:
        source, limit = self._ahead(replica.entry)
        last = replica.last_tx()
        if not replica.is_open or source is None or limit <= last:
            return
        highest = min(limit, last + _PULL_BATCH_TX)
        message = {"op": "pull", "database": replica.entry.name, "lowest": last + 1, "highest": highest}
        connection = protocol.connect(source.address, CLUSTER_PORT, TIMEOUT)
        try:
            answer = connection.ask(message)
            content = b"".join(connection.receive_bytes(answer["length"]))
        finally:
            connection.close()
        replica.apply(read_frames(io.BytesIO(content)))

    def _ahead(self, entry: DatabaseEntry) -> tuple[ServerEntry | None, int]:
        """Whom to pull from and up to which transaction: the writer, or for the writer whoever has more."""
        writer = self.writer_of(entry)
        behind = entry.lag_of(self.own.name)
        candidates = [writer] if writer != self.own.name else entry.primaries()
        best: tuple[ServerEntry | None, int] = None, 0
        for server in candidates:
            peer = self.peers.get(server or "")
            known = peer.database(entry.name) if peer else None
            if peer and known and known["id"] == entry.id and known["lastTx"] > best[1]:
                best = peer.server, known["lastTx"]
        return best[0], best[1] - behind

    # --- catalogue ----------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Make the open databases what the catalogue says."""
        with self._reconciling:
            wanted = {
                entry.name: entry
                for entry in self.catalogue.current.databases
                if entry.type != "composite" and entry.mode_on(self.own.name)
            }
            for name in set(self.replicas) - set(wanted):
                self.replicas.pop(name).drop()
            for entry in wanted.values():
                self._reconcile_database(entry)

    def _reconcile_database(self, entry: DatabaseEntry) -> None:
        replica = self.replicas.get(entry.name)
        if replica and replica.entry.id != entry.id:
            replica.close()
            replica = None
        if replica is None:
            replica = self.replicas[entry.name] = Replica(entry, self.data / "databases")
        replica.entry = entry
        if entry.requested == "offline":
            replica.close()
        elif not replica.is_open:
            self._open(replica)

    def _open(self, replica: Replica) -> None:
        if replica.was_restored and self.writer_of(replica.entry) in (self.own.name, None):
            entry = replace(replica.entry, id=str(uuid.uuid4()), restored=True)
            self.catalogue.change(lambda current: current.with_database(entry))
            replica.entry = entry
        replica.open(create_content=not replica.entry.restored)

    def change(self, catalogue: Catalogue) -> None:
        """Put a new catalogue in force here; the others hear of it at their next question."""
        self.catalogue.change(lambda _current: catalogue)
        self.reconcile()

    # --- for the backup listener --------------------------------------------------------------

    def routes(self) -> dict[str, list[str]]:
        """For remote address resolution: secondaries, then primaries, the writer last."""
        return {
            entry.name: self._route(entry)
            for entry in self.catalogue.current.databases
            if entry.type != "composite" and entry.requested == "online"
        }

    def _route(self, entry: DatabaseEntry) -> list[str]:
        writer = self.writer_of(entry)

        def rank(server: str) -> tuple[bool, bool]:
            return server == writer, entry.mode_on(server) == "primary"

        hosts = sorted((server for server, _ in entry.hosts if self.is_reachable(server)), key=rank)
        found = [self.topology.server(server) for server in hosts]
        return [f"{server.address}:{BACKUP_PORT}" for server in found if server]
