"""The agent's verbs over connections that break."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import msgspec
import pytest

from controller.runner.session import AgentLost, AgentRefused, Cut, Patience, VerbSession
from controller.wire.messages import (
    Accepted,
    AgentProgress,
    AgentStatus,
    BackupRequest,
    Message,
    Released,
    ReleaseRequest,
    RunState,
    ServeReady,
    ServeRequest,
    TopologyAnswer,
    encode,
)

pytestmark = pytest.mark.asyncio
QUICK = Patience(answer=0.05, silence=0.05, absence=0.2, pause=0.001)
RUNNING = AgentProgress(run_id="r", state=RunState.RUNNING, bytes_staged=5)
DONE = AgentStatus(run_id="r", state=RunState.SUCCEEDED)
SERVE = ServeRequest(run_id="r", certificate_pem="c", private_key_pem="k", token="t")
Part = bytes | Message | Exception | None
"""What a conversation says: bytes, a message as a line, a cut; None is silence for ever."""


@dataclass
class Scripted:
    """One conversation."""

    parts: list[Part]
    code: int | None = 0
    complaint: bytes = b""
    echo: Callable[[bytes], Message] | None = None
    exit_code: int | None = None
    sent: bytes = b""

    async def send(self, data: bytes) -> None:
        self.sent += data
        if self.echo and self.sent.endswith(b"\n"):
            self.parts.append(self.echo(self.sent.rstrip(b"\n")))

    async def __aiter__(self) -> AsyncIterator[tuple[int, bytes]]:
        if self.complaint:
            yield 2, self.complaint
        for part in self.parts:
            await anyio.lowlevel.checkpoint()
            if part is None:
                await anyio.sleep_forever()
            elif isinstance(part, Exception):
                raise part
            else:
                yield 1, part if isinstance(part, bytes) else encode(part) + b"\n"
        self.exit_code = self.code


@dataclass
class Dialled:
    """Hands out conversations in order; the last one again and again."""

    conversations: list[Scripted | Exception]
    verbs: list[tuple[str, ...]] = field(default_factory=list)
    open: int = 0

    @asynccontextmanager
    async def __call__(self, *verb: str) -> AsyncIterator[Scripted]:
        self.verbs.append(verb)
        one = self.conversations.pop(0) if len(self.conversations) > 1 else self.conversations[0]
        if isinstance(one, Exception):
            raise one
        self.open += 1
        try:
            yield one
        finally:
            self.open -= 1


def session(*conversations: Scripted | Exception) -> tuple[VerbSession, Dialled]:
    dialled = Dialled(list(conversations))
    return VerbSession("graph-0", dialled, QUICK), dialled


def says(*parts: Part, code: int | None = 0, complaint: bytes = b"") -> Scripted:
    return Scripted(list(parts), code, complaint)


def accepting(sha256: str = "") -> Scripted:
    def answer(line: bytes) -> Message:
        digest = sha256 or hashlib.sha256(line).hexdigest()
        return Accepted(run_id="r", state=RunState.QUEUED, sha256=digest)

    return Scripted([], echo=answer)


# --- submit --------------------------------------------------------------------------------------


async def test_a_request_is_one_line_and_confirmed_by_its_hash() -> None:
    agent, dialled = session(conversation := accepting())
    accepted = await agent.submit(BackupRequest(run_id="r"))
    assert accepted.state is RunState.QUEUED
    assert msgspec.json.decode(conversation.sent, type=BackupRequest).run_id == "r"
    assert conversation.sent.count(b"\n") == 1
    assert dialled.verbs == [("submit",)]


@pytest.mark.parametrize(
    "first",
    [
        accepting(sha256="of something shorter"),
        says(code=64, complaint=b"standard input is no request: cut\n"),
        says(Cut("reset by peer")),
        Cut("connection refused"),
        says(code=0),
        says(b"{not json}\n"),
    ],
)
async def test_a_request_that_may_not_have_arrived_is_sent_again(first: Scripted | Exception) -> None:
    agent, dialled = session(first, accepting())
    assert (await agent.submit(BackupRequest(run_id="r"))).run_id == "r"
    assert len(dialled.verbs) == 2


async def test_a_refused_request_says_why() -> None:
    agent, dialled = session(says(code=1, complaint=b"trace\nno space left on device\n"))
    with pytest.raises(AgentRefused, match="no space left on device"):
        await agent.submit(BackupRequest(run_id="r"))
    assert len(dialled.verbs) == 1


async def test_an_agent_that_stays_away_is_lost() -> None:
    agent, _ = session(Cut("no such container"))
    with pytest.raises(AgentLost, match="no such container"):
        await agent.submit(BackupRequest(run_id="r"))


# --- follow --------------------------------------------------------------------------------------


async def test_progress_is_reported_and_the_last_line_is_the_outcome() -> None:
    agent, _ = session(says(RUNNING, RUNNING, DONE))
    heard: list[AgentProgress] = []
    assert await agent.follow("r", heard.append) == DONE
    assert heard == [RUNNING, RUNNING]


async def test_lines_may_come_in_pieces() -> None:
    line = encode(DONE) + b"\n"
    agent, _ = session(says(line[:7], line[7:20], line[20:]))
    assert await agent.follow("r", lambda _: None) == DONE


@pytest.mark.parametrize(
    "cut",
    [
        says(RUNNING, Cut("reset")),
        says(RUNNING),
        says(RUNNING, None),
        says(RUNNING, b'{"runId'),
        Cut("refused"),
    ],
)
async def test_a_cut_is_followed_up_by_another_follow(cut: Scripted | Exception) -> None:
    agent, dialled = session(cut, says(RUNNING, DONE))
    assert await agent.follow("r", lambda _: None) == DONE
    assert dialled.verbs == [("follow", "r")] * 2
    assert dialled.open == 0


async def test_an_unknown_run_is_an_outcome_too() -> None:
    gone = AgentStatus(run_id="r", state=RunState.FAILED, error="this agent knows no such run")
    agent, _ = session(says(gone, code=66))
    assert await agent.follow("r", lambda _: None) == gone


async def test_silence_for_too_long_is_the_end() -> None:
    agent, dialled = session(Cut("refused"))
    with pytest.raises(AgentLost, match="not heard from"):
        await agent.follow("r", lambda _: None)
    assert len(dialled.verbs) > 2


# --- the rest ------------------------------------------------------------------------------------


async def test_topology_is_the_last_line() -> None:
    answer = TopologyAnswer(neo4j_version="5.26.3")
    agent, _ = session(says(b"a greeting of the image\n", answer))
    assert await agent.topology() == answer


async def test_topology_that_hangs_counts_as_cut() -> None:
    agent, _ = session(says(None), says(TopologyAnswer(error="x")))
    assert (await agent.topology()).error == "x"


async def test_the_listener_lasts_as_long_as_the_context() -> None:
    agent, dialled = session(conversation := says(ServeReady(address="10.0.0.1", port=5), None))
    async with agent.serve(SERVE) as ready:
        assert (ready.address, ready.port) == ("10.0.0.1", 5)
        assert dialled.open == 1
    assert dialled.open == 0
    assert msgspec.json.decode(conversation.sent, type=ServeRequest) == SERVE


async def test_a_listener_that_does_not_start_says_why() -> None:
    agent, _ = session(says(code=66, complaint=b"run r has no artifacts\n"))
    with pytest.raises(AgentRefused, match="no artifacts"):
        async with agent.serve(SERVE):
            pass


async def test_what_goes_wrong_while_it_listens_comes_out_as_it_is() -> None:
    agent, dialled = session(says(ServeReady(address="a", port=1), None))
    with pytest.raises(ZeroDivisionError):
        async with agent.serve(SERVE):
            raise ZeroDivisionError
    assert dialled.open == 0


async def test_a_listener_whose_exec_is_cut_does_not_disturb_the_transfer() -> None:
    agent, _ = session(says(ServeReady(address="a", port=1), Cut("reset")))
    async with agent.serve(SERVE):
        await anyio.sleep(0.01)


async def test_fetched_bytes_are_the_files_own() -> None:
    agent, dialled = session(says(b"\x00\n\xff", b"more"))
    async with agent.fetch("r", "f.backup", 17) as chunks:
        assert b"".join([chunk async for chunk in chunks]) == b"\x00\n\xffmore"
    assert dialled.verbs == [("fetch", "r", "f.backup", "17")]


async def test_a_file_that_is_not_there_is_refused() -> None:
    agent, _ = session(says(code=66, complaint=b"run r has no artifact f\n"))
    with pytest.raises(AgentRefused, match="no artifact f"):
        await everything(agent)


async def everything(agent: VerbSession) -> bytes:
    async with agent.fetch("r", "f", 0) as chunks:
        return b"".join([chunk async for chunk in chunks])


async def test_release_is_repeated_until_it_is_heard() -> None:
    request = ReleaseRequest(run_id="r", committed=("f.backup",))
    sha256 = hashlib.sha256(encode(request)).hexdigest()
    damaged, heard = Released(run_id="r", sha256="0"), Released(run_id="r", sha256=sha256)
    agent, dialled = session(says(Cut("reset")), says(damaged), says(heard))
    await agent.release(request)
    assert dialled.verbs == [("release",)] * 3
