"""Finalizers, preconditions, dependents, namespaces."""

from __future__ import annotations

import secrets
from typing import Any

import pytest

from tests.contract.api import NAMESPACES, Api, Json
from tests.contract.conftest import eventually
from tests.contract.widgets import stateful_set, widget

pytestmark = pytest.mark.asyncio

HOLD = {"finalizers": ["example.com/hold"]}
RELEASE: Json = {"metadata": {"finalizers": None}}


async def test_an_object_without_finalizers_is_gone_at_once(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a"))
    answer = await api.ok("DELETE", f"{widgets}/a")
    assert (answer["kind"], answer["status"]) == ("Status", "Success")
    assert answer["details"]["uid"] == made["metadata"]["uid"]
    assert await api.gone(f"{widgets}/a")
    assert (await api.request("DELETE", f"{widgets}/a")).status == 404


async def test_a_finalizer_holds_an_object_until_it_is_removed(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a", HOLD))
    held = await api.ok("DELETE", f"{widgets}/a")
    assert held["kind"] == "Widget"
    stamp = held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    assert held["metadata"]["generation"] == made["metadata"]["generation"] + 1
    again = await api.ok("DELETE", f"{widgets}/a")
    assert again["metadata"]["deletionTimestamp"] == stamp
    await api.merge(f"{widgets}/a", RELEASE)
    assert await api.gone(f"{widgets}/a")
    told = await api.events(widgets, 2, resourceVersion=made["metadata"]["resourceVersion"])
    assert told == [("MODIFIED", "a"), ("DELETED", "a")]


async def test_a_deletion_cannot_be_undone_or_held_up_later(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", HOLD))
    held = await api.ok("DELETE", f"{widgets}/a")
    after = await api.merge(f"{widgets}/a", {"metadata": {"deletionTimestamp": None, "labels": {"a": "b"}}})
    assert after["metadata"]["deletionTimestamp"] == held["metadata"]["deletionTimestamp"]
    more = {"metadata": {"finalizers": [*HOLD["finalizers"], "example.com/more"]}}
    answer = await api.request("PATCH", f"{widgets}/a", more, content_type="application/merge-patch+json")
    assert (answer.status, answer.fields) == (422, {"metadata.finalizers"})
    await api.merge(f"{widgets}/a", RELEASE)


async def test_a_spec_can_still_change_while_an_object_is_held(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", HOLD))
    await api.ok("DELETE", f"{widgets}/a")
    assert (await api.merge(f"{widgets}/a", {"spec": {"size": 2}}))["spec"]["size"] == 2
    status = await api.merge(f"{widgets}/a/status", {"status": {"phase": "Going"}})
    assert status["status"] == {"phase": "Going"}
    await api.merge(f"{widgets}/a", RELEASE)


@pytest.mark.parametrize("what", ["uid", "resourceVersion"])
async def test_a_deletion_with_a_precondition(api: Api, widgets: str, group: str, what: str) -> None:
    made = await api.create(widgets, widget(group, "a"))
    wrong = {"uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "1"}
    answer = await api.request("DELETE", f"{widgets}/a", {"preconditions": {what: wrong[what]}})
    assert (answer.status, answer.reason) == (409, "Conflict")
    await api.ok("DELETE", f"{widgets}/a", {"preconditions": {what: made["metadata"][what]}})
    assert await api.gone(f"{widgets}/a")


async def test_a_propagation_policy_must_be_known(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    answer = await api.request("DELETE", f"{widgets}/a", {"propagationPolicy": "Sideways"})
    assert answer.status == 422


async def test_a_collection_is_deleted_by_selector(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", {"labels": {"go": "yes"}}))
    await api.create(widgets, widget(group, "b"))
    await api.ok("DELETE", widgets, labelSelector="go=yes")
    assert [item["metadata"]["name"] for item in (await api.get(widgets))["items"]] == ["b"]


# --- dependents: what the garbage collector does ----------------------------------------------------


def _owned_by(owner: Json, blocks: bool = False) -> Json:
    metadata = owner["metadata"]
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    return {"ownerReferences": [reference | ({"blockOwnerDeletion": True} if blocks else {})]}


async def _family(api: Api, widgets: str, group: str, namespace: str, **child: Any) -> tuple[str, str]:
    """Paths of an owner and of a ConfigMap that it owns."""
    owner = await api.create(widgets, widget(group, "owner"))
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    metadata = {"name": "child"} | _owned_by(owner, blocks=True) | child
    await api.create(maps, {"metadata": metadata})
    return f"{widgets}/owner", f"{maps}/child"


@pytest.mark.usefixtures("controllers")
async def test_dependents_follow_in_the_background(
    api: Api, widgets: str, group: str, namespace: str
) -> None:
    owner, child = await _family(api, widgets, group, namespace)
    await api.ok("DELETE", owner, {"propagationPolicy": "Background"})
    assert await api.gone(owner)
    await eventually(lambda: api.gone(child), "the dependent is gone")


@pytest.mark.usefixtures("controllers")
async def test_an_owner_waits_for_dependents_in_the_foreground(
    api: Api, widgets: str, group: str, namespace: str
) -> None:
    owner, child = await _family(api, widgets, group, namespace, **HOLD)
    held = await api.ok("DELETE", owner, {"propagationPolicy": "Foreground"})
    assert held["metadata"]["finalizers"] == ["foregroundDeletion"]

    async def child_is_going() -> bool:
        return "deletionTimestamp" in (await api.get(child))["metadata"]

    await eventually(child_is_going, "the dependent is being deleted")
    assert not await api.gone(owner)
    await api.merge(child, RELEASE)
    await eventually(lambda: api.gone(owner), "the owner is gone")
    assert await api.gone(child)


@pytest.mark.usefixtures("controllers")
async def test_orphans_stay_without_their_owner(api: Api, widgets: str, group: str, namespace: str) -> None:
    owner, child = await _family(api, widgets, group, namespace)
    await api.ok("DELETE", owner, {"propagationPolicy": "Orphan"})
    await eventually(lambda: api.gone(owner), "the owner is gone")
    left = await api.get(child)
    assert not left["metadata"].get("ownerReferences")


@pytest.mark.usefixtures("controllers")
async def test_an_owner_is_known_by_its_uid(api: Api, widgets: str, group: str, namespace: str) -> None:
    owner = await api.create(widgets, widget(group, "owner"))
    owner["metadata"]["uid"] = "00000000-0000-0000-0000-000000000001"
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(maps, {"metadata": {"name": "child"} | _owned_by(owner)})
    await eventually(lambda: api.gone(f"{maps}/child"), "what belongs to a former owner is gone")
    assert not await api.gone(f"{widgets}/owner")


@pytest.mark.usefixtures("controllers")
async def test_one_of_two_owners_is_enough(api: Api, widgets: str, group: str, namespace: str) -> None:
    first = await api.create(widgets, widget(group, "first"))
    second = await api.create(widgets, widget(group, "second"))
    references = [*_owned_by(first)["ownerReferences"], *_owned_by(second)["ownerReferences"]]
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(maps, {"metadata": {"name": "child", "ownerReferences": references}})
    await api.create(maps, {"metadata": {"name": "other"} | _owned_by(first)})
    await api.ok("DELETE", f"{widgets}/first", {"propagationPolicy": "Background"})
    await eventually(lambda: api.gone(f"{maps}/other"), "the collector has seen it")
    assert not await api.gone(f"{maps}/child")
    await api.ok("DELETE", f"{widgets}/second", {"propagationPolicy": "Background"})
    await eventually(lambda: api.gone(f"{maps}/child"), "the child is gone")


async def test_jobs_leave_their_pods_behind_unless_asked(api: Api, namespace: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    spec = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/main:1"}]}
    await api.create(
        jobs, {"metadata": {"name": "j"}, "spec": {"parallelism": 0, "template": {"spec": spec}}}
    )
    held = await api.request("DELETE", f"{jobs}/j", dryRun="All")
    assert held.body["metadata"].get("finalizers") == ["orphan"]
    await api.ok("DELETE", f"{jobs}/j", {"propagationPolicy": "Background"})
    assert await api.gone(f"{jobs}/j")


@pytest.mark.usefixtures("controllers")
async def test_a_namespace_goes_after_its_content(api: Api, group: str) -> None:
    name = f"contract-{secrets.token_hex(4)}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    path = f"/apis/{group}/v1/namespaces/{name}/widgets"
    await api.create(path, widget(group, "a", HOLD))
    going = await api.ok("DELETE", f"{NAMESPACES}/{name}")
    assert going["status"]["phase"] == "Terminating"

    async def takes_nothing_new() -> bool:
        refused = await api.request("POST", path, widget(group, "", {"generateName": "late-"}))
        causes = refused.body.get("details", {}).get("causes", [])
        return refused.status == 403 and causes[0]["reason"] == "NamespaceTerminating"

    await eventually(takes_nothing_new, "the namespace takes nothing new")

    async def content_is_going() -> bool:
        return "deletionTimestamp" in (await api.get(f"{path}/a"))["metadata"]

    await eventually(content_is_going, "the content is being deleted")
    assert not await api.gone(f"{NAMESPACES}/{name}")
    await api.merge(f"{path}/a", RELEASE)
    await eventually(lambda: api.gone(f"{NAMESPACES}/{name}"), "the namespace is gone", 120)


async def test_a_stateful_set_is_deleted_like_anything(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    await api.create(path, stateful_set("s"))
    await api.ok("DELETE", f"{path}/s")
    assert await api.gone(f"{path}/s")
