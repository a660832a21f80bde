"""The ports of a server and what is answered on each.

Guarantee: the backup listener asks for no password and, on its default address, lets in only its own pod;
the cluster port offers the same backup. Non-guarantee: Bolt and HTTP answer just enough to be probed.
"""

from __future__ import annotations

import contextlib
import json
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from hack.devcluster.neo4j_sim import cypher
from hack.devcluster.neo4j_sim.dbms import Dbms
from hack.devcluster.neo4j_sim.errors import ServerError
from hack.devcluster.neo4j_sim.protocol import (
    BACKUP_PORT,
    BOLT_PORT,
    CLUSTER_PORT,
    HTTP_PORT,
    Connection,
    Json,
    Listen,
    listen_on,
    pod_address,
)
from hack.devcluster.neo4j_sim.replica import Replica
from hack.devcluster.neo4j_sim.versions import parse_version

Handler = Callable[[Connection, Json], None]


class _Server(socketserver.ThreadingTCPServer):
    """Closing it cuts the conversations too, as the end of a process does."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, listen: Listen, handler: type[socketserver.BaseRequestHandler]) -> None:
        self.open_sockets: set[socket.socket] = set()
        super().__init__((listen.host, listen.port), handler)

    def server_close(self) -> None:
        super().server_close()
        for sock in list(self.open_sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def _serve(listen: Listen, handle: Callable[[socket.socket], None]) -> _Server:
    class Request(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            # On a devcluster's node every pod can reach every loopback address; a kernel would refuse.
            if listen.local_only and self.client_address[0] != pod_address():
                return
            server.open_sockets.add(self.request)
            with contextlib.suppress(OSError, ValueError):
                handle(self.request)
            server.open_sockets.discard(self.request)

    server = _Server(listen, Request)
    threading.Thread(target=server.serve_forever, args=(0.2,), daemon=True).start()
    return server


class Listeners:
    """All of them, from the settings."""

    def __init__(self, dbms: Dbms, version: str) -> None:
        self._dbms = dbms
        self._version = version
        self._servers: list[_Server] = []

    def start(self) -> list[str]:
        """Bind and serve. What to log. Raises OSError."""
        settings = self._dbms.settings
        default = settings.get("server.default_listen_address", "localhost")
        plan: list[tuple[str, str, int, Handler]] = [
            ("Bolt", "server.bolt.listen_address", BOLT_PORT, self._bolt),
            ("Cluster", "server.cluster.listen_address", CLUSTER_PORT, self._cluster),
        ]
        if settings.get("server.backup.enabled", "true").lower() != "false":
            plan.append(("Backup", "server.backup.listen_address", BACKUP_PORT, self._backup))
        lines = []
        for name, setting, port, handler in plan:
            fallback = f"127.0.0.1:{port}" if name == "Backup" else f":{port}"
            listen = listen_on(settings.get(setting, fallback), default, port)
            self._servers.append(_serve(listen, self._conversation(handler)))
            lines.append(f"{name} enabled on {listen.host}:{listen.port}.")
        http = listen_on(settings.get("server.http.listen_address", f":{HTTP_PORT}"), default, HTTP_PORT)
        self._servers.append(_serve(http, self._http))
        return [*lines, f"HTTP enabled on {http.host}:{http.port}."]

    def stop(self) -> None:
        stopping = [threading.Thread(target=server.shutdown) for server in self._servers]
        for thread in stopping:
            thread.start()
        for thread in stopping:
            thread.join()
        for server in self._servers:
            server.server_close()

    def _conversation(self, handler: Handler) -> Callable[[socket.socket], None]:
        def converse(sock: socket.socket) -> None:
            with contextlib.closing(Connection(sock)) as connection:
                while True:
                    message = connection.receive()
                    try:
                        handler(connection, message)
                    except ServerError as error:
                        connection.send({"error": error.code, "message": error.message})

        return converse

    # --- Bolt ---------------------------------------------------------------------------------

    def _bolt(self, connection: Connection, message: Json) -> None:
        if not self._dbms.accounts.accepts(message["user"], message["password"]):
            raise ServerError(
                "Neo.ClientError.Security.Unauthorized",
                "The client is unauthorized due to authentication failure.",
            )
        connection.send(cypher.execute(self._dbms, self._version, cypher.Query.from_json(message)))

    # --- cluster ------------------------------------------------------------------------------

    def _cluster(self, connection: Connection, message: Json) -> None:
        match message["op"]:
            case "status":
                connection.send(self._dbms.status())
            case "catalogue":
                connection.send(self._dbms.catalogue.current.to_json())
            case "pull":
                replica = self._open_replica(message["database"])
                self._send_range(connection, replica, message["lowest"], message["highest"])
            case "execute":
                query = cypher.Query.from_json(message)
                connection.send(cypher.execute(self._dbms, self._version, query))
            case _:
                self._backup(connection, message)

    # --- backup -------------------------------------------------------------------------------

    def _backup(self, connection: Connection, message: Json) -> None:
        self._check_client(message["clientVersion"])
        match message["op"]:
            case "list":
                connection.send(self._listing())
            case "identify":
                replica = self._open_replica(message["database"])
                connection.send({"id": replica.entry.id})
            case "backup":
                self._send_backup(connection, message)

    def _check_client(self, client: str) -> None:
        if parse_version(client)[:2] < parse_version(self._version)[:2]:
            raise ServerError("UnsupportedClient", f"client {client} is older than server {self._version}")

    def _listing(self) -> Json:
        return {
            "name": self._dbms.own.name,
            "version": self._version,
            "routes": self._dbms.routes(),
            "databases": [
                {
                    "name": name,
                    "type": replica.entry.type,
                    "status": "online" if replica.is_open else "offline",
                }
                for name, replica in self._dbms.replicas.items()
            ],
        }

    def _open_replica(self, name: str) -> Replica:
        replica = self._dbms.replicas.get(name)
        if replica is None or not replica.is_open:
            raise ServerError("DatabaseNotFound", f"Database '{name}' was not found or not running")
        return replica

    def _send_backup(self, connection: Connection, message: Json) -> None:
        replica = self._open_replica(message["database"])
        lowest, last = message["lowest"], replica.last_tx()
        oldest = replica.oldest_log_tx()
        if 1 < lowest < oldest and lowest <= last:
            raise ServerError(
                "LogsPruned",
                f"The transaction log of database '{replica.entry.name}' starts at {oldest}, "
                f"but transaction {lowest} is needed",
            )
        if last >= lowest:
            lowest = max(1, lowest - message.get("reach", 0))
        self._send_range(connection, replica, lowest, max(last, lowest - 1))

    def _send_range(self, connection: Connection, replica: Replica, lowest: int, highest: int) -> None:
        start, length = replica.store.span(lowest, highest)
        name = replica.entry.name
        connection.send(
            {
                "id": replica.entry.id,
                "storeId": replica.status()["storeId"],
                "lowest": lowest,
                "highest": highest,
                "length": length,
                "storeSize": replica.store.end_of(replica.last_tx()),
                "metadata": f"CREATE ROLE `{name}_reader` IF NOT EXISTS;\n"
                f"GRANT ACCESS ON DATABASE $database TO `{name}_reader`;\n",
            }
        )
        for chunk in replica.store.read(start, length):
            connection.send_bytes(chunk)

    # --- HTTP ---------------------------------------------------------------------------------

    def _http(self, sock: socket.socket) -> None:
        sock.recv(4096)
        advertised = self._dbms.own.address
        body: dict[str, Any] = {
            "bolt_routing": f"neo4j://{advertised}:{BOLT_PORT}",
            "bolt_direct": f"bolt://{advertised}:{BOLT_PORT}",
            "neo4j_version": self._version,
            "neo4j_edition": "enterprise",
        }
        content = json.dumps(body).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        sock.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
