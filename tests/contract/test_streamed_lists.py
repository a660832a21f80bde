"""Lists as the beginning of a watch (WatchList): what they promise, and how a server without them refuses."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.contract.api import Api, Json
from tests.contract.widgets import widget
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.asyncio

STREAMED = {
    "sendInitialEvents": "true",
    "resourceVersionMatch": "NotOlderThan",
    "allowWatchBookmarks": "true",
}
MARK = "k8s.io/initial-events-end"


async def _status(api: Api, widgets: str) -> int:
    query = {"watch": "1", "timeoutSeconds": "1", **STREAMED}
    async with api.session.get(api.server + widgets, params=query, headers=api.headers) as response:
        return response.status


@contextlib.asynccontextmanager
async def _streamed(api: Api, widgets: str, **more: str) -> AsyncIterator[AsyncIterator[Json]]:
    """The events, where the server has them."""
    if await _status(api, widgets) == 422:
        pytest.skip("this server does not stream lists")
    async with api.watch(widgets, **{**STREAMED, **more}) as events:
        yield events


async def _beginning(events: AsyncIterator[Json]) -> tuple[list[tuple[str, str]], Json]:
    """What came before the mark, and the mark."""
    found: list[tuple[str, str]] = []
    async for event in events:
        metadata = event["object"]["metadata"]
        if event["type"] == "BOOKMARK" and metadata.get("annotations", {}).get(MARK) == "true":
            return found, event["object"]
        if event["type"] != "BOOKMARK":
            found.append((event["type"], metadata["name"]))
    raise AssertionError(f"no mark after {found}")


async def test_a_streamed_list_is_offered_or_refused_as_invalid(
    api: Api, widgets: str, control_plane: ControlPlane
) -> None:
    version = await api.get("/version")
    status = await _status(api, widgets)
    if control_plane.kind == "embedded" or status == 200:
        assert status == 200
        assert int(version["minor"].rstrip("+")) >= 27
    else:
        assert status == 422


async def test_a_streamed_list_is_everything_then_a_mark_then_what_happens(
    api: Api, widgets: str, group: str
) -> None:
    made = [await api.create(widgets, widget(group, name)) for name in ("b", "a")]
    async with _streamed(api, widgets) as events:
        beginning, mark = await _beginning(events)
        assert sorted(beginning) == [("ADDED", "a"), ("ADDED", "b")]
        assert mark["kind"] == "Widget"
        assert int(mark["metadata"]["resourceVersion"]) >= int(made[-1]["metadata"]["resourceVersion"])
        await api.merge(f"{widgets}/a", {"spec": {"size": 2}})
        async for event in events:
            if event["type"] != "BOOKMARK":
                break
        assert (event["type"], event["object"]["spec"]["size"]) == ("MODIFIED", 2)


async def test_a_streamed_list_of_nothing_is_a_mark(api: Api, widgets: str) -> None:
    async with _streamed(api, widgets) as events:
        beginning, _ = await _beginning(events)
    assert beginning == []


async def test_a_streamed_list_is_not_older_than_the_version_it_names(
    api: Api, widgets: str, group: str
) -> None:
    made = await api.create(widgets, widget(group, "a"))
    version = made["metadata"]["resourceVersion"]
    async with _streamed(api, widgets, resourceVersion=version) as events:
        beginning, mark = await _beginning(events)
    assert beginning == [("ADDED", "a")]
    assert int(mark["metadata"]["resourceVersion"]) >= int(version)


async def test_a_streamed_list_keeps_to_its_selector(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "in", {"labels": {"color": "red"}}))
    await api.create(widgets, widget(group, "out"))
    async with _streamed(api, widgets, labelSelector="color=red") as events:
        beginning, _ = await _beginning(events)
    assert beginning == [("ADDED", "in")]


async def test_a_list_cannot_be_asked_to_stream(api: Api, widgets: str) -> None:
    async with _streamed(api, widgets):
        pass
    answer = await api.request("GET", widgets, sendInitialEvents="true")
    assert (answer.status, answer.reason) == (422, "Invalid")
    answer = await api.request("GET", widgets, watch="1", sendInitialEvents="true")
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "resourceVersionMatch" in answer.fields
