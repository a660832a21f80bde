"""The operator's own informer on the server of the day: at rest the cache is what the server has."""

from __future__ import annotations

import contextlib
import random
from collections.abc import AsyncIterator, Callable
from functools import partial

import anyio
import pytest

from controller.kube.client import Client
from controller.kube.config import load_config
from controller.kube.informer import Informer
from controller.kube.objects import KubeObject
from controller.kube.resource import Resource
from controller.kube.versions import is_at_least
from tests.contract.api import Api, Json
from tests.contract.widgets import widget
from tests.support.control_plane import ControlPlane

pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("streamed", [False, True], ids=["list", "stream"])]


class Replay:
    """A handler's view: what it was told, applied."""

    def __init__(self) -> None:
        self.objects: dict[str, KubeObject] = {}

    def __call__(self, old: KubeObject | None, new: KubeObject | None) -> None:
        if old is not None:
            known = self.objects.pop(old.name)
            assert known.uid == old.uid
        if new is not None:
            assert old is not None or new.name not in self.objects
            if old is not None:
                assert is_at_least(old.resource_version, new.resource_version) is False
            self.objects[new.name] = new


@contextlib.asynccontextmanager
async def _following(
    control_plane: ControlPlane, widgets: str, group: str, *, streamed: bool
) -> AsyncIterator[tuple[Informer[KubeObject], Replay]]:
    config = load_config(str(control_plane.kubeconfig))
    namespace = widgets.split("/")[-2]
    async with Client(config) as client:
        informer = Informer(
            client,
            Resource(group, "v1", "widgets", "Widget"),
            KubeObject,
            namespace=namespace,
            streamed=streamed,
        )
        replay = Replay()
        informer.add_handler(replay)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(informer.run)
            with anyio.fail_after(60):
                await informer.wait_synced()
            yield informer, replay
            tasks.cancel_scope.cancel()


async def _until(informer: Informer[KubeObject], holds: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not holds():
            await informer.wait_changed()


def _shown(objects: list[KubeObject]) -> set[tuple[str, str, str]]:
    return {(item.name, item.uid, item.resource_version) for item in objects}


def _listed(answer: Json) -> set[tuple[str, str, str]]:
    return {
        (item["metadata"]["name"], item["metadata"]["uid"], item["metadata"]["resourceVersion"])
        for item in answer["items"]
    }


async def test_at_rest_the_cache_is_what_the_server_has_and_so_is_what_was_told(
    api: Api, widgets: str, group: str, control_plane: ControlPlane, streamed: bool
) -> None:
    chance = random.Random(7)
    await api.create(widgets, widget(group, "w0"))
    async with _following(control_plane, widgets, group, streamed=streamed) as (informer, replay):
        for _ in range(40):
            name = f"w{chance.randrange(6)}"
            deed = chance.choice(["create", "change", "delete"])
            if deed == "create":
                await api.request("POST", widgets, widget(group, name))
            elif deed == "change":
                patch = {"spec": {"size": chance.randint(1, 100)}}
                await api.request(
                    "PATCH", f"{widgets}/{name}", patch, content_type="application/merge-patch+json"
                )
            else:
                await api.request("DELETE", f"{widgets}/{name}")
        expected = _listed(await api.get(widgets))
        await _until(informer, lambda: _shown(informer.store.list()) == expected)
        assert _shown([*replay.objects.values()]) == expected


async def test_the_cache_reaches_the_version_of_every_write_it_can_see(
    api: Api, widgets: str, group: str, control_plane: ControlPlane, streamed: bool
) -> None:
    async with _following(control_plane, widgets, group, streamed=streamed) as (informer, _):
        for number in range(3):
            made = await api.create(widgets, widget(group, f"w{number}"))
            version = made["metadata"]["resourceVersion"]
            await _until(informer, partial(_reached, informer, version))
            assert informer.store.get(widgets.split("/")[-2], f"w{number}") is not None


def _reached(informer: Informer[KubeObject], version: str) -> bool:
    return is_at_least(informer.store.version, version) is True
