"""Watches and their bookmarks: a mark promises that everything before it was told."""

from __future__ import annotations

import asyncio
import time

import anyio
import pytest

from hack.devcluster.registry import Registry
from hack.devcluster.store import Change
from hack.devcluster.watching import changes_and_marks

CONFIG_MAPS = ("", "configmaps")
QUIET_SECONDS = 0.05


@pytest.mark.asyncio
async def test_a_change_made_while_the_silence_runs_out_is_told_before_it_is_marked() -> None:
    registry = Registry()
    loop = asyncio.get_running_loop()
    begun = registry.version

    def write() -> None:
        registry.create(CONFIG_MAPS, {"metadata": {"name": "late", "namespace": "default"}})

    told = changes_and_marks(registry.store, CONFIG_MAPS, begun, loop.time() + 60, QUIET_SECONDS)
    # Both timers are overdue when the loop comes to them: the silence's first, the write in the same turn.
    loop.call_later(QUIET_SECONDS * 2, write)
    loop.call_soon(lambda: loop.call_soon(lambda: time.sleep(QUIET_SECONDS * 3)))
    marks = []
    with anyio.fail_after(10):
        async for change in told:
            if isinstance(change, Change):
                break
            marks.append(change)
    assert isinstance(change, Change)
    assert all(isinstance(mark, int) and mark < change.version for mark in marks)
