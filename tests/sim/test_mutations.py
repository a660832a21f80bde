"""The simulation can fail: machinery that is broken on purpose is found out, each within a few seeds."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import anyio
import pytest

from controller.kube import leader, lease, store, transport, watch, workqueue
from controller.kube.client import Client
from controller.kube.lease import Wait, Write
from controller.kube.queuecore import QueueCore
from controller.kube.store import StoreWriter
from tests.sim import widgets
from tests.sim.faults import FaultPlan, Kind, RequestFault, draw
from tests.sim.simulation import simulate

Mutation = Callable[[], AbstractContextManager[Any]]

SEEDS = 300
"""Most need fewer than ten."""


@contextmanager
def both(first: AbstractContextManager[Any], second: AbstractContextManager[Any]) -> Iterator[None]:
    with first, second:
        yield


def without_a_fence() -> AbstractContextManager[Any]:
    """Writes are sent whenever somebody wants to write."""
    return mock.patch.object(transport.Transport, "_must_be_open", return_value=30.0)


def with_a_broken_expiry() -> AbstractContextManager[Any]:
    """A lease counts as expired after a third of its time."""
    decide = lease.decide

    def hasty(identity: str, seen: Any, now: float, stamp: str, times: Any) -> Write | Wait:
        verdict = decide(identity, seen, now, stamp, times)
        if isinstance(verdict, Wait) and verdict.seconds < times.duration * 2 / 3:
            return decide(identity, replace(seen, since=now - 10 * times.duration), now, stamp, times)
        return verdict

    return mock.patch.object(leader, "decide", hasty)


def without_an_end_to_leading() -> AbstractContextManager[Any]:
    """Who cannot renew in time goes on, and believes that it may."""

    async def renew(self: Any, _leading: Any) -> None:
        while True:
            await anyio.sleep(self.times.retry)
            await self._attempt()

    return both(
        mock.patch.object(leader.LeaderElector, "_renew", renew),
        mock.patch.object(leader.LeaderElector, "seconds_left", lambda self: 10.0 * self.leading),
    )


def without_compare_and_swap() -> AbstractContextManager[Any]:
    """The lease is taken whatever its version is."""
    write = leader.LeaderElector._write

    async def forced(self: Any, record: Any) -> None:
        if self._lease is not None:
            metadata = {k: v for k, v in self._lease["metadata"].items() if k != "resourceVersion"}
            self._lease = {**self._lease, "metadata": metadata}
        await write(self, record)

    return mock.patch.object(leader.LeaderElector, "_write", forced)


def without_deletes_on_relist() -> AbstractContextManager[Any]:
    """What a new list lacks is not told."""
    difference = store._difference
    return mock.patch.object(
        store, "_difference", lambda old, new: (d for d in difference(old, new) if d.new is not None)
    )


def without_a_store_for_deletes() -> AbstractContextManager[Any]:
    """A DELETED event is not heard."""
    return mock.patch.object(StoreWriter, "remove", return_value=[])


def with_a_gap_after_the_list() -> AbstractContextManager[Any]:
    """A watch starts a little after its list."""
    complete = watch._complete
    return mock.patch.object(
        watch, "_complete", lambda position, version: complete(position, str(int(version) + 1))
    )


def without_relisting_what_is_gone() -> AbstractContextManager[Any]:
    """A version that is gone is asked for again."""
    return mock.patch.object(watch, "_relisting", lambda position: position)


def without_looking_at_versions() -> AbstractContextManager[Any]:
    """An event counts, however old it is."""
    return mock.patch.object(store, "is_at_least", return_value=True)


def without_a_processing_set() -> AbstractContextManager[Any]:
    """A key that is in hand is handed out again."""
    add = QueueCore.add

    def eager(self: Any, key: Any, now: float, *rest: Any) -> None:
        held = self._processing.pop(key, None)
        add(self, key, now, *rest)
        if held is not None:
            self._processing[key] = held

    return mock.patch.object(QueueCore, "add", eager)


def without_a_dirty_mark() -> AbstractContextManager[Any]:
    """A key that changes while it is in hand is not handed out again."""
    add = workqueue.WorkQueue.add

    def deaf(self: Any, key: Any, *rest: Any) -> None:
        if key not in self._core._processing:
            add(self, key, *rest)

    return mock.patch.object(workqueue.WorkQueue, "add", deaf)


def without_trying_again() -> AbstractContextManager[Any]:
    """What failed is forgotten."""
    return mock.patch.object(workqueue.WorkQueue, "add_rate_limited", return_value=1.0)


def without_conditions_on_writes() -> AbstractContextManager[Any]:
    """A status is written over whatever is there."""
    patch = Client.merge_patch

    async def bold(self: Any, resource: Any, name: str, namespace: Any, body: Any, **rest: Any) -> Any:
        return await patch(self, resource, name, namespace, {"status": body["status"]}, **rest)

    return mock.patch.object(Client, "merge_patch", bold)


def with_names_made_up() -> AbstractContextManager[Any]:
    """A second try makes a second part."""
    tries = iter(range(10**9))
    return mock.patch.object(widgets, "part_name", lambda name, number: f"{name}-{number}-{next(tries)}")


def without_an_idle_limit() -> AbstractContextManager[Any]:
    """A silent watch is waited for without end."""
    return mock.patch.object(watch, "IDLE_MARGIN_SECONDS", 1e9)


def muted(seeds: Iterator[int]) -> Iterator[int]:
    """Seeds in which a watch may fall silent for ever."""
    return (seed for seed in seeds if draw(seed, ("a", "b")).is_muted)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("mutation", "told"),
    [
        (without_a_fence, "but .* leads"),
        (with_a_broken_expiry, "lead at once"),
        (without_an_end_to_leading, "lead at once"),
        (without_compare_and_swap, "lead at once|term"),
        (without_deletes_on_relist, "handlers|told as"),
        (without_a_store_for_deletes, "cache"),
        (with_a_gap_after_the_list, "no rest"),
        (without_relisting_what_is_gone, "no rest"),
        (without_a_processing_set, "twice at once"),
        (without_a_dirty_mark, "no rest"),
        (without_trying_again, "no rest"),
        (without_conditions_on_writes, "goes back|unconditional"),
        (with_names_made_up, "requests in a second|no rest"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_broken_machinery_is_found_out(mutation: Mutation, told: str) -> None:
    with mutation():
        found = next((result for result in map(simulate, range(SEEDS)) if result.violation), None)
    assert found is not None, f"{SEEDS} seeds did not notice"
    assert re.search(told, found.violation), found.violation


@pytest.mark.timeout(600)
def test_a_watch_that_waits_without_end_is_found_out() -> None:
    with without_an_idle_limit():
        found = next((result for result in map(simulate, muted(iter(range(600)))) if result.violation), None)
    assert found is not None
    assert "no rest" in found.violation


def test_a_cache_that_believes_old_events_is_found_out() -> None:
    told_twice = tuple(
        RequestFault(name, number, Kind.TOLD_TWICE, count=number % 3)
        for name in ("a", "b")
        for number in range(16)
    )
    with without_looking_at_versions():
        results = (simulate(seed, FaultPlan(requests=told_twice)) for seed in range(SEEDS))
        found = next((result for result in results if result.violation), None)
    assert found is not None
    # An old deletion that is believed makes what was made again since vanish.
    assert re.search("goes back|vanished", found.violation), found.violation
