"""An HTTP server that answers what a test wrote down, in that order, and remembers what it was asked.

It knows nothing of Kubernetes' semantics on purpose: it is for the answers that a real server gives
rarely (410, cut streams, proxies' error pages). For semantics use the embedded control plane.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
from aiohttp import web

from controller.kube.config import ClusterConfig, Credentials
from controller.kube.credentials import NoCredentials

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class ScriptedApi:
    """The running server: more answers may be added while it runs."""

    answers: deque[Answer] = field(default_factory=deque)
    otherwise: Answer | None = None
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    _asked: anyio.Event = field(default_factory=anyio.Event)

    async def asked(self, times: int) -> None:
        """Wait until so many requests arrived."""
        while len(self.calls) < times:
            await self._asked.wait()

    def config(self, credentials: Credentials | None = None) -> ClusterConfig:
        return ClusterConfig(self.url, None, credentials or NoCredentials())

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.calls.append(
            Call(request.method, request.path, dict(request.query), body, dict(request.headers))
        )
        asked, self._asked = self._asked, anyio.Event()
        asked.set()
        if self.answers:
            return await self.answers.popleft()(request)
        if self.otherwise is not None:
            return await self.otherwise(request)
        return web.Response(status=599, text=f"not in the script: {request.method} {request.path_qs}")


@contextlib.asynccontextmanager
async def scripted_api(*answers: Answer, otherwise: Answer | None = None) -> AsyncIterator[ScriptedApi]:
    """Serve on a free port of the loopback interface while the block runs."""
    api = ScriptedApi(deque(answers), otherwise)
    application = web.Application(client_max_size=2**30)
    application.router.add_route("*", "/{path:.*}", api.handle)
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield api
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()


def answer(content: object, status: int = 200, **headers: str) -> Answer:
    """A JSON document."""

    async def respond(_: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(content, status=status, headers=named)

    return respond


def refuse(code: int, reason: str = "", message: str = "", **details: Any) -> Answer:
    """A Status."""
    return answer(status(code, reason, message, **details), code)


def status(code: int, reason: str = "", message: str = "", **details: Any) -> dict[str, Any]:
    """A Status object of kind Failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
        "details": details,
    }


def listing(version: str, *items: dict[str, Any], token: str = "") -> Answer:
    """A page of a list."""
    metadata = {"resourceVersion": version, **({"continue": token} if token else {})}
    return answer({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": list(items)})


def events(*pairs: tuple[str, dict[str, Any]], hold: bool = False, cut: bool = False) -> Answer:
    """A watch: these events, then the end; or silence until the client goes; or a cut connection."""
    lines = [json.dumps({"type": kind, "object": content}).encode() + b"\n" for kind, content in pairs]
    return chunks(*lines, hold=hold, cut=cut)


def chunks(*parts: bytes, hold: bool = False, cut: bool = False) -> Answer:
    """A stream of raw chunks."""

    async def respond(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for part in parts:
            await response.write(part)
        if hold:
            await anyio.sleep_forever()
        if cut and request.transport is not None:
            request.transport.abort()
        return response

    return respond


async def hang(_: web.Request) -> web.StreamResponse:
    """No answer at all."""
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def an_object(
    name: str, version: str, *, namespace: str = "ns", uid: str = "", **rest: Any
) -> dict[str, Any]:
    """An object with the metadata that a cache looks at."""
    metadata = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": version}
    return {"apiVersion": "v1", "kind": "Thing", "metadata": metadata, **rest}
