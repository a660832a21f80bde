"""Talking to an agent, whatever carries the conversation.

Guarantee: a cut connection is followed up by another one and never by a second dump; a request counts
as accepted only when the agent has answered with the hash of exactly what was sent; a connection that
is silent for longer than an agent ever is counts as cut.

Non-guarantee: an agent that is gone for longer than the patience given is reported as lost although
its dump may still finish; the staging of such a run is the agent's own to clean.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import anyio
import msgspec

from controller.runner.groups import unwrapped
from controller.wire.messages import (
    Accepted,
    AgentProgress,
    AgentStatus,
    BackupRequest,
    Released,
    ReleaseRequest,
    RunState,
    ServeReady,
    ServeRequest,
    TopologyAnswer,
    Unreadable,
    decode,
    encode,
)

STDOUT = 1
USAGE = 64
NO_SUCH_RUN = 66
T = TypeVar("T")
M = TypeVar("M", bound=msgspec.Struct)


class SessionError(Exception):
    """Base of what a conversation can end with; one line."""


class Cut(SessionError):
    """The way to the agent broke; the verb may or may not have done its work. Ask again."""


class AgentLost(SessionError):
    """The agent could not be reached for as long as patience lasted."""


class AgentRefused(SessionError):
    """The agent, or the API server on the way, said no; asking again gives the same answer."""


class Conversation(Protocol):
    """One running verb: ``controller.kube``'s exec session, or a local process in tests."""

    exit_code: int | None
    """After the end: the verb's own."""

    async def send(self, data: bytes) -> None:
        """Feed standard input."""
        ...

    def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        """Output as it comes: ``(1, …)`` from standard output, ``(2, …)`` from standard error."""
        ...


class Dial(Protocol):
    """Starts a verb of one agent; what breaks on the way is raised as :class:`SessionError`."""

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
        """The artifact's bytes from ``offset`` on. A cut may look like an early end: count."""
        ...

    async def release(self, request: ReleaseRequest) -> None:
        """Let the agent remove the staging of a run; the files that were committed continue their chains."""
        ...


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds; how long to put up with what."""

    answer: float = 120.0
    """For a verb that answers once. A topology may wait for a JVM to start."""
    silence: float = 30.0
    """Without a line from ``follow``, which says something every 2 seconds."""
    absence: float = 300.0
    """Without any word from the agent: a container that restarts, an API server that rolls over."""
    pause: float = 1.0
    """Between two tries."""


class VerbSession:
    """The verbs of DESIGN's agent over any :class:`Dial`."""

    def __init__(self, name: str, dial: Dial, patience: Patience | None = None) -> None:
        self._name = name
        self._dial = dial
        self._patience = patience or Patience()

    @property
    def name(self) -> str:
        return self._name

    async def submit(self, request: BackupRequest) -> Accepted:
        return await self._again_until_said(lambda: self._submit(encode(request)))

    async def follow(self, run_id: str, report: Callable[[AgentProgress], None]) -> AgentStatus:
        heard = [anyio.current_time()]

        def note(progress: AgentProgress) -> None:
            heard[0] = anyio.current_time()
            report(progress)

        while True:
            try:
                return await self._follow(run_id, note)
            except Cut as cut:
                if anyio.current_time() - heard[0] > self._patience.absence:
                    raise AgentLost(f"not heard from for {self._patience.absence:.0f}s: {cut}") from cut
            await anyio.sleep(self._patience.pause)

    async def topology(self) -> TopologyAnswer:
        return await self._again_until_said(lambda: self._answer(TopologyAnswer, b"", "topology"))

    @asynccontextmanager
    async def serve(self, request: ServeRequest) -> AsyncIterator[ServeReady]:
        async with self._dial("serve") as conversation:
            await conversation.send(encode(request) + b"\n")
            output = _Output(conversation)
            with _at_most(self._patience.answer, "serve"):
                line = await output.line()
            if line is None:
                raise _verdict(output, "serve")
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    # Somebody has to read, or nobody answers the API server's pings.
                    tasks.start_soon(output.drain)
                    yield _decoded(line, ServeReady)
                    tasks.cancel_scope.cancel()

    @asynccontextmanager
    async def fetch(self, run_id: str, file: str, offset: int) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._dial("fetch", run_id, file, str(offset)) as conversation:
            yield self._bytes(_Output(conversation))

    async def release(self, request: ReleaseRequest) -> None:
        await self._again_until_said(lambda: self._release(encode(request)))

    async def _submit(self, line: bytes) -> Accepted:
        accepted = await self._answer(Accepted, line + b"\n", "submit")
        if accepted.sha256 != hashlib.sha256(line).hexdigest():
            raise Cut("the request arrived damaged")
        return accepted

    async def _release(self, line: bytes) -> None:
        released = await self._answer(Released, line + b"\n", "release")
        if released.sha256 != hashlib.sha256(line).hexdigest():
            raise Cut("the request arrived damaged")

    async def _follow(self, run_id: str, report: Callable[[AgentProgress], None]) -> AgentStatus:
        async with self._dial("follow", run_id) as conversation:
            output = _Output(conversation)
            status: AgentStatus | None = None
            while True:
                with _at_most(self._patience.silence, "follow"):
                    line = await output.line()
                if line is None:
                    break
                if _is_progress(line):
                    report(_decoded(line, AgentProgress))
                else:
                    status = _decoded(line, AgentStatus)
            if status is None:
                raise _verdict(output, "follow")
            return status

    async def _answer(self, type_: type[M], sent: bytes, *verb: str) -> M:
        lines = await self._ask(sent, *verb)
        if not lines:
            raise Cut(f"{verb[0]} ended without an answer")
        return _decoded(lines[-1], type_)

    async def _ask(self, sent: bytes, *verb: str) -> list[bytes]:
        """Run one verb to its end."""
        with _at_most(self._patience.answer, verb[0]):
            async with self._dial(*verb) as conversation:
                if sent:
                    await conversation.send(sent)
                output = _Output(conversation)
                lines = [line async for line in output.lines()]
                if output.exit_code:
                    raise _verdict(output, verb[0])
                return lines
        raise AssertionError("unreachable")

    async def _bytes(self, output: _Output) -> AsyncIterator[bytes]:
        async for chunk in output.chunks():
            yield chunk
        if output.exit_code:
            raise _verdict(output, "fetch")

    async def _again_until_said(self, ask: Callable[[], Awaitable[T]]) -> T:
        since = anyio.current_time()
        while True:
            try:
                return await ask()
            except Cut as cut:
                if anyio.current_time() - since > self._patience.absence:
                    raise AgentLost(str(cut)) from cut
            await anyio.sleep(self._patience.pause)


