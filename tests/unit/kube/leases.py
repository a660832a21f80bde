"""One Lease on a scripted server, and candidates for it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web

from controller.kube.leader import LeaderElector, LeaseLost
from controller.kube.lease import LeaseTimes
from tests.support.scripted_api import ScriptedApi, status

TIMES = LeaseTimes()


@dataclass
class LeaseServer:
    """One Lease with compare-and-swap, and the ways to disturb it."""

    lease: dict[str, Any] | None = None
    version: int = 0
    broken: bool = False
    swallow: bool = False
    """Writes happen, but their answers never arrive."""
    watchable: bool = True
    holders: list[str] = field(default_factory=list)
    """Who was written as the holder, in order."""
    writes: list[tuple[float, str]] = field(default_factory=list)
    """When what else was written, by the tests' own work."""
    _changed: anyio.Event = field(default_factory=anyio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.broken:
            await anyio.sleep_forever()
        if not request.path.startswith("/apis/coordination.k8s.io/"):
            self.writes.append((anyio.current_time(), request.path.rpartition("/")[2]))
            return web.json_response({})
        if "watch" in request.query:
            return await self._watch(request)
        if request.method == "GET":
            return self._answer(404) if self.lease is None else web.json_response(self.lease)
        sent = await request.json()
        if request.method == "POST" and self.lease is not None:
            return self._answer(409, "AlreadyExists")
        if request.method == "PUT" and (self.lease is None or _version(sent) != _version(self.lease)):
            return self._answer(409 if self.lease else 404)
        self.write(sent["spec"])
        if self.swallow:
            await anyio.sleep_forever()
        return web.json_response(self.lease)

    @property
    def term(self) -> int | None:
        return self.lease["spec"]["leaseTransitions"] if self.lease else None

    def write(self, spec: dict[str, Any]) -> None:
        self.version += 1
        self.holders.append(spec["holderIdentity"])
        metadata = {"name": "l", "namespace": "ns", "resourceVersion": str(self.version)}
        self.lease = {"metadata": metadata, "spec": json.loads(json.dumps(spec))}
        self.tell()

    def delete(self) -> None:
        self.lease = None
        self.tell()

    def tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        if not self.watchable or request.query["fieldSelector"] != "metadata.name=l":
            return self._answer(403, "Forbidden")
        response = web.StreamResponse()
        await response.prepare(request)
        seen: dict[str, Any] | None = None
        while True:
            changed = self._changed
            if self.lease is not None or seen is not None:
                kind = "MODIFIED" if self.lease else "DELETED"
                seen = self.lease
                await response.write(json.dumps({"type": kind, "object": seen or {}}).encode() + b"\n")
            await changed.wait()

    def _answer(self, code: int, reason: str = "") -> web.Response:
        return web.json_response(status(code, reason), status=code)


def _version(lease: dict[str, Any]) -> Any:
    return lease["metadata"]["resourceVersion"]


@dataclass
class Candidate:
    """An elector and what became of it."""

    elector: LeaderElector
    stop: anyio.Event = field(default_factory=anyio.Event)
    leading: anyio.Event = field(default_factory=anyio.Event)
    terms: list[int] = field(default_factory=list)
    lost: str = ""
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        try:
            await self.elector.run(self._lead, self.stop)
        except LeaseLost as error:
            self.lost = str(error)
        finally:
            self.ended.set()

    async def _lead(self, term: int) -> None:
        self.terms.append(term)
        self.leading.set()
        await self.stop.wait()


def a_candidate(api: ScriptedApi, name: str, *, jitter: float = 0.0) -> Candidate:
    return Candidate(
        LeaderElector(api.config(), namespace="ns", name="l", identity=name, jitter=lambda: jitter)
    )
