"""What one server knows of the others: who answers, and how far each database is there.

Guarantee: knowledge is at most a few pull intervals old; a server that does not answer is known as
unreachable within the timeout. Non-guarantee: no consensus: every server draws its own conclusions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from hack.devcluster.neo4j_sim import protocol
from hack.devcluster.neo4j_sim.protocol import CLUSTER_PORT, Connection, Json
from hack.devcluster.neo4j_sim.topology import ServerEntry

TIMEOUT = 3.0


class Peer:
    """One other server and the thread that keeps asking it."""

    def __init__(self, server: ServerEntry, question: Callable[[], Json]) -> None:
        self.server = server
        self.status: Json | None = None
        """The last answer; None while it does not answer."""
        self._question = question
        self._connection: Connection | None = None

    def run(self, interval: float, stopping: threading.Event, on_change: Callable[[Json], None]) -> None:
        while not stopping.is_set():
            self._ask(on_change)
            stopping.wait(interval)
        self._forget()

    def _ask(self, on_change: Callable[[Json], None]) -> None:
        try:
            if self._connection is None:
                self._connection = protocol.connect(self.server.address, CLUSTER_PORT, TIMEOUT)
            self.status = self._connection.ask(self._question())
        except (OSError, ValueError):
            self._forget()
        else:
            on_change(self.status)

    def _forget(self) -> None:
        self.status = None
        if self._connection:
            self._connection.close()
            self._connection = None

    def request(self, message: Json) -> Json:
        """On a connection of its own. Raises OSError."""
        return protocol.ask_once(self.server.address, CLUSTER_PORT, message, TIMEOUT)

    def database(self, name: str) -> Json | None:
        databases: Json = self.status["databases"] if self.status else {}
        found: Json | None = databases.get(name)
        return found
