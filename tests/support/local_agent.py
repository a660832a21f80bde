"""The real agent as processes of this machine: a container's directories, its daemon, its verbs.

Guarantee: verbs are started as exec starts them, one process each, their input ended when the
conversation is left. Non-guarantee: no Kubernetes and no network in between, so nothing is ever cut.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import anyio
from anyio.abc import Process

from controller.runner.session import VerbSession

CHECKOUT = Path(__file__).resolve().parents[2]
DIRECTORIES = ("backup-requests", "data/backups", "data/databases", "tmp")


class LocalConversation:
    """One verb's process, shaped as an exec session."""

    def __init__(self, process: Process, complaints: IO[bytes]) -> None:
        self._process = process
        self._complaints = complaints
        self.exit_code: int | None = None

    async def send(self, data: bytes) -> None:
        assert self._process.stdin
        await self._process.stdin.send(data)

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        assert self._process.stdout
        async for chunk in self._process.stdout:
            yield 1, chunk
        self.exit_code = await self._process.wait()
        self._complaints.seek(0)
        if complaint := self._complaints.read():
            yield 2, complaint


@dataclass(frozen=True)
class LocalAgent:
    """One sidecar. ``env`` is the container's, ``CONTAINER_ROOT`` included."""

    name: str
    env: Mapping[str, str]

    def session(self) -> VerbSession:
        return VerbSession(self.name, self.dial)

    @asynccontextmanager
    async def dial(self, *verb: str) -> AsyncIterator[LocalConversation]:
        # Standard error goes to a file: two pipes would need two readers.
        with tempfile.TemporaryFile() as complaints:
            process = await anyio.open_process(
                self.argv(*verb), env=dict(self.env), cwd=CHECKOUT, stderr=complaints
            )
            try:
                yield LocalConversation(process, complaints)
            finally:
                if process.returncode is None:
                    process.terminate()
                await process.aclose()

    @staticmethod
    def argv(*verb: str) -> list[str]:
        return [sys.executable, "-m", "controller", "agent", *verb]


@contextmanager
def local_agent(name: str, root: Path, env: Mapping[str, str]) -> Iterator[LocalAgent]:
    """A sidecar whose daemon runs for as long as the context lasts."""
    for directory in DIRECTORIES:
        (root / directory).mkdir(parents=True, exist_ok=True)
    agent = LocalAgent(name, dict(env) | {"CONTAINER_ROOT": str(root), "PYTHONDONTWRITEBYTECODE": "1"})
    with subprocess.Popen(agent.argv("run"), env=dict(agent.env), cwd=CHECKOUT) as daemon:
        try:
            yield agent
        finally:
            daemon.terminate()
