"""The API server of the benchmarks: one collection, pre-rendered, served fast enough to be in nobody's way.

Guarantee: list in pages of one snapshot, watch with one HTTP chunk for each event as kube-apiserver
writes it, merge patches that are applied, answered and echoed to every watch, and a count of all of it.
Discovery answers what kopf asks for. Everything else is 404.

Non-guarantee: no TLS, no authorization, no history: a watch begins with what happens next.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from hack.benchmarks import objects

Query = dict[str, str]
PIECE = 256 * 1024
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"


class World:
    """The collection and what was asked of it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.places: dict[tuple[str, str], int] = {}
        self.version = objects.FIRST_VERSION
        self.blast: list[bytes] = []
        self.watches: set[Connection] = set()
        self.counts: dict[str, int] = {}

    def load(self, number: int) -> None:
        """``number`` fresh objects."""
        self.version = objects.FIRST_VERSION + number
        self.bodies = [objects.render(index, objects.FIRST_VERSION + index) for index in range(number)]
        self.places = {objects.key(index): index for index in range(number)}
        self.counts = {}

    def prepare(self, events: int) -> None:
        """Render a storm: ``events`` changes of specs, round and round over all objects."""
        self.blast = []
        for event in range(events):
            self.version += 1
            index = event % len(self.bodies)
            body = objects.render(index, self.version, generation=2 + event // len(self.bodies))
            self.bodies[index] = body
            self.blast.append(chunk(b'{"type":"MODIFIED","object":' + body + b"}\n"))

    def initial(self) -> Iterator[bytes]:
        """The collection as the beginning of a watch, with the bookmark that ends it."""
        added = [chunk(b'{"type":"ADDED","object":' + body + b"}\n") for body in self.bodies]
        yield from pieces(added)
        yield chunk(objects.bookmark(self.version))

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def page(self, query: Query) -> bytes:
        """One page; the continue token is the place where the next one begins."""
        start = int(query.get("continue") or 0)
        limit = int(query.get("limit") or len(self.bodies) or 1)
        end = start + limit
        left = len(self.bodies) - end
        meta = {"resourceVersion": str(self.version)}
        if left > 0:
            meta |= {"continue": str(end), "remainingItemCount": left}  # type: ignore[dict-item]
        head = f'{{"apiVersion":"{objects.GROUP}/{objects.VERSION}","kind":"{objects.KIND}List","metadata":'
        return (
            head.encode()
            + json.dumps(meta).encode()
            + b',"items":['
            + b",".join(self.bodies[start:end])
            + b"]}"
        )

    def patch(self, place: tuple[str, str], patch: dict[str, Any], part: str) -> bytes | None:
        """Apply a merge patch and tell every watch; None when its resourceVersion is not the newest."""
        index = self.places[place]
        content = msgspec.json.decode(self.bodies[index])
        wanted = patch.get("metadata", {}).pop("resourceVersion", None)
        if wanted is not None and wanted != content["metadata"]["resourceVersion"]:
            return None
        merged = merge(content, patch if part != "status" else {"status": patch.get("status", {})})
        if merged == content:
            return self.bodies[index]
        self.version += 1
        merged["metadata"]["resourceVersion"] = str(self.version)
        body = self.bodies[index] = msgspec.json.encode(merged)
        line = chunk(b'{"type":"MODIFIED","object":' + body + b"}\n")
        for watch in self.watches:
            watch.send(line)
        return body


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def chunk(line: bytes) -> bytes:
    """An HTTP chunk."""
    return b"%x\r\n%b\r\n" % (len(line), line)


class Connection(asyncio.Protocol):
    """One client's connection; requests come one after the other."""

    def __init__(self, world: World, other: Answer | None = None) -> None:
        """``other`` answers instead of :func:`answer`."""
        self._world, self._answer = world, other or answer
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._writing: Iterator[bytes] | None = None
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._world.watches.discard(self)
        self._transport = None

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1")
            length = content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            body, self._buffer = self._buffer[end + 4 : end + 4 + length], self._buffer[end + 4 + length :]
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            url = urlsplit(target)
            self._answer(self, self._world, method, url.path, dict(parse_qsl(url.query)), body)

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def respond(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def stream(self) -> None:
        """Turn into a watch."""
        self.send(STREAM_HEAD)
        self._world.watches.add(self)

    def pour(self, pieces: Iterator[bytes]) -> None:
        """Write as fast as the reader takes it, without holding a copy of all of it."""
        self._writing = pieces
        self._pour()

    def _pour(self) -> None:
        while self._writing is not None and not self._paused:
            piece = next(self._writing, None)
            if piece is None:
                self._writing = None
                return
            self.send(piece)

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._pour()


def content_length(head: str) -> int:
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            return int(value)
    return 0


def pieces(chunks: list[bytes]) -> Iterator[bytes]:
    """``chunks`` joined to writes of a quarter of a megabyte."""
    step = max(1, PIECE // max(1, len(chunks[0])))
    for start in range(0, len(chunks), step):
        yield b"".join(chunks[start : start + step])


def answer(connection: Connection, world: World, method: str, path: str, query: Query, body: bytes) -> None:
    """One request."""
    if path.startswith("/bench/"):
        connection.respond(200, COMMANDS[path](world, query))
    elif path == objects.COLLECTION and query.get("watch") in ("true", "True", "1"):
        world.count("watch")
        connection.stream()
        if query.get("sendInitialEvents") == "true":
            connection.pour(world.initial())
    elif path == objects.COLLECTION:
        world.count("list")
        connection.respond(200, world.page(query))
    elif method == "PATCH":
        answer_patch(connection, world, path, body)
    elif path in QUIET and query.get("watch") in ("true", "True", "1"):
        connection.send(STREAM_HEAD)
    elif path in DISCOVERY:
        connection.respond(200, json.dumps(DISCOVERY[path]).encode())
    else:
        world.count("unknown")
        connection.respond(404, b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":404}')


def answer_patch(connection: Connection, world: World, path: str, body: bytes) -> None:
    parts = path.split("/")
    namespace, name = parts[5], parts[7]
    world.count("patch")
    done = world.patch((namespace, name), msgspec.json.decode(body), "".join(parts[8:]))
    if done is None:
        world.count("conflict")
        connection.respond(409, b'{"kind":"Status","apiVersion":"v1","status":"Failure","code":409}')
    else:
        connection.respond(200, done)


def _load(world: World, query: Query) -> bytes:
    world.load(int(query["n"]))
    return b"{}"


def _prepare(world: World, query: Query) -> bytes:
    world.prepare(int(query["events"]))
    return b"{}"


def _blast(world: World, _: Query) -> bytes:
    for watch in world.watches:
        watch.pour(pieces(world.blast))
    return b"{}"


def _counts(world: World, _: Query) -> bytes:
    return json.dumps({**world.counts, "watching": len(world.watches)}).encode()


COMMANDS: dict[str, Callable[[World, Query], bytes]] = {
    "/bench/load": _load,
    "/bench/prepare": _prepare,
    "/bench/blast": _blast,
    "/bench/counts": _counts,
}

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
QUIET = (CRDS, "/api/v1/namespaces")
"""Watched by kopf, and nothing ever happens there."""


def _group(name: str, version: str) -> dict[str, object]:
    named = {"groupVersion": f"{name}/{version}", "version": version}
    return {"name": name, "versions": [named], "preferredVersion": named}


def _resources(group_version: str, plural: str, kind: str, namespaced: bool) -> dict[str, object]:
    verbs = ["get", "list", "watch", "patch", "create", "update", "delete"]
    whole = {
        "name": plural,
        "singularName": kind.lower(),
        "namespaced": namespaced,
        "kind": kind,
        "verbs": verbs,
    }
    status = {**whole, "name": f"{plural}/status", "verbs": ["get", "patch", "update"]}
    return {"kind": "APIResourceList", "groupVersion": group_version, "resources": [whole, status]}


DISCOVERY: dict[str, object] = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.0"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": _resources("v1", "namespaces", "Namespace", False),
    "/api/v1/namespaces": {"kind": "NamespaceList", "metadata": {"resourceVersion": "1"}, "items": []},
    "/apis": {
        "kind": "APIGroupList",
        "groups": [_group(objects.GROUP, objects.VERSION), _group("apiextensions.k8s.io", "v1")],
    },
    f"/apis/{objects.GROUP}/{objects.VERSION}": _resources(
        f"{objects.GROUP}/{objects.VERSION}", objects.PLURAL, objects.KIND, True
    ),
    "/apis/apiextensions.k8s.io/v1": _resources(
        "apiextensions.k8s.io/v1", "customresourcedefinitions", "CustomResourceDefinition", False
    ),
    CRDS: {"kind": "CustomResourceDefinitionList", "metadata": {"resourceVersion": "1"}, "items": []},
}


Answer = Callable[[Connection, World, str, str, Query, bytes], None]


async def serve(other: Answer | None = None) -> None:
    """Serve until standard input ends; the port is the first line of standard output."""
    world, loop = World(), asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(world, other), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(serve())
