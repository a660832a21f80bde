"""While caches fill, the garbage collector is not made to look at all of them again and again."""

from __future__ import annotations

import gc

import anyio
import pytest

from controller.kube.client import Client
from controller.kube.informer import Informer, SyncTimeout, wait_all_synced
from tests.support.scripted_api import an_object, hang, listing, scripted_api
from tests.unit.kube.things import THINGS, Thing
from tests.unit.kube.virtual import virtual


@virtual
async def test_what_arrived_is_no_garbage_long_before_all_of_it_is_there() -> None:
    first = listing("9", *(an_object(f"t{number}", str(number)) for number in range(1, 500)), token="more")
    gc.unfreeze()
    async with (
        scripted_api(first, otherwise=hang) as api,
        Client(api.config()) as client,
        anyio.create_task_group() as group,
    ):
        informer = Informer(client, THINGS, Thing)
        group.start_soon(informer.run)
        async with anyio.create_task_group() as waiting:
            waiting.start_soon(_wait, informer)
            await anyio.sleep(1.0)
            assert not informer.has_synced
            frozen = gc.get_freeze_count()
            assert frozen > 0
            assert len(gc.get_objects()) < frozen / 10, "what may still be garbage is little"
        group.cancel_scope.cancel()


async def _wait(informer: Informer[Thing]) -> None:
    with pytest.raises(SyncTimeout):
        await wait_all_synced([informer], seconds=5.0)
