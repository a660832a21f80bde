"""Server-side apply: ownership, conflicts, removal, lists by key."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.contract.api import APPLY, Api, Json
from tests.contract.widgets import stateful_set, widget

pytestmark = pytest.mark.asyncio


def _config(group: str, **spec: Any) -> Json:
    return {"apiVersion": f"{group}/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec}


def _owned(obj: Json, manager: str, subresource: str = "") -> Json:
    fields: Json = _entry(obj, manager, subresource)["fieldsV1"]
    return fields


def _entry(obj: Json, manager: str, subresource: str = "") -> Json:
    entries = [
        entry
        for entry in obj["metadata"]["managedFields"]
        if entry["manager"] == manager and entry.get("subresource", "") in ("", subresource)
    ]
    assert len(entries) == 1, obj["metadata"]["managedFields"]
    found: Json = entries[0]
    return found


async def _patch(api: Api, path: str, obj: Json, manager: str, **query: Any) -> Any:
    return await api.request("PATCH", path, obj, content_type=APPLY, fieldManager=manager, **query)


async def test_apply_makes_what_is_not_there(api: Api, widgets: str, group: str) -> None:
    answer = await _patch(api, f"{widgets}/a", _config(group, size=2), "one")
    assert answer.status == 201
    assert answer.body["spec"] == {"size": 2, "color": "red"}
    assert _owned(answer.body, "one") == {"f:spec": {"f:size": {}}}
    (entry,) = answer.body["metadata"]["managedFields"]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == (
        "Apply",
        f"{group}/v1",
        "FieldsV1",
    )


async def test_applying_the_same_again_leaves_no_trace(api: Api, widgets: str, group: str) -> None:
    first = await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    again = await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    assert again["metadata"] == first["metadata"]


async def test_a_manager_must_be_named(api: Api, widgets: str, group: str) -> None:
    answer = await api.request("PATCH", f"{widgets}/a", _config(group, size=2), content_type=APPLY)
    assert answer.status in (400, 422)
    assert "fieldManager" in answer.message


async def test_another_value_of_somebody_elses_field_is_a_conflict(
    api: Api, widgets: str, group: str
) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2, color="red"), "one")
    answer = await _patch(api, f"{widgets}/a", _config(group, size=3), "two")
    assert (answer.status, answer.reason) == (409, "Conflict")
    (cause,) = answer.body["details"]["causes"]
    assert (cause["reason"], cause["field"]) == ("FieldManagerConflict", ".spec.size")
    assert cause["message"] == 'conflict with "one"'
    assert (await api.get(f"{widgets}/a"))["spec"]["size"] == 2


async def test_the_same_value_is_shared(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    both = await api.apply(f"{widgets}/a", _config(group, size=2), "two")
    assert _owned(both, "one") == _owned(both, "two") == {"f:spec": {"f:size": {}}}
    answer = await _patch(api, f"{widgets}/a", _config(group, size=4), "one")
    assert answer.status == 409


async def test_force_takes_the_field_over(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2, color="blue"), "one")
    taken = await api.apply(f"{widgets}/a", _config(group, size=3), "two", force="true")
    assert taken["spec"] == {"size": 3, "color": "blue"}
    assert _owned(taken, "one") == {"f:spec": {"f:color": {}}}
    assert _owned(taken, "two") == {"f:spec": {"f:size": {}}}


async def test_a_plain_write_owns_what_it_changed(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    changed = await api.merge(f"{widgets}/a", {"spec": {"size": 5}}, fieldManager="person")
    assert _owned(changed, "person") == {"f:spec": {"f:size": {}}}
    answer = await _patch(api, f"{widgets}/a", _config(group, size=2), "one")
    assert answer.status == 409
    assert f'conflict with "person" using {group}/v1' in answer.body["details"]["causes"][0]["message"]


async def test_what_is_not_applied_any_more_goes(api: Api, widgets: str, group: str) -> None:
    parts = [{"name": "x", "count": 1}, {"name": "y", "count": 2}]
    config = _config(group, size=2, tags=["t"], labels={"a": "1", "b": "2"}, parts=parts)
    await api.apply(f"{widgets}/a", config, "one")
    less = _config(group, size=2, labels={"b": "2"}, parts=parts[1:])
    after = await api.apply(f"{widgets}/a", less, "one")
    spec = after["spec"]
    assert "tags" not in spec
    assert spec["labels"] == {"b": "2"}
    assert [part["name"] for part in spec["parts"]] == ["y"]


async def test_what_somebody_else_owns_too_stays(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2, labels={"a": "1", "b": "2"}), "one")
    await api.apply(f"{widgets}/a", _config(group, size=2, labels={"a": "1"}), "two")
    after = await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    assert after["spec"]["labels"] == {"a": "1"}


async def test_items_belong_to_who_applied_them(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2, parts=[{"name": "x", "count": 1}]), "one")
    both = await api.apply(f"{widgets}/a", _config(group, size=2, parts=[{"name": "y"}]), "two")
    assert {part["name"] for part in both["spec"]["parts"]} == {"x", "y"}
    assert _owned(both, "two")["f:spec"]["f:parts"] == {'k:{"name":"y"}': {".": {}, "f:name": {}}}
    more = await api.apply(f"{widgets}/a", _config(group, size=2, parts=[{"name": "x", "unit": "kg"}]), "two")
    (part,) = more["spec"]["parts"]
    assert part == {"name": "x", "count": 1, "unit": "kg"}
    back = await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    (part,) = back["spec"]["parts"]
    assert (part["name"], part["unit"], "count" in part) == ("x", "kg", False)


async def test_an_item_needs_its_key(api: Api, widgets: str, group: str) -> None:
    answer = await _patch(api, f"{widgets}/a", _config(group, size=1, parts=[{"count": 1}]), "one")
    assert answer.status in (400, 422, 500)


async def test_an_unknown_field_is_an_error(api: Api, widgets: str, group: str) -> None:
    answer = await _patch(api, f"{widgets}/a", _config(group, size=1, bogus=1), "one")
    assert answer.status in (400, 500)
    assert "field not declared in schema" in answer.message


async def test_applied_objects_are_validated(api: Api, widgets: str, group: str) -> None:
    answer = await _patch(api, f"{widgets}/a", _config(group, size=1000), "one")
    assert (answer.status, answer.fields) == (422, {"spec.size"})


async def test_apply_with_a_stale_version_is_a_conflict(api: Api, widgets: str, group: str) -> None:
    made = await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    await api.apply(f"{widgets}/a", _config(group, size=3), "one")
    config = _config(group, size=4)
    config["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"]
    assert (await _patch(api, f"{widgets}/a", config, "one")).status == 409


async def test_status_is_applied_through_its_own_door(api: Api, widgets: str, group: str) -> None:
    await api.apply(f"{widgets}/a", _config(group, size=2), "one")
    config = _config(group)
    del config["spec"]
    ready = {"type": "Ready", "status": "True"}
    config["status"] = {"phase": "On", "conditions": [ready]}
    after = await api.apply(f"{widgets}/a/status", config, "controller", force="true")
    assert after["status"] == config["status"]
    assert after["spec"]["size"] == 2
    assert after["metadata"]["generation"] == 1
    conditions = _owned(after, "controller", "status")["f:status"]["f:conditions"]
    assert set(conditions) == {'k:{"type":"Ready"}'}
    config["status"] = {"phase": "On", "conditions": [{"type": "Other", "status": "True"}]}
    joined = await api.apply(f"{widgets}/a/status", config, "somebody", force="true")
    assert {each["type"] for each in joined["status"]["conditions"]} == {"Ready", "Other"}


async def test_status_is_not_applied_to_what_is_not_there(api: Api, widgets: str, group: str) -> None:
    answer = await _patch(api, f"{widgets}/a/status", _config(group), "one")
    assert answer.status == 404


async def test_a_sidecar_joins_a_stateful_set_and_leaves_it(api: Api, namespace: str) -> None:
    """What the operator does to Neo4j's StatefulSets, and what must be left when it has undone it."""
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    main = {
        "name": "main",
        "image": "example.com/main:1",
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "ports": [{"containerPort": 7687}],
    }
    before = stateful_set("s", main)
    before["spec"]["template"]["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
    made = await api.create(path, before, fieldManager="helm")
    sidecar = {
        "name": "backup-sidecar",
        "image": "example.com/side:1",
        "env": [{"name": "TZ", "value": "UTC"}],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "more", "mountPath": "/more"}],
    }
    pod_spec = {"containers": [sidecar], "volumes": [{"name": "more", "emptyDir": {}}]}
    config = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "s"},
        "spec": {"template": {"spec": pod_spec}},
    }
    joined = await api.apply(f"{path}/s", config, "operator")
    containers = joined["spec"]["template"]["spec"]["containers"]
    assert [each["name"] for each in containers] == ["main", "backup-sidecar"]
    assert containers[0] == made["spec"]["template"]["spec"]["containers"][0]
    assert joined["metadata"]["generation"] == 2
    again = await api.apply(f"{path}/s", config, "operator")
    assert again["metadata"]["generation"] == 2
    assert _entry(again, "operator") == _entry(joined, "operator")

    sidecar["env"] = [{"name": "MODE", "value": "x"}]
    changed = await api.apply(f"{path}/s", config, "operator")
    assert changed["spec"]["template"]["spec"]["containers"][1]["env"] == [{"name": "MODE", "value": "x"}]

    del config["spec"]
    left = await api.apply(f"{path}/s", config, "operator")
    assert json.dumps(left["spec"], sort_keys=True) == json.dumps(made["spec"], sort_keys=True)


