"""What breaks on the way into a pod, told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from controller.kube.errors import ConnectionFailed, Forbidden, KubeError, NotFound, ServerError
from controller.runner.dial import ExecDial
from controller.runner.session import AgentRefused, Conversation, Cut, SessionError
from controller.wire.messages import Server

pytestmark = pytest.mark.asyncio
SERVER = Server(pod="graph-0", namespace="ns")


class Pods:
    """Stands for the client: every exec fails, before or after it was opened."""

    def __init__(self, error: KubeError, *, later: bool) -> None:
        self._error = error
        self._later = later
        self.asked: list[tuple[str, str, str, list[str]]] = []

    @asynccontextmanager
    async def exec(
        self, namespace: str, pod: str, container: str, command: Sequence[str]
    ) -> AsyncIterator[Conversation]:
        self.asked.append((namespace, pod, container, list(command)))
        if not self._later:
            raise self._error
        yield Silent(self._error)


class Silent:
    def __init__(self, error: KubeError) -> None:
        self.exit_code: int | None = None
        self._error = error

    async def send(self, data: bytes) -> None:
        pass

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        yield 1, b"the beginning"
        raise self._error


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionFailed("reset by peer"), Cut),
        (NotFound("pods graph-0 not found"), Cut),
        (ServerError("container not found"), Cut),
        (Forbidden("cannot create pods/exec"), AgentRefused),
    ],
)
async def test_what_may_pass_is_a_cut_and_what_will_not_is_a_refusal(
    error: KubeError, expected: type[SessionError], later: bool
) -> None:
    pods = Pods(error, later=later)
    with pytest.raises(expected, match=str(error).partition(" ")[0]):
        await everything(pods)
    assert pods.asked[0][:3] == ("ns", "graph-0", "backup-sidecar")
    assert pods.asked[0][3][-2:] == ["agent", "topology"]


async def everything(pods: Pods) -> None:
    async with ExecDial(pods, SERVER)("topology") as conversation:
        async for _ in conversation:
            pass
