"""Artifacts arrive whole, through any weather, or the reason comes out."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import anyio
import anyio.to_thread
import pytest

from controller.repository.errors import NoSpaceLeft, Unavailable
from controller.repository.store import ObjectInfo
from controller.repository.stores.memory import MemoryStore
from controller.runner.channel import Channel
from controller.runner.download import Limits, TransferFailed
from controller.runner.transfer import Carried, Line, Persistence, carry, open_line
from tests.unit.runner.fakes import QUICK, FakeAgent, Weather, artifact

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DATA = random.Random(1).randbytes(3_000_000)
KEY = "databases/neo4j/c/a.backup"
pytestmark = pytest.mark.asyncio


def agent(weather: Weather | None = None, data: bytes = DATA) -> FakeAgent:
    return FakeAgent("graph-0", stores={"neo4j": data}, weather=weather or Weather())


async def bring(source: FakeAgent, store: MemoryStore) -> tuple[Carried, Line]:
    async with open_line(source, "run-1", lambda: NOW, QUICK) as line:
        return await carry(line, artifact("neo4j", source.stores["neo4j"]), store, KEY), line


@pytest.mark.parametrize("size", [0, 1, 500_000, 3_000_000])
async def test_an_artifact_arrives_as_it_is(size: int) -> None:
    store, source = MemoryStore(), agent(data=DATA[:size])
    carried, line = await bring(source, store)
    assert b"".join(store.get(KEY)) == DATA[:size]
    assert carried.size == size
    assert carried.sha256 == hashlib.sha256(DATA[:size]).hexdigest()
    assert line.transport == "tls"


async def test_one_listener_serves_all_artifacts_of_a_server() -> None:
    source = FakeAgent("graph-0", stores={"a": b"1" * 10, "b": b"2" * 20})
    store = MemoryStore()
    async with open_line(source, "run-1", lambda: NOW, QUICK) as line:
        for name, data in source.stores.items():
            await carry(line, artifact(name, data), store, f"{name}.backup")
    assert source.listeners == 1
    assert b"".join(store.get("b.backup")) == b"2" * 20


async def test_a_cut_is_resumed_where_it_happened() -> None:
    store, source = MemoryStore(), agent(Weather(cut_after=800_000))
    await bring(source, store)
    assert b"".join(store.get(KEY)) == DATA
    assert source.ranges == [0, 800_000, 1_600_000, 2_400_000]


async def test_a_connection_that_falls_silent_is_resumed() -> None:
    store, source = MemoryStore(), agent(Weather(stall_after=2_000_000))
    await bring(source, store)
    assert b"".join(store.get(KEY)) == DATA
    assert source.ranges[0] == 0
    assert all(offset > 0 for offset in source.ranges[1:])


async def test_where_the_port_is_closed_the_bytes_come_through_exec() -> None:
    store, source = MemoryStore(), agent(Weather(unreachable=True))
    _, line = await bring(source, store)
    assert b"".join(store.get(KEY)) == DATA
    assert line.transport == "exec"


async def test_an_exec_that_ends_early_in_silence_is_resumed() -> None:
    store, source = MemoryStore(), agent(Weather(unreachable=True, exec_cuts=3, cut_after=100_000))
    await bring(source, store)
    assert b"".join(store.get(KEY)) == DATA
    assert source.ranges == [0, 100_000, 200_000, 300_000]


async def test_a_stranger_on_the_port_never_sees_the_token_and_ends_the_transfer() -> None:
    store, source = MemoryStore(), agent(Weather(stranger=True))
    with pytest.raises(TransferFailed, match="not this run's"):
        await bring(source, store)
    assert source.ranges == []
    assert list(store.list("")) == []


@pytest.mark.parametrize("status", [404, 500])
async def test_an_agent_that_has_no_such_file_says_so_at_once(status: int) -> None:
    source = agent(Weather(status=status))
    with pytest.raises(TransferFailed, match=str(status)):
        await bring(source, MemoryStore())
    assert source.listeners == 1


async def test_a_file_that_changed_since_it_was_announced_is_not_stored() -> None:
    store = MemoryStore()
    with pytest.raises(TransferFailed, match="any more"):
        await bring(agent(Weather(extra=b"more")), store)
    with pytest.raises(TransferFailed, match="longer than"):
        await bring(agent(Weather(extra=b"more", unreachable=True)), store)
    assert list(store.list("")) == []


async def test_a_way_that_stays_barren_ends_with_what_was_last_seen() -> None:
    source = agent(Weather(unreachable=True, exec_cuts=99))
    with pytest.raises(TransferFailed, match="neo4j-2026"):
        await bring(source, MemoryStore())


async def test_an_agent_that_is_gone_fails_the_transfer() -> None:
    source = agent()
    source.lost = "no word from the agent"
    with pytest.raises(TransferFailed, match="no word"):
        await bring(source, MemoryStore())


class Full(MemoryStore):
    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        next(iter(chunks))
        raise NoSpaceLeft("the volume is full")


async def test_a_store_that_fails_ends_the_transfer_with_its_own_error() -> None:
    with pytest.raises(NoSpaceLeft):
        await bring(agent(), Full())


class Forgetful(MemoryStore):
    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, 1)


async def test_a_store_that_kept_less_is_not_believed() -> None:
    with pytest.raises(Unavailable, match="has 1 bytes, 3000000 were sent"):
        await bring(agent(), Forgetful())


class Slow(MemoryStore):
    """Takes the first chunk and then nothing for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.started = threading.Event()
        self.ended: BaseException | None = None

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        try:
            super().put(key, self._taken(chunks))
        except BaseException as error:
            self.ended = error
            raise

    def _taken(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.started.set()
            yield chunk


async def test_cancelling_wakes_the_threads_and_stores_nothing() -> None:
    """Also where a thread waits for bytes that would take another minute to be given up on."""
    store, source = Slow(), agent(Weather(stall_after=2_000_000))
    patient = Persistence(limits=Limits(stall=60))
    with anyio.fail_after(10), anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when, store.started, scope)
            async with open_line(source, "run-1", lambda: NOW, patient) as line:
                await carry(line, artifact("neo4j", DATA), store, KEY)
    assert scope.cancelled_caught
    assert store.ended is not None
    assert list(store.list("")) == []


async def _cancel_when(started: threading.Event, scope: anyio.CancelScope) -> None:
    await anyio.to_thread.run_sync(started.wait, 5)
    scope.cancel()


async def test_memory_is_bounded_by_the_channel() -> None:
    held: list[int] = []

    class Watching(MemoryStore):
        def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
            taken = 0
            for chunk in chunks:
                taken += len(chunk)
                held.append(channel.received - taken)
            super().put(key, [DATA])

    channel = Channel(capacity=2)
    source = agent()
    async with open_line(source, "run-1", lambda: NOW, QUICK) as line:
        await carry(line, artifact("neo4j", DATA), Watching(), KEY, channel=channel)
    assert max(held) <= 3 * 512 * 1024


class Upper:
    """A stage that changes what is stored and how long it is."""

    def feed(self, chunk: bytes) -> bytes:
        return chunk.upper()

    def finish(self) -> bytes:
        return b"!"


async def test_stages_change_what_is_stored_and_what_is_reported() -> None:
    store, source = MemoryStore(), agent(data=b"abc")
    async with open_line(source, "run-1", lambda: NOW, QUICK) as line:
        carried = await carry(line, artifact("neo4j", b"abc"), store, KEY, stages=[Upper()])
    assert b"".join(store.get(KEY)) == b"ABC!"
    assert carried.size == 4
