"""Lists, pages and watches."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.contract.api import Api, Json
from tests.contract.widgets import widget

pytestmark = pytest.mark.asyncio


async def _make(api: Api, widgets: str, group: str, *names: str, labels: Json | None = None) -> list[Json]:
    metadata = {"labels": labels} if labels else {}
    return [await api.create(widgets, widget(group, name, metadata)) for name in names]


def _names(listed: Json) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


async def test_a_list_names_its_kind_and_its_version(api: Api, widgets: str, group: str) -> None:
    made = await _make(api, widgets, group, "b", "a")
    listed = await api.get(widgets)
    assert (listed["kind"], listed["apiVersion"]) == ("WidgetList", f"{group}/v1")
    assert _names(listed) == ["a", "b"]
    assert int(listed["metadata"]["resourceVersion"]) >= int(made[-1]["metadata"]["resourceVersion"])


async def test_items_of_built_in_lists_do_not_say_their_type(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, {"metadata": {"name": "c"}})
    listed = await api.get(path)
    assert listed["kind"] == "ConfigMapList"
    assert all("kind" not in item and "apiVersion" not in item for item in listed["items"])


async def test_a_list_sees_all_namespaces_or_one(api: Api, widgets: str, group: str, namespace: str) -> None:
    await _make(api, widgets, group, "a")
    everywhere = await api.get(f"/apis/{group}/v1/widgets", fieldSelector=f"metadata.namespace={namespace}")
    assert _names(everywhere) == ["a"]


async def test_label_selectors(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "red", labels={"color": "red", "big": ""})
    await _make(api, widgets, group, "blue", labels={"color": "blue"})
    await _make(api, widgets, group, "none")
    for selector, expected in {
        "color=red": ["red"],
        "color==red,big": ["red"],
        "color!=red": ["blue", "none"],
        "color in (red, blue)": ["blue", "red"],
        "color notin (red)": ["blue", "none"],
        "color": ["blue", "red"],
        "!color": ["none"],
        "color,!big": ["blue"],
    }.items():
        assert _names(await api.get(widgets, labelSelector=selector)) == expected, selector
    assert (await api.request("GET", widgets, labelSelector="color in red")).status == 400


async def test_field_selectors_know_name_and_namespace_only(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a", "b")
    assert _names(await api.get(widgets, fieldSelector="metadata.name=b")) == ["b"]
    assert _names(await api.get(widgets, fieldSelector="metadata.name!=b")) == ["a"]
    refused = await api.request("GET", widgets, fieldSelector="spec.size=1")
    assert (refused.status, refused.reason) == (400, "BadRequest")


async def test_pages_stay_on_the_snapshot_of_the_first(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a", "b", "c", "d")
    first = await api.get(widgets, limit="2")
    assert _names(first) == ["a", "b"]
    assert first["metadata"]["remainingItemCount"] == 2
    await _make(api, widgets, group, "bb")
    await api.ok("DELETE", f"{widgets}/d")
    rest = await api.get(widgets, limit="2", **{"continue": first["metadata"]["continue"]})
    assert _names(rest) == ["c", "d"]
    assert "continue" not in rest["metadata"] or not rest["metadata"]["continue"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_continue_token_is_checked(api: Api, widgets: str) -> None:
    query: dict[str, Any] = {"limit": "2", "continue": "nonsense"}
    answer = await api.request("GET", widgets, **query)
    assert answer.status == 400


async def test_a_watch_tells_exactly_what_came_after_the_list(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "before")
    version = (await api.get(widgets))["metadata"]["resourceVersion"]
    await _make(api, widgets, group, "after")
    await api.merge(f"{widgets}/before", {"spec": {"size": 2}})
    await api.ok("DELETE", f"{widgets}/after")
    told = await api.events(widgets, 3, resourceVersion=version)
    assert told == [("ADDED", "after"), ("MODIFIED", "before"), ("DELETED", "after")]


async def test_a_watch_without_a_version_begins_with_what_is_there(
    api: Api, widgets: str, group: str
) -> None:
    await _make(api, widgets, group, "a", "b")
    for query in ({}, {"resourceVersion": "0"}):
        assert sorted(await api.events(widgets, 2, **query)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_with_a_selector_tells_comings_and_goings(api: Api, widgets: str, group: str) -> None:
    version = (await api.get(widgets))["metadata"]["resourceVersion"]
    await _make(api, widgets, group, "a")
    await api.merge(f"{widgets}/a", {"metadata": {"labels": {"in": "yes"}}})
    await api.merge(f"{widgets}/a", {"spec": {"size": 2}})
    await api.merge(f"{widgets}/a", {"metadata": {"labels": {"in": None}}})
    told = await api.events(widgets, 3, resourceVersion=version, labelSelector="in=yes")
    assert told == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_watch_of_one_name(api: Api, widgets: str, group: str) -> None:
    version = (await api.get(widgets))["metadata"]["resourceVersion"]
    await _make(api, widgets, group, "a", "b")
    assert await api.events(widgets, 1, resourceVersion=version, fieldSelector="metadata.name=b") == [
        ("ADDED", "b")
    ]


async def test_a_deletion_is_told_with_a_version_of_its_own(api: Api, widgets: str, group: str) -> None:
    (made,) = await _make(api, widgets, group, "a")
    await api.ok("DELETE", f"{widgets}/a")
    version = made["metadata"]["resourceVersion"]
    async with api.watch(widgets, resourceVersion=version) as events:
        event = await anext(events)
    assert event["type"] == "DELETED"
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(version)
    assert event["object"]["spec"] == made["spec"]


async def test_a_watch_that_has_begun_sees_what_happens_then(api: Api, widgets: str, group: str) -> None:
    version = (await api.get(widgets))["metadata"]["resourceVersion"]
    async with api.watch(widgets, resourceVersion=version) as events:
        await _make(api, widgets, group, "a")
        assert (await anext(events))["object"]["metadata"]["name"] == "a"
        await api.merge(f"{widgets}/a", {"spec": {"size": 5}})
        assert (await anext(events))["object"]["spec"]["size"] == 5


async def test_a_version_from_before_the_beginning_is_gone(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a")
    async with api.watch(widgets, resourceVersion="1") as events:
        event = await anext(events)
    assert event["type"] == "ERROR"
    assert (event["object"]["kind"], event["object"]["code"]) == ("Status", 410)
    assert event["object"]["reason"] in ("Expired", "Gone")


async def test_a_watch_ends_when_its_time_is_up(api: Api, widgets: str) -> None:
    version = (await api.get(widgets))["metadata"]["resourceVersion"]
    loop = asyncio.get_running_loop()
    begun = loop.time()
    async with api.watch(widgets, resourceVersion=version, timeoutSeconds="1") as events:
        assert [event async for event in events] == []
    assert 0.9 < loop.time() - begun < 10


async def test_bookmarks_come_when_asked_for(api: Api, widgets: str, group: str) -> None:
    (made,) = await _make(api, widgets, group, "a")
    query = {"resourceVersion": made["metadata"]["resourceVersion"], "timeoutSeconds": "8"}
    async with api.watch(widgets, allowWatchBookmarks="true", **query) as events:
        # A real server has nothing to mark before it has seen something happen.
        (other,) = await _make(api, widgets, group, "b")
        assert (await anext(events))["type"] == "ADDED"
        told = await anext(events)
    assert (told["type"], told["object"]["kind"]) == ("BOOKMARK", "Widget")
    assert int(told["object"]["metadata"]["resourceVersion"]) >= int(other["metadata"]["resourceVersion"])


async def test_a_version_from_the_future_is_not_listed(api: Api, widgets: str) -> None:
    version = int((await api.get(widgets))["metadata"]["resourceVersion"])
    answer = await api.request("GET", widgets, resourceVersion=str(version + 1_000_000))
    assert (answer.status, answer.reason) == (504, "Timeout")


async def test_what_is_not_there(api: Api, widgets: str, group: str) -> None:
    answer = await api.request("GET", f"{widgets}/nobody")
    assert (answer.status, answer.reason) == (404, "NotFound")
    assert answer.message == f'widgets.{group} "nobody" not found'
    assert answer.body["details"] == {"name": "nobody", "group": group, "kind": "widgets"}
    assert (await api.request("GET", f"/apis/{group}/v1/gadgets")).status == 404
    assert (await api.request("GET", f"/apis/{group}/v2/widgets")).status == 404
    assert (await api.request("GET", "/apis/nowhere.example.com/v1/widgets")).status == 404


async def test_a_table_has_the_columns_of_the_definition(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a")
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    await api.merge(f"{widgets}/a/status", ready)
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    listed = await api.ok("GET", widgets, headers=accept)
    assert listed["kind"] == "Table"
    columns = [(each["name"], each["type"], each["priority"]) for each in listed["columnDefinitions"]]
    assert columns == [
        ("Name", "string", 0),
        ("Size", "integer", 0),
        ("Ready", "string", 0),
        ("Color", "string", 1),
        ("Age", "date", 0),
    ]
    (row,) = listed["rows"]
    assert row["cells"][:4] == ["a", 1, "True", "red"]
    assert row["object"]["kind"] == "PartialObjectMetadata"
    assert "spec" not in row["object"]


async def test_metadata_alone(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a")
    accept = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    listed = await api.ok("GET", widgets, headers=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) >= {"metadata"}
    assert "spec" not in listed["items"][0]


async def test_discovery_lists_the_type(api: Api, group: str) -> None:
    found = await api.get(f"/apis/{group}/v1")
    names = {each["name"]: each for each in found["resources"]}
    assert set(names) == {"widgets", "widgets/status"}
    assert names["widgets"]["kind"] == "Widget"
    assert names["widgets"]["shortNames"] == ["wd"]
    assert {"get", "list", "watch", "create", "update", "patch", "delete"} <= set(names["widgets"]["verbs"])
    assert group in [each["name"] for each in (await api.get("/apis"))["groups"]]
