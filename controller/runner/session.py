"""Talking to an agent, whatever carries the conversation.

Guarantee: a cut connection is followed up by another one and never by a second dump; a request counts
as accepted only when the agent has answered with the hash of exactly what was sent.

Non-guarantee: an agent that is gone for longer than the patience given is reported as lost although
its dump may still finish; the staging of such a run is the agent's own to clean.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from controller.wire.messages import (
    Accepted,
    AgentProgress,
    AgentStatus,
    BackupRequest,
    ServeReady,
    ServeRequest,
    TopologyAnswer,
)

STDOUT = 1
STDERR = 2


class Conversation(Protocol):
    """One running verb: ``controller.kube``'s exec session, or a local process in tests."""

    @property
    def exit_code(self) -> int | None:
        """After the end; ``None`` while it runs and when the connection ended without one."""
        ...

    @property
    def error(self) -> str:
        """After the end: why, when it was not a plain exit with 0."""
        ...

    async def send(self, data: bytes) -> None:
        """Feed standard input."""
        ...

    def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """Output as it comes: ``(1, …)`` from standard output, ``(2, …)`` from standard error."""
        ...


class Dial(Protocol):
    """Starts a verb of one agent."""

    def __call__(self, *verb: str) -> AbstractAsyncContextManager[Conversation]:
        """Leaving the context ends the conversation, and with it the verb's standard input."""
        ...


class AgentSession(Protocol):
    """What a run needs of an agent."""

    @property
    def name(self) -> str:
        """The pod, for logs and results."""
        ...

    async def submit(self, request: BackupRequest) -> Accepted:
        """Hand over a request; sending the same run id again is safe."""
        ...

    async def follow(self, run_id: str, report: Callable[[AgentProgress], None]) -> AgentStatus:
        """Wait for the outcome of a dump, through any number of connections."""
        ...

    async def topology(self) -> TopologyAnswer:
        """The DBMS as this server sees it."""
        ...

    def serve(self, request: ServeRequest) -> AbstractAsyncContextManager[ServeReady]:
        """Keep the agent's transfer listener open for as long as the context lasts."""
        ...

    def fetch(self, run_id: str, file: str, offset: int) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """The artifact's bytes from ``offset`` on; a cut connection is an early end, not an error."""
        ...

    async def release(self, run_id: str) -> None:
        """Let the agent remove the staging of a run."""
        ...
