"""The benchmarks' API server with what a whole operator asks for besides backups: a lease, empty kinds.

Guarantee: a lease is compared and swapped; every other kind is empty and stays so; Events are accepted.
Non-guarantee: a lease's watch tells nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from hack.benchmarks import objects, server

LEASES = "/apis/coordination.k8s.io/"
LEASE: dict[str, Any] = {}
EMPTY = b'{"kind":"List","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}'
NOT_FOUND = b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":404,"reason":"NotFound"}'


def answer(
    connection: server.Connection,
    world: server.World,
    method: str,
    path: str,
    query: server.Query,
    body: bytes,
) -> None:
    """One request."""
    watches = query.get("watch") in ("true", "True", "1")
    if (
        path.startswith(("/bench/", objects.COLLECTION))
        or path in server.DISCOVERY
        or "/neo4jbackups/" in path
    ):
        server.answer(connection, world, method, path, query, body)
    elif watches:
        connection.send(server.STREAM_HEAD)
        if query.get("sendInitialEvents") == "true":
            connection.send(server.chunk(objects.bookmark(world.version)))
    elif path.startswith(LEASES):
        answer_lease(connection, method, body)
    elif method == "POST":
        connection.respond(201, body)
    else:
        connection.respond(200, EMPTY)


def answer_lease(connection: server.Connection, method: str, body: bytes) -> None:
    """The one lease that there is."""
    if method == "GET":
        connection.respond(200 if LEASE else 404, msgspec.json.encode(LEASE) if LEASE else NOT_FOUND)
        return
    sent = msgspec.json.decode(body)
    version = int(LEASE.get("metadata", {}).get("resourceVersion", 0))
    if method == "PUT" and sent["metadata"]["resourceVersion"] != str(version):
        connection.respond(409, NOT_FOUND)
        return
    sent["metadata"]["resourceVersion"] = str(version + 1)
    LEASE.update(sent)
    connection.respond(200, msgspec.json.encode(LEASE))


if __name__ == "__main__":
    asyncio.run(server.serve(answer))
