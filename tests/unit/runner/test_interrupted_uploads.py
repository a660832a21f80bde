"""A run that is stopped in the middle of an upload leaves no part of it with the provider."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio
import anyio.to_thread
import pytest

from controller.repository.store import Store
from controller.runner.download import Limits
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.runner.transfer import Persistence
from hack.images.gcs_server import gcs_server
from tests.support.s3 import s3_server
from tests.unit.repository.conftest import gcs_store, s3_store
from tests.unit.runner.test_run import NOW, World

pytestmark = pytest.mark.asyncio
MIB = 1024 * 1024


def stuck_run(store: Store) -> Run:
    """Whose agents fall silent after parts of the artifact are with the store; patience outlasts the test."""
    world = World()
    for agent in world.agents.values():
        agent.stores["orders"] = bytes(40 * MIB)
        agent.weather.stall_after = 30 * MIB
    surroundings = Surroundings(
        store=store,
        connect=lambda server: world.agents[server.pod],
        log=Log(lambda: NOW, world.log),
        tracker=Tracker("run", world.said.append, lambda: 0.0),
        now=lambda: NOW,
        persistence=Persistence(limits=Limits(stall=600)),
    )
    return Run(world.spec, "run", surroundings)


def until_parts_are_there(open_uploads: Callable[[], list[str]]) -> None:
    deadline = time.monotonic() + 60
    while not any("orders" in key for key in open_uploads()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("kind", ["s3", "gcs"])
async def test_a_run_that_is_cancelled_aborts_its_upload(kind: str) -> None:
    with s3_server() as s3, gcs_server() as gcs:
        server = s3 if kind == "s3" else gcs
        bucket = server.make_bucket()
        store: Store = s3_store(s3, bucket) if kind == "s3" else gcs_store(gcs, bucket)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck_run(store).result)
            await anyio.to_thread.run_sync(until_parts_are_there, lambda: server.open_uploads(bucket))
            tasks.cancel_scope.cancel()
        assert server.open_uploads(bucket) == []
        assert not [info.key for info in store.list("") if "orders" in info.key]
