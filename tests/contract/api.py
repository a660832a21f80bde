"""Plain HTTP to an API server, as little between a test and the wire as can be."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import yaml

Json = dict[str, Any]

MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
NAMESPACES = "/api/v1/namespaces"


@dataclass(frozen=True, slots=True)
class Credentials:
    server: str
    context: ssl.SSLContext
    headers: dict[str, str]


def credentials(kubeconfig: Path, token: str | None = None) -> Credentials:
    """Of the current context: a token or a client certificate, embedded or in files; or ``token`` instead."""
    config = yaml.safe_load(kubeconfig.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"] if token is None else {"token": token}
    tls = ssl.create_default_context(cadata=_material(cluster, "certificate-authority").decode())
    if "client-certificate-data" in user or "client-certificate" in user:
        bundle = kubeconfig.parent / ".contract-client.pem"
        bundle.touch(mode=0o600)
        bundle.write_bytes(_material(user, "client-key") + _material(user, "client-certificate"))
        tls.load_cert_chain(bundle)
        bundle.unlink()
    headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
    return Credentials(cluster["server"], tls, headers)


def _named(entries: list[Json], name: str) -> Json:
    return next(entry for entry in entries if entry["name"] == name)


def _material(holder: Json, name: str) -> bytes:
    if f"{name}-data" in holder:
        return base64.b64decode(holder[f"{name}-data"])
    return Path(holder[name]).read_bytes()


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    @property
    def fields(self) -> set[str]:
        """The fields that a refusal names."""
        return {cause["field"] for cause in self.body.get("details", {}).get("causes", [])}


class Refused(AssertionError):
    """An answer that the test did not expect."""


@dataclass(frozen=True, slots=True)
class Api:
    """``ok`` methods fail the test on anything but success; ``request`` hands over whatever comes."""

    session: aiohttp.ClientSession
    server: str
    headers: dict[str, str] = field(default_factory=dict)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
        **query: str,
    ) -> Answer:
        sent = {**self.headers, **(headers or {}), "Content-Type": content_type}
        data = None if body is None else json.dumps(body)
        async with self.session.request(
            method, self.server + path, data=data, params=query, headers=sent
        ) as response:
            text = await response.text()
            decoded = json.loads(text) if text[:1] in ("{", "[") else text
            return Answer(response.status, decoded, dict(response.headers))

    async def ok(self, method: str, path: str, body: Any = None, **more: Any) -> Json:
        answer = await self.request(method, path, body, **more)
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {json.dumps(answer.body)}")
        decoded: Json = answer.body
        return decoded

    async def get(self, path: str, **query: str) -> Json:
        return await self.ok("GET", path, **query)

    async def create(self, path: str, obj: Json, **query: str) -> Json:
        return await self.ok("POST", path, obj, **query)

    async def merge(self, path: str, patch: Json, **query: str) -> Json:
        return await self.ok("PATCH", path, patch, content_type=MERGE, **query)

    async def apply(self, path: str, obj: Json, manager: str, **query: str) -> Json:
        return await self.ok("PATCH", path, obj, content_type=APPLY, fieldManager=manager, **query)

    async def gone(self, path: str) -> bool:
        return (await self.request("GET", path)).status == 404

    @asynccontextmanager
    async def watch(self, path: str, **query: str) -> AsyncIterator[AsyncIterator[Json]]:
        """Events, decoded, until the server ends the stream."""
        timeout = aiohttp.ClientTimeout(total=60)
        async with self.session.get(
            self.server + path, params={"watch": "1", **query}, headers=self.headers, timeout=timeout
        ) as response:
            if response.status != 200:
                raise Refused(f"watch {path}: {response.status} {await response.text()}")
            yield _lines(response)

    async def events(self, path: str, count: int, **query: str) -> list[tuple[str, str]]:
        """The next ``count`` events as type and name."""
        async with self.watch(path, **query) as events:
            found = []
            async for event in events:
                found.append((event["type"], event["object"]["metadata"].get("name", "")))
                if len(found) == count:
                    break
            return found

    def acting_as(self, user: str) -> Api:
        return Api(self.session, self.server, {**self.headers, "Impersonate-User": user})


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[Json]:
    async for line in response.content:
        event: Json = json.loads(line)
        yield event


@asynccontextmanager
async def connected(kubeconfig: Path, token: str | None = None) -> AsyncIterator[Api]:
    who = credentials(kubeconfig, token)
    connector = aiohttp.TCPConnector(ssl=who.context)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield Api(session, who.server, who.headers)
