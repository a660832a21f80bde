"""The informer against a server that fails in every way, under drawn schedules, in virtual time.

At rest the store is what the server has, and so is what every handler ends with that replays what it was
told; no object's version goes back; nothing vanishes without a deletion. And the rest comes: whatever the
faults were, when they are over the cache catches up.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast

import anyio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from controller.kube.client import Client
from controller.kube.informer import Informer
from controller.kube.versions import is_at_least
from tests.support.memory_api import Fault, MemoryApi
from tests.unit.kube.things import THINGS, Thing

CHANGE = st.tuples(
    st.sampled_from(["put", "put", "again", "delete", "delete"]),
    st.sampled_from("abc"),
    st.sampled_from(["red", "blue"]),
)
GAP = st.tuples(st.just("gap"), st.lists(CHANGE, min_size=1, max_size=4))
"""Changes that nobody can be told of any more."""
DEED = st.tuples(
    st.one_of(CHANGE, CHANGE, GAP, st.just(("handler",))),
    st.sampled_from([0.0, 0.1, 0.1, 5.0, 100.0, 1000.0]),
)
FAULT = st.one_of(st.just(Fault.NONE), st.sampled_from(Fault))


@dataclass
class Replay:
    """A handler, and what it knows only from what it was told."""

    informer: Informer[Thing]
    known: dict[str, Thing] = field(default_factory=dict)

    def __call__(self, old: Thing | None, new: Thing | None) -> None:
        if old is None:
            assert new is not None
            assert new.name not in self.known, "added twice"
        else:
            before = self.known.pop(old.name)
            assert before.uid == old.uid
        if new is not None:
            assert is_at_least(self.informer.store.version, new.resource_version), "the store comes first"
            if old is not None:
                assert old.uid == new.uid, "a namesake is no change"
                assert is_at_least(old.resource_version, new.resource_version) is False, "it goes back"
            self.known[new.name] = new


@given(
    plan=st.lists(FAULT, max_size=12),
    deeds=st.lists(DEED, min_size=5, max_size=25),
    streamed=st.booleans(),
    offered=st.booleans(),
    seed=st.integers(0, 2**32),
    module=st.random_module(),
)
def test_at_rest_the_cache_is_what_the_server_has_whatever_went_wrong(
    plan: list[Fault],
    deeds: list[tuple[tuple[Any, ...], float]],
    streamed: bool,
    offered: bool,
    seed: int,
    module: object,
) -> None:
    """``module`` lets trio draw another order of its tasks for each example."""

    async def run() -> None:
        api = MemoryApi(deque(plan), streams=offered)
        api.put("a", "red")
        informer = Informer(
            cast("Client", api), THINGS, Thing, namespace="ns", streamed=streamed, jitter=Random(seed).random
        )
        replays = [Replay(informer)]
        informer.add_handler(replays[0])
        async with anyio.create_task_group() as group:
            group.start_soon(informer.run)
            for (deed, *details), pause in deeds:
                await anyio.sleep(pause)
                _do(deed, details, api, informer, replays)
            with anyio.fail_after(24 * 3600.0):
                while api.faults or not informer.has_synced or not _agree(api, informer):
                    with anyio.move_on_after(60.0):
                        await informer.wait_changed()
            for replay in replays:
                assert replay.known == {item.name: item for item in informer.store.list()}
            # An outage costs a bounded number of requests, however long it takes.
            assert api.requests < 200 + anyio.current_time()
            group.cancel_scope.cancel()

    anyio.run(run, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})


def _do(
    deed: str, details: list[Any], api: MemoryApi, informer: Informer[Thing], replays: list[Replay]
) -> None:
    if deed == "handler":
        late = Replay(informer)
        informer.add_handler(late)
        replays.append(late)
    elif deed == "gap":
        for change in details[0]:
            _change(api, *change)
        api.forget()
    else:
        _change(api, deed, *details)


def _change(api: MemoryApi, deed: str, name: str, color: str) -> None:
    if deed == "delete":
        api.delete(name)
    else:
        api.put(name, color, again=deed == "again")


def _agree(api: MemoryApi, informer: Informer[Any]) -> bool:
    there = {(obj["metadata"]["uid"], obj["metadata"]["resourceVersion"]) for obj in api.objects.values()}
    return {(item.uid, item.resource_version) for item in informer.store.list()} == there
