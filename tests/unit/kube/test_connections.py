"""How many connections there are: as many as there is at once to ask, however long it goes on."""

from __future__ import annotations

import asyncio

import anyio
from aiohttp import web

from controller.kube.client import Client
from controller.kube.connection import IDLE_SECONDS
from tests.support.scripted_api import answer, events, scripted_api
from tests.unit.kube.things import THINGS
from tests.unit.kube.virtual import virtual

OK = answer({"metadata": {"name": "a"}})


class Counted:
    """Answers, and knows which connections are open."""

    def __init__(self) -> None:
        self._seen: set[asyncio.Transport] = set()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        self._seen.add(request.transport)
        return await (events() if "watch" in request.query else OK)(request)

    @property
    def open(self) -> int:
        return len([each for each in self._seen if not each.is_closing()])

    @property
    def seen(self) -> int:
        return len(self._seen)


@virtual
async def test_watches_that_end_leave_no_connection_behind() -> None:
    counted = Counted()
    async with scripted_api(otherwise=counted) as api, Client(api.config()) as client:
        for _ in range(50):
            query = [("watch", "true")]
            async with client.stream(THINGS, "ns", query, idle_seconds=5.0) as chunks:
                async for _ in chunks:
                    pass
        await anyio.sleep(0.1)
        assert counted.open == 0


@virtual
async def test_requests_one_after_the_other_use_one_connection() -> None:
    counted = Counted()
    async with scripted_api(otherwise=counted) as api, Client(api.config()) as client:
        for _ in range(50):
            await client.get(THINGS, "a", "ns")
        assert counted.seen == 1


@virtual
async def test_what_a_burst_needed_is_given_back_when_it_is_over() -> None:
    counted = Counted()
    async with scripted_api(otherwise=counted) as api, Client(api.config()) as client:
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.get, THINGS, "a", "ns")
        assert counted.open == 20
        for _ in range(3):
            await anyio.sleep(IDLE_SECONDS / 2)
            await client.get(THINGS, "a", "ns")
        await anyio.sleep(0.1)
        assert counted.open == 1