async def test_ports_are_known_by_number_and_protocol(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    ports = [{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]
    await api.create(path, stateful_set("s", {"name": "main", "image": "x", "ports": ports}))
    config = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "s"},
        "spec": {
            "template": {
                "spec": {"containers": [{"name": "main", "ports": [{"containerPort": 53, "name": "dns"}]}]}
            }
        },
    }
    after = await api.apply(f"{path}/s", config, "operator")
    found = after["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert {(each["protocol"], each.get("name")) for each in found} == {("TCP", "dns"), ("UDP", None)}


async def test_owners_and_finalizers_are_merged(api: Api, namespace: str, widgets: str, group: str) -> None:
    owner = await api.create(widgets, widget(group, "owner"))

    def reference(uid: str) -> Json:
        return {"apiVersion": f"{group}/v1", "kind": "Widget", "name": "owner", "uid": uid}

    config = _config(group, size=1)
    config["metadata"] |= {
        "ownerReferences": [reference(owner["metadata"]["uid"])],
        "finalizers": ["example.com/one"],
    }
    await api.apply(f"{widgets}/a", config, "one")
    config = _config(group, size=1)
    config["metadata"]["finalizers"] = ["example.com/two"]
    after = await api.apply(f"{widgets}/a", config, "two")
    assert set(after["metadata"]["finalizers"]) == {"example.com/one", "example.com/two"}
    assert [each["uid"] for each in after["metadata"]["ownerReferences"]] == [owner["metadata"]["uid"]]
    await api.merge(f"{widgets}/a", {"metadata": {"finalizers": None}})
