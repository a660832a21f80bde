"""Starts the agent's verbs in a pod's sidecar, through the API server.

Guarantee: leaving the context cuts the exec and so ends the verb's input. Every failure of the way (not
of the verb) comes out as :class:`~controller.runner.session.Cut`, or as
:class:`~controller.runner.session.AgentRefused` where asking again cannot help.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from controller.kube.errors import BadRequest, Forbidden, KubeError
from controller.runner.session import AgentRefused, Conversation, Cut
from controller.wire.locations import SIDECAR_CONTAINER, agent_command
from controller.wire.messages import Server


class Pods(Protocol):
    """What is needed of ``controller.kube``'s client."""

    def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> AbstractAsyncContextManager[Conversation]:
        """A command in a container."""
        ...


class ExecDial:
    """Exec into one pod."""

    def __init__(self, client: Pods, server: Server) -> None:
        self._client = client
        self._server = server

    @asynccontextmanager
    async def __call__(self, *verb: str) -> AsyncIterator[Conversation]:
        server = self._server
        try:
            command = agent_command(*verb)
            async with self._client.exec(server.namespace, server.pod, SIDECAR_CONTAINER, command) as session:
                yield session
        except (Forbidden, BadRequest) as error:
            raise AgentRefused(f"exec into {server.namespace}/{server.pod} is refused: {error}") from error
        except KubeError as error:
            raise Cut(f"exec into {server.namespace}/{server.pod}: {error}") from error