class _Output:
    """Standard output by lines or by chunks; the tail of standard error for the message."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._source = aiter(conversation)
        self._partial = b""
        self._complaint = b""
        self._ready: list[bytes] = []

    @property
    def exit_code(self) -> int | None:
        return self._conversation.exit_code

    @property
    def complaint(self) -> str:
        lines = self._complaint.decode("utf-8", "replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    async def chunks(self) -> AsyncIterator[bytes]:
        async for channel, data in self._source:
            if channel == STDOUT:
                yield data
            else:
                self._complaint = (self._complaint + data)[-4096:]

    async def lines(self) -> AsyncIterator[bytes]:
        while (line := await self.line()) is not None:
            yield line

    async def line(self) -> bytes | None:
        """The next complete line without its newline; ``None`` at the end."""
        while not self._ready:
            data = await self._next()
            if data is None:
                return None
            *complete, self._partial = (self._partial + data).split(b"\n")
            self._ready = [line for line in complete if line.strip()]
        return self._ready.pop(0)

    async def drain(self) -> None:
        """Read on until the verb ends; how it ends is found out by whoever uses its listener."""
        try:
            while await self._next() is not None:
                pass
        except SessionError:
            return

    async def _next(self) -> bytes | None:
        async for channel, data in self._source:
            if channel == STDOUT:
                return data
            self._complaint = (self._complaint + data)[-4096:]
        return None


class _State(msgspec.Struct):
    state: RunState


def _is_progress(line: bytes) -> bool:
    return _decoded(line, _State).state in (RunState.QUEUED, RunState.RUNNING)


def _decoded(line: bytes, type_: type[M]) -> M:
    try:
        return decode(line, type_)
    except Unreadable as error:
        raise Cut(f"the agent's answer is not understood: {error}") from error


def _verdict(output: _Output, verb: str) -> SessionError:
    """What an end without the expected answer means."""
    said = output.complaint or "no reason given"
    if output.exit_code == USAGE and verb in ("submit", "release"):
        # Input through exec can be cut short in silence: the agent then reads a damaged line.
        return Cut(f"{verb}: {said}")
    if not output.exit_code:
        return Cut(f"{verb} ended early")
    if output.exit_code == NO_SUCH_RUN and verb == "follow":
        return AgentRefused("the pod was replaced during the dump: its agent does not know this run any more")
    return AgentRefused(f"agent {verb} ended with exit code {output.exit_code}: {said}")


@contextmanager
def _at_most(seconds: float, verb: str) -> Iterator[None]:
    """A time limit whose end counts as a cut connection."""
    try:
        with anyio.fail_after(seconds):
            yield
    except TimeoutError as error:
        raise Cut(f"{verb}: no answer within {seconds:.0f}s") from error
