"""Cancelled anywhere: at every turn of the loop that an informer, a queue or a connection takes.

What was cancelled leaves no task, no socket and no half-done state behind, and whoever goes on from there
ends where it would have ended.
"""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections import deque
from collections.abc import Awaitable, Callable
from typing import cast

import anyio
import anyio.lowlevel
import pytest

from controller.kube.client import Client
from controller.kube.controller import Done, run_workers
from controller.kube.informer import Informer
from controller.kube.workqueue import WorkQueue
from tests.support.memory_api import Fault, MemoryApi
from tests.support.scripted_api import events, listing, scripted_api
from tests.unit.kube.following import until
from tests.unit.kube.things import THINGS, Thing
from tests.unit.kube.virtual import virtual

TURNS = 60


async def cancelled_after(turns: int, work: Callable[[], Awaitable[None]]) -> bool:
    """Whether ``work`` was still going on when it was cancelled after so many turns of the loop."""
    going_on = True

    async def watched() -> None:
        nonlocal going_on
        await work()
        going_on = False

    async with anyio.create_task_group() as group:
        group.start_soon(watched)
        for _ in range(turns):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    return going_on


@pytest.mark.parametrize("streamed", [False, True], ids=["list", "stream"])
def test_an_informer_that_is_cancelled_anywhere_goes_on_to_the_same_end(streamed: bool) -> None:
    @virtual
    async def run(turns: int) -> None:
        api = MemoryApi(deque([Fault.NONE, Fault.CUT, Fault.TOLD_GONE]))
        for name in "abcde":
            api.put(name, "red")
        told: dict[str, str] = {}

        def tell(old: Thing | None, new: Thing | None) -> None:
            if new is None:
                assert old is not None
                del told[old.name]
            else:
                told[new.name] = new.resource_version

        informer = Informer(
            cast("Client", api), THINGS, Thing, namespace="ns", streamed=streamed, jitter=lambda: 0.0
        )
        informer.add_handler(tell)
        assert await cancelled_after(turns, informer.run)
        assert len(asyncio.all_tasks()) == 1, "a task is left"
        assert len(informer.store) in (0, 5), "a list is shown in one step"
        api.delete("a")
        api.put("b", "blue")
        async with anyio.create_task_group() as group:
            group.start_soon(informer.run)
            await until(informer, lambda: informer.store.version == str(api.version))
            group.cancel_scope.cancel()
        expected = {name: obj["metadata"]["resourceVersion"] for name, obj in api.objects.items()}
        assert {item.name: item.resource_version for item in informer.store.list()} == expected
        assert told == expected

    for turns in range(1, TURNS):
        run(turns)


def test_workers_that_are_cancelled_anywhere_hold_nothing_and_lose_nothing_that_waits() -> None:
    @virtual
    async def run(turns: int) -> None:
        queue: WorkQueue[str] = WorkQueue("test", jitter=lambda: 0.0)
        done: list[str] = []
        started: list[str] = []

        async def reconcile(key: str) -> Done:
            started.append(key)
            await anyio.lowlevel.checkpoint()
            done.append(key)
            return Done()

        keys = ["a", "b", "c", "d"]
        for key in keys:
            queue.add(key)
        await cancelled_after(turns, lambda: run_workers(queue, reconcile, 2))
        assert len(asyncio.all_tasks()) == 1, "a task is left"
        assert queue.statistics().processing == 0
        given_up = [key for key in started if key not in done]
        for key in given_up:
            queue.add(key)
        async with anyio.create_task_group() as group:
            group.start_soon(run_workers, queue, reconcile, 2)
            await queue.drain()
        assert sorted(done) == keys
        assert repr(queue) == "<WorkQueue test: 0 ready, 0 delayed, 0 in hand>"

    for turns in range(1, 20):
        run(turns)


@virtual
async def test_a_request_that_is_cancelled_anywhere_leaves_no_socket() -> None:
    async def one(client: Client) -> None:
        await client.list(THINGS, "ns")

    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        async with scripted_api(otherwise=listing("5")) as api:
            for turns in range(1, 40):
                async with Client(api.config()) as client:
                    await cancelled_after(turns, lambda client=client: one(client))  # type: ignore[misc]
        gc.collect()
    assert [str(item.message) for item in left if item.category is ResourceWarning] == []


@virtual
async def test_a_watch_that_is_cancelled_anywhere_leaves_no_socket() -> None:
    with warnings.catch_warnings(record=True) as left:
        warnings.simplefilter("always", ResourceWarning)
        async with scripted_api(otherwise=events(hold=True)) as api:
            for turns in range(1, 40):
                async with Client(api.config()) as client:
                    informer = Informer(client, THINGS, Thing, namespace="ns", streamed=True)
                    await cancelled_after(turns, informer.run)
        gc.collect()
    assert [str(item.message) for item in left if item.category is ResourceWarning] == []
