"""A whole embedded cluster: API server, controllers and a node, in this process.

Guarantee: inside ``async with`` everything runs and the kubeconfig works; afterwards nothing runs, no
process is left, and whatever went wrong inside is raised.
Non-guarantee: nothing is kept from one run to the next but the files of volumes.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import anyio
from aiohttp import web

from hack.devcluster.apiserver import ApiServer
from hack.devcluster.audit import Audit
from hack.devcluster.certificates import Identity, make_identity, write_kubeconfig
from hack.devcluster.controllers import run_controllers
from hack.devcluster.faults import Faults
from hack.devcluster.identity import Tokens
from hack.devcluster.images import ImageCatalog
from hack.devcluster.node import Node
from hack.devcluster.registry import Registry

HOST = "127.0.0.1"


@dataclass(slots=True)
class _Access:
    """What pods are told about the API server; the port is known once it listens."""

    tokens: Tokens
    ca_pem: str
    host: str = HOST
    port: int = 0

    def token(self, namespace: str, service_account: str) -> str:
        return self.tokens.mint(namespace, service_account)


class DevCluster:
    """``async with DevCluster(directory) as cluster:``.

    Without ``run_pods`` there are neither controllers nor a node: a bare API server, as envtest is one.
    """

    def __init__(
        self,
        directory: Path,
        *,
        images: ImageCatalog | None = None,
        port: int = 0,
        run_pods: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        history: int = 5000,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = directory / "kubeconfig"
        self.server = ""
        self._identity: Identity = make_identity(datetime.now(UTC))
        self.registry = Registry(now=now, history=history, root_ca=self._identity.ca)
        self.tokens = Tokens(self.registry, now)
        self._access = _Access(self.tokens, self._identity.ca)
        self.node: Node | None = None
        if run_pods:
            self.node = Node(self.registry, images or ImageCatalog(), self._access, directory)
        self._api = ApiServer(self.registry, self.tokens, self.node)
        self._port = port
        self._tls: ssl.SSLContext | None = None
        self._stack = AsyncExitStack()

    @property
    def faults(self) -> Faults:
        return self._api.faults

    @property
    def audit(self) -> Audit:
        return self._api.audit

    @property
    def ca_pem(self) -> str:
        return self._identity.ca

    def mint_token(self, namespace: str, service_account: str) -> str:
        """A bearer token. Raises ApiStatus(404) when there is no such service account."""
        return self.tokens.mint(namespace, service_account)

    def rotate_authority(self) -> None:
        """A new authority and a certificate of it, for connections from now on; the kubeconfig knows them."""
        assert self._tls is not None, "it runs"
        self._identity = make_identity(datetime.now(UTC))
        self._identity.serve_with(self._tls, self.directory)
        write_kubeconfig(self.kubeconfig, self.server, self._identity.ca, self.tokens.admin)

    async def __aenter__(self) -> DevCluster:
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(self._served())
            self._access.port = port
            self.server = f"https://{HOST}:{port}"
            write_kubeconfig(self.kubeconfig, self.server, self._identity.ca, self.tokens.admin)
            group = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(group.cancel_scope.cancel)
            if self.node is not None:
                group.start_soon(run_controllers, self.registry)
                await group.start(self.node.run)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _served(self) -> AsyncIterator[int]:
        runner = web.AppRunner(
            self._api.application, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await runner.setup()
        try:
            self._tls = self._identity.context(self.directory)
            site = web.TCPSite(runner, HOST, self._port, ssl_context=self._tls)
            await site.start()
            port: int = runner.addresses[0][1]
            yield port
        finally:
            with anyio.CancelScope(shield=True):
                await runner.cleanup()
