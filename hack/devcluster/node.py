"""The node: runs the pods that are bound to it as local processes, and serves exec and logs of them.

Guarantee: what the kubelet promises and an operator relies on: volumes at their paths, init containers in
order, restarts, probes, exit codes, termination messages, grace periods, and a truthful pod status.
Non-guarantee: no isolation of network, users, memory or CPU; a container sees the host's programs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from anyio.abc import ByteReceiveStream, ByteSendStream

from hack.devcluster.images import ImageCatalog
from hack.devcluster.registry import Registry


class NodeError(Exception):
    """A request that the kubelet would answer with ``status`` and ``message``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ApiAccess(Protocol):
    """What a pod needs in order to talk to the API server."""

    host: str
    port: int
    ca_pem: str

    def token(self, namespace: str, service_account: str) -> str: ...


class Process(Protocol):
    """A process in a container, started by :meth:`Node.exec`; ``aclose`` kills it if it still runs."""

    stdin: ByteSendStream | None
    """``aclose`` is the half-close; absent when ``stdin`` was not asked for."""
    stdout: ByteReceiveStream
    stderr: ByteReceiveStream | None
    """Absent with ``tty``."""

    async def wait(self) -> int: ...

    def resize(self, columns: int, rows: int) -> None: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True, slots=True)
class LogOptions:
    """The query parameters of ``pods/log``."""

    previous: bool = False
    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since_seconds: int | None = None
    since_time: datetime | None = None


class Node:
    """One kubelet. ``run`` until cancelled; everything it started is gone when ``run`` has returned."""

    def __init__(
        self, registry: Registry, images: ImageCatalog, api: ApiAccess, directory: Path, name: str = "devcluster"
    ) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        raise NotImplementedError

    async def exec(self, pod: dict, container: str, command: list[str], tty: bool, stdin: bool) -> Process:
        """Start ``command`` in the running container. Raises NodeError when it does not run."""
        raise NotImplementedError

    def log(self, pod: dict, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """The container's output in chunks. Raises NodeError(400) while there is none to show."""
        raise NotImplementedError
