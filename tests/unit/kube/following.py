"""A running informer against a script, and what its handler was told."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

import anyio

from controller.kube.client import Client
from controller.kube.informer import Informer
from tests.support.scripted_api import Answer, ScriptedApi, events, scripted_api
from tests.unit.kube.things import THINGS, Thing

Seen = list[tuple[str | None, str | None]]
QUIET = events(hold=True)


def bookmark(version: str) -> tuple[str, dict[str, object]]:
    return "BOOKMARK", {"kind": "Thing", "metadata": {"resourceVersion": version}}


@contextlib.asynccontextmanager
async def following(
    *answers: Answer, streamed: bool = False
) -> AsyncIterator[tuple[Informer[Thing], ScriptedApi, Seen]]:
    """A running informer; what its first handler was told, as pairs of ``name@version``."""
    seen: Seen = []
    async with scripted_api(*answers, otherwise=QUIET) as api, Client(api.config()) as client:
        informer = Informer(client, THINGS, Thing, namespace="ns", streamed=streamed, jitter=lambda: 0.0)
        informer.add_handler(lambda old, new: seen.append((shown(old), shown(new))))
        async with anyio.create_task_group() as group:
            group.start_soon(informer.run)
            yield informer, api, seen
            group.cancel_scope.cancel()


def shown(item: Thing | None) -> str | None:
    return f"{item.name}@{item.resource_version}" if item else None


async def until(informer: Informer[Thing], condition: Callable[[], bool]) -> None:
    with anyio.fail_after(600):
        while not condition():
            await informer.wait_changed()
