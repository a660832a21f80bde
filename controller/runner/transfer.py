"""Carries artifacts from an agent into the store, in one pass.

Guarantee: each byte is read once, hashed and stored as it comes, with flat memory; a cut is followed up
from where it happened, never from zero, with a new listener when the old one is gone. Where the agent's
port cannot be reached the same bytes come through exec. An artifact is carried only when the store
confirms as many bytes as the agent announced.

Non-guarantee: nothing is visible to readers of the repository until the run's manifest is committed.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.abc import TaskGroup, TaskStatus

from controller.repository import pipeline
from controller.repository.errors import Unavailable
from controller.repository.pipeline import Digest, Stage
from controller.repository.store import Store
from controller.runner.channel import Aborted, Channel
from controller.runner.credentials import make_credentials
from controller.runner.download import Download, Endpoint, Interrupted, Limits, TransferFailed, Unreachable
from controller.runner.groups import unwrapped
from controller.runner.session import AgentSession, Cut, SessionError
from controller.wire.messages import Artifact, ServeRequest

Transport = Literal["tls", "exec"]
PARTING_SECONDS = 10.0
"""For an upload to be aborted. The pod's grace has to be enough for the staging's release too."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """How stubborn a transfer is."""

    barren_tries: int = 6
    """In a row without a single new byte."""
    pause: float = 1.0
    """Seconds after the first cut; doubles up to 16 times that."""
    unreachable_tries: int = 2
    """Before exec is used instead."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Carried:
    """What is in the store now."""

    size: int
    sha256: str
    plain_size: int
    plain_sha256: str


class Line:
    """The way that one agent's artifacts come. Use :func:`open_line`."""

    def __init__(
        self, session: AgentSession, run_id: str, tasks: TaskGroup, now: Callable[[], datetime],
        persistence: Persistence,
    ) -> None:  # fmt: skip
        self._session = session
        self._run_id = run_id
        self._tasks = tasks
        self._now = now
        self._persistence = persistence
        self._endpoint: Endpoint | None = None
        self._scope = anyio.CancelScope()
        self._unreachable = 0
        self.transport: Transport = "tls"

    async def feed(self, artifact: Artifact, channel: Channel) -> None:
        """Fill ``channel`` with the artifact, through any number of cuts; never raises for a cut."""
        barren, last = 0, "nothing arrived"
        while channel.received < artifact.size:
            before = channel.received
            try:
                await self._once(artifact, channel)
            except (Interrupted, Cut) as error:
                last = str(error)
                self._drop()
            except (TransferFailed, SessionError) as error:
                channel.fail(TransferFailed(str(error)))
                return
            barren = 0 if channel.received > before else barren + 1
            if barren >= self._persistence.barren_tries:
                channel.fail(TransferFailed(f"{artifact.file}: {last}"))
                return
            if barren:
                await anyio.sleep(self._persistence.pause * 2 ** min(barren - 1, 4))
        channel.finish()

    async def _once(self, artifact: Artifact, channel: Channel) -> None:
        if self.transport == "exec":
            await self._through_exec(artifact, channel)
            return
        try:
            download = Download(await self._reach(), self._persistence.limits)
            await _in_thread(download.run, download.abort, artifact.file, artifact.size, channel)
        except Unreachable:
            self._unreachable += 1
            if self._unreachable >= self._persistence.unreachable_tries:
                self.transport = "exec"
            raise

    async def _through_exec(self, artifact: Artifact, channel: Channel) -> None:
        async with self._session.fetch(self._run_id, artifact.file, channel.received) as chunks:
            async for chunk in chunks:
                if channel.received + len(chunk) > artifact.size:
                    raise TransferFailed(f"{artifact.file} is longer than the agent announced")
                if not channel.put_nowait(chunk):
                    await _in_thread(channel.put, channel.abort, chunk)

    async def _reach(self) -> Endpoint:
        if self._endpoint is None:
            self._endpoint = await self._tasks.start(self._listen)
        return self._endpoint

    async def _listen(self, *, task_status: TaskStatus[Endpoint]) -> None:
        """Keep a listener open on the agent until it is dropped."""
        secret = make_credentials(self._run_id, self._now())
        request = ServeRequest(
            run_id=self._run_id,
            certificate_pem=secret.certificate_pem,
            private_key_pem=secret.private_key_pem,
            token=secret.token,
        )
        with anyio.CancelScope() as scope:
            self._scope = scope
            async with self._session.serve(request) as ready:
                task_status.started(Endpoint(ready.address, ready.port, secret.fingerprint, secret.token))
                await anyio.sleep_forever()

    def _drop(self) -> None:
        """A listener that failed is not tried again: its exec may be gone, and with it the listener."""
        self._endpoint = None
        self._scope.cancel()


@asynccontextmanager
async def open_line(
    session: AgentSession, run_id: str, now: Callable[[], datetime], persistence: Persistence | None = None
) -> AsyncIterator[Line]:
    """A line for the artifacts of one run; its listener is closed at the end."""
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            yield Line(session, run_id, tasks, now, persistence or Persistence())
            tasks.cancel_scope.cancel()


class Source(Protocol):
    """Where an artifact's bytes come from."""

    async def feed(self, artifact: Artifact, channel: Channel) -> None:
        """Put all of them into ``channel``, or say there why not."""
        ...


async def carry(
    source: Source, artifact: Artifact, store: Store, key: str, *,
    channel: Channel | None = None, stages: Sequence[Stage] = (),
) -> Carried:  # fmt: skip
    """Bring one artifact into ``store`` under ``key``.

    Raises ``TransferFailed`` for what went wrong on the agent's side, ``StoreError`` for the store's.
    ``stages`` transform what is stored (encryption); the result describes the stored bytes.
    """
    channel = channel or Channel()
    read = Digest()
    stored = Digest() if stages else read
    chunks = pipeline.run(channel, [read, *stages, stored] if stages else [read])
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(source.feed, artifact, channel)
            await _in_thread(lambda: store.put(key, chunks, size_hint=artifact.size), channel.abort)
            tasks.cancel_scope.cancel()
    if read.size != artifact.size:
        raise TransferFailed(f"{artifact.file}: {read.size} bytes arrived instead of {artifact.size}")
    found = await anyio.to_thread.run_sync(store.head, key, abandon_on_cancel=True)
    if found.size != stored.size:
        raise Unavailable(f"{store.location}/{key} has {found.size} bytes, {stored.size} were sent")
    return Carried(stored.size, stored.sha256, read.size, read.sha256)


async def _in_thread(work: Callable[..., None], abort: Callable[[], None], *arguments: object) -> None:
    """Run blocking ``work``; a cancellation makes it end by ``abort``, and waits for that a little.

    What hangs in a server that says nothing cannot be ended from here: it is left to the end of the process.
    """
    begun, ended = threading.Event(), threading.Event()

    def observed() -> None:
        begun.set()
        try:
            work(*arguments)
        finally:
            ended.set()

    try:
        await anyio.to_thread.run_sync(observed, abandon_on_cancel=True)
    except anyio.get_cancelled_exc_class():
        abort()
        if begun.is_set():
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(ended.wait, PARTING_SECONDS)
        raise
    except (Aborted, Interrupted):
        # What the abort made of the thread is no news when it was the cancellation that did it.
        await anyio.lowlevel.checkpoint()
        raise
