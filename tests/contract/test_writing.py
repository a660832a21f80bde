"""Create, replace, patch: conflicts, isolation of status, generation, and writes that change nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import JSON_PATCH, MERGE, STRATEGIC, Api, Json
from tests.contract.widgets import stateful_set, widget

pytestmark = pytest.mark.asyncio

FIELD = {"fieldRef": {"fieldPath": "metadata.name"}}


def _version(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


async def test_a_new_object_gets_what_the_server_sets(
    api: Api, widgets: str, group: str, namespace: str
) -> None:
    claimed = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    made = await api.create(widgets, widget(group, "a", claimed))
    metadata = made["metadata"]
    assert metadata["namespace"] == namespace
    assert metadata["uid"] not in ("mine", "")
    assert metadata["creationTimestamp"] > "2020"
    assert metadata["generation"] == 1
    assert made == await api.get(f"{widgets}/a")


async def test_a_name_is_taken_once(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    answer = await api.request("POST", widgets, widget(group, "a"))
    assert (answer.status, answer.reason) == (409, "AlreadyExists")
    assert answer.message == f'widgets.{group} "a" already exists'


async def test_names_are_generated(api: Api, widgets: str, group: str) -> None:
    obj = widget(group, "", {"generateName": "some-"})
    del obj["metadata"]["name"]
    first, second = [await api.create(widgets, obj) for _ in range(2)]
    assert first["metadata"]["name"] != second["metadata"]["name"]
    assert first["metadata"]["name"].startswith("some-")
    assert len(first["metadata"]["name"]) == len("some-") + 5


@pytest.mark.parametrize("name", ["Upper", "under_score", "-a", "a-", "x" * 254])
async def test_names_are_checked(api: Api, widgets: str, group: str, name: str) -> None:
    answer = await api.request("POST", widgets, widget(group, name))
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "metadata.name" in answer.fields


async def test_labels_are_checked(api: Api, widgets: str, group: str) -> None:
    answer = await api.request("POST", widgets, widget(group, "a", {"labels": {"a": "x" * 64}}))
    assert (answer.status, answer.fields) == (422, {"metadata.labels"})


async def test_the_namespace_must_exist_and_fit(api: Api, widgets: str, group: str) -> None:
    nowhere = f"/apis/{group}/v1/namespaces/nowhere/widgets"
    answer = await api.request("POST", nowhere, widget(group, "a"))
    assert (answer.status, answer.message) == (404, 'namespaces "nowhere" not found')
    elsewhere = widget(group, "a", {"namespace": "default"})
    assert (await api.request("POST", widgets, elsewhere)).status == 400


async def test_what_the_body_says_it_is_must_fit(api: Api, widgets: str, group: str) -> None:
    answer = await api.request("POST", widgets, widget(group, "a") | {"kind": "Gadget"})
    assert (answer.status, answer.fields) == (422, {"kind"})
    other_version = widget(group, "a") | {"apiVersion": f"{group}/v2"}
    assert (await api.request("POST", widgets, other_version)).status == 400


async def test_a_stale_replace_is_a_conflict(api: Api, widgets: str, group: str) -> None:
    old = await api.create(widgets, widget(group, "a"))
    await api.merge(f"{widgets}/a", {"spec": {"size": 2}})
    old["spec"]["size"] = 3
    answer = await api.request("PUT", f"{widgets}/a", old)
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert "the object has been modified" in answer.message
    assert (await api.get(f"{widgets}/a"))["spec"]["size"] == 2


async def test_a_custom_resource_is_not_replaced_blindly(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    answer = await api.request("PUT", f"{widgets}/a", widget(group, "a", size=2))
    assert (answer.status, answer.fields) == (422, {"metadata.resourceVersion"})


async def test_a_built_in_object_may_be_replaced_blindly(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(path, {"metadata": {"name": "c"}, "data": {"a": "1"}})
    replaced = await api.ok("PUT", f"{path}/c", {"metadata": {"name": "c"}, "data": {"b": "2"}})
    assert replaced["data"] == {"b": "2"}


async def test_a_replace_names_the_object_that_it_means(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a"))
    other_uid = made | {"metadata": made["metadata"] | {"uid": "00000000-0000-0000-0000-000000000000"}}
    assert (await api.request("PUT", f"{widgets}/a", other_uid)).status == 409
    other_name = made | {"metadata": made["metadata"] | {"name": "b"}}
    assert (await api.request("PUT", f"{widgets}/a", other_name)).status == 400
    assert (
        await api.request("PUT", f"{widgets}/nobody", widget(group, "nobody", {"resourceVersion": "1"}))
    ).status == 404


async def test_a_stale_patch_is_a_conflict_only_when_it_names_a_version(
    api: Api, widgets: str, group: str
) -> None:
    old = await api.create(widgets, widget(group, "a"))
    await api.merge(f"{widgets}/a", {"spec": {"size": 2}})
    stale = {"metadata": {"resourceVersion": old["metadata"]["resourceVersion"]}, "spec": {"size": 3}}
    answer = await api.request("PATCH", f"{widgets}/a", stale, content_type=MERGE)
    assert (answer.status, answer.reason) == (409, "Conflict")
    assert (await api.merge(f"{widgets}/a", {"spec": {"size": 4}}))["spec"]["size"] == 4


@pytest.mark.parametrize("way", ["replace", "merge", "json", "labels"])
async def test_a_write_that_changes_nothing_leaves_no_trace(
    api: Api, widgets: str, group: str, way: str
) -> None:
    made = await api.create(widgets, widget(group, "a", {"labels": {"x": "y"}}))
    ways: dict[str, tuple[str, Any, str]] = {
        "replace": ("PUT", made, "application/json"),
        "merge": ("PATCH", {"spec": {"size": 1}}, MERGE),
        "json": ("PATCH", [{"op": "replace", "path": "/spec/size", "value": 1}], JSON_PATCH),
        "labels": ("PATCH", {"metadata": {"labels": {"x": "y"}}}, MERGE),
    }
    method, body, kind = ways[way]
    after = await api.ok(method, f"{widgets}/a", body, content_type=kind)
    assert after["metadata"] == made["metadata"]
    await api.create(widgets, widget(group, "later"))
    assert await api.events(widgets, 1, resourceVersion=str(_version(made))) == [("ADDED", "later")]


async def test_generation_counts_changes_of_the_spec(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    path = f"{widgets}/a"
    assert (await api.merge(path, {"metadata": {"labels": {"a": "b"}}}))["metadata"]["generation"] == 1
    assert (await api.merge(f"{path}/status", {"status": {"phase": "On"}}))["metadata"]["generation"] == 1
    assert (await api.merge(path, {"spec": {"size": 2}}))["metadata"]["generation"] == 2
    assert (await api.merge(path, {"metadata": {"generation": 9}}))["metadata"]["generation"] == 2


async def test_status_does_not_come_with_the_object(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a") | {"status": {"phase": "On"}})
    assert "status" not in made


@pytest.mark.parametrize("way", ["replace", "merge", "json"])
async def test_only_status_goes_through_status(api: Api, widgets: str, group: str, way: str) -> None:
    made = await api.create(widgets, widget(group, "a"))
    changed = made | {"spec": {"size": 9}, "status": {"phase": "On"}}
    changed["metadata"] = made["metadata"] | {"labels": {"sneaky": "yes"}}
    ways: dict[str, tuple[str, Any, str]] = {
        "replace": ("PUT", changed, "application/json"),
        "merge": ("PATCH", {name: changed[name] for name in ("spec", "status")}, MERGE),
        "json": (
            "PATCH",
            [
                {"op": "replace", "path": "/spec/size", "value": 9},
                {"op": "add", "path": "/status", "value": {"phase": "On"}},
            ],
            JSON_PATCH,
        ),
    }
    method, body, kind = ways[way]
    after = await api.ok(method, f"{widgets}/a/status", body, content_type=kind)
    assert after["spec"]["size"] == 1
    assert after["status"] == {"phase": "On"}
    assert "labels" not in after["metadata"]


@pytest.mark.parametrize("way", ["replace", "merge"])
async def test_status_does_not_go_through_the_main_door(api: Api, widgets: str, group: str, way: str) -> None:
    await api.create(widgets, widget(group, "a"))
    made = await api.merge(f"{widgets}/a/status", {"status": {"phase": "On"}})
    if way == "replace":
        after = await api.ok("PUT", f"{widgets}/a", made | {"spec": {"size": 2}, "status": {"phase": "Off"}})
    else:
        after = await api.merge(f"{widgets}/a", {"spec": {"size": 2}, "status": {"phase": "Off"}})
    assert (after["spec"]["size"], after["status"]) == (2, {"phase": "On"})


async def test_a_merge_patch_with_null_removes(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", tags=["x"], labels={"a": "1", "b": "2"}))
    after = await api.merge(f"{widgets}/a", {"spec": {"tags": None, "labels": {"a": None}}})
    assert "tags" not in after["spec"]
    assert after["spec"]["labels"] == {"b": "2"}


async def test_a_json_patch_is_all_or_nothing(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", tags=["x", "y"]))
    path = f"{widgets}/a"
    fails = [
        {"op": "replace", "path": "/spec/size", "value": 2},
        {"op": "test", "path": "/spec/color", "value": "blue"},
    ]
    answer = await api.request("PATCH", path, fails, content_type=JSON_PATCH)
    assert (answer.status, answer.reason) == (422, "Invalid")
    missing = await api.request(
        "PATCH", path, [{"op": "remove", "path": "/spec/none"}], content_type=JSON_PATCH
    )
    assert missing.status == 422
    works = [
        {"op": "test", "path": "/spec/color", "value": "red"},
        {"op": "add", "path": "/spec/tags/-", "value": "z"},
        {"op": "remove", "path": "/spec/tags/0"},
        {"op": "add", "path": "/metadata/annotations", "value": {"a~b/c": "1"}},
        {"op": "replace", "path": "/metadata/annotations/a~0b~1c", "value": "2"},
    ]
    answer = await api.request("PATCH", path, works[:3], content_type=JSON_PATCH)
    assert answer.body["spec"] == {"size": 1, "color": "red", "tags": ["y", "z"]}


async def test_json_patch_paths_are_escaped(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a", {"annotations": {"example.com/x": "1"}}))
    patch = [{"op": "replace", "path": "/metadata/annotations/example.com~1x", "value": "2"}]
    after = await api.ok("PATCH", f"{widgets}/a", patch, content_type=JSON_PATCH)
    assert after["metadata"]["annotations"] == {"example.com/x": "2"}


async def test_custom_resources_take_no_strategic_patch(api: Api, widgets: str, group: str) -> None:
    await api.create(widgets, widget(group, "a"))
    answer = await api.request("PATCH", f"{widgets}/a", {"spec": {"size": 2}}, content_type=STRATEGIC)
    assert answer.status == 415


async def test_a_strategic_patch_merges_containers_by_name(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    env = [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
    await api.create(path, stateful_set("s", {"name": "main", "image": "example.com/main:1", "env": env}))
    containers = [
        {"name": "main", "env": [{"name": "A", "value": "9"}, {"name": "B", "$patch": "delete"}]},
        {"name": "side", "image": "example.com/side:1"},
    ]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    after = await api.ok("PATCH", f"{path}/s", patch, content_type=STRATEGIC)
    found = {each["name"]: each for each in after["spec"]["template"]["spec"]["containers"]}
    assert set(found) == {"main", "side"}
    assert found["main"]["image"] == "example.com/main:1"
    assert found["main"]["env"] == [{"name": "A", "value": "9"}]


async def test_what_a_strategic_patch_emptied_is_gone(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    env = [{"name": "A", "value": "1"}]
    made = stateful_set("s", {"name": "main", "image": "example.com/main:1", "env": env})
    made["spec"]["template"]["metadata"]["annotations"] = {"note": "x"}
    await api.create(path, made)
    patch = {
        "metadata": {"annotations": {"note": None}},
        "spec": {"containers": [{"name": "main", "env": [{"name": "A", "$patch": "delete"}]}]},
    }
    after = await api.ok("PATCH", f"{path}/s", {"spec": {"template": patch}}, content_type=STRATEGIC)
    template = after["spec"]["template"]
    assert "env" not in template["spec"]["containers"][0]
    assert "annotations" not in template["metadata"]


async def test_a_dry_run_leaves_nothing(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a"), dryRun="All")
    assert made["spec"]["color"] == "red"
    assert await api.gone(f"{widgets}/a")
    await api.create(widgets, widget(group, "a"))
    after = await api.merge(f"{widgets}/a", {"spec": {"size": 2}}, dryRun="All")
    assert after["spec"]["size"] == 2
    assert (await api.get(f"{widgets}/a"))["spec"]["size"] == 1


async def test_what_a_stateful_set_may_change(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    made = await api.create(path, stateful_set("s"))
    spec = made["spec"]
    assert spec["podManagementPolicy"] == "OrderedReady"
    assert spec["updateStrategy"]["type"] == "RollingUpdate"
    assert spec["template"]["spec"]["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    answer = await api.request("PATCH", f"{path}/s", {"spec": {"serviceName": "other"}}, content_type=MERGE)
    assert (answer.status, answer.fields) == (422, {"spec"})
    template = {"spec": {"template": {"metadata": {"annotations": {"a": "b"}}}}}
    assert (await api.merge(f"{path}/s", template))["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"selector": {"matchLabels": {"app": "other"}}}, "spec.template.metadata.labels"),
        ({"selector": None}, "spec.selector"),
    ],
)
async def test_a_stateful_set_selects_its_own_pods(
    api: Api, namespace: str, change: Json, field: str
) -> None:
    obj = stateful_set("s")
    obj["spec"] |= change
    answer = await api.request("POST", f"/apis/apps/v1/namespaces/{namespace}/statefulsets", obj)
    assert answer.status == 422
    assert field in answer.fields


async def test_quantities_are_stored_in_one_form(api: Api, namespace: str) -> None:
    limits = {"cpu": 0.5, "memory": "1024Mi", "ephemeral-storage": "1500Mi"}
    container = {"name": "main", "image": "example.com/main:1", "resources": {"limits": limits}}
    made = await api.create(
        f"/apis/apps/v1/namespaces/{namespace}/statefulsets", stateful_set("s", container)
    )
    stored = made["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert stored == {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "1500Mi"}


@pytest.mark.parametrize(
    ("container", "field"),
    [
        ({"image": None}, "image"),
        ({"name": "Main"}, "name"),
        ({"env": [{"name": "A", "value": "1", "valueFrom": FIELD}]}, "env[0].valueFrom"),
        ({"volumeMounts": [{"name": "nothing", "mountPath": "/a"}]}, "volumeMounts[0].name"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "resources.requests"),
    ],
)
async def test_containers_are_checked(api: Api, namespace: str, container: Json, field: str) -> None:
    containers = [{"name": "main", "image": "example.com/main:1", **container}]
    template = {"spec": {"restartPolicy": "Never", "containers": containers}}
    job = {"metadata": {"name": "j"}, "spec": {"template": template}}
    answer = await api.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job)
    assert (answer.status, answer.fields) == (422, {f"spec.template.spec.containers[0].{field}"})


async def test_the_template_of_a_stateful_set_is_not_checked(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/statefulsets"
    made = await api.create(path, stateful_set("s", {"name": "no-image"}))
    assert made["spec"]["template"]["spec"]["containers"][0]["name"] == "no-image"


async def test_secrets_take_text(api: Api, namespace: str) -> None:
    path = f"/api/v1/namespaces/{namespace}/secrets"
    made = await api.create(path, {"metadata": {"name": "s"}, "stringData": {"key": "value"}})
    assert (made["data"], made["type"]) == ({"key": "dmFsdWU="}, "Opaque")
    assert "stringData" not in made


async def test_a_job_gets_a_selector_of_its_own(api: Api, namespace: str) -> None:
    path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    container = {"name": "main", "image": "example.com/main:1"}
    template = {"spec": {"restartPolicy": "Never", "containers": [container], "nodeName": "nowhere"}}
    made = await api.create(
        path, {"metadata": {"name": "j"}, "spec": {"template": template, "parallelism": 0}}
    )
    labels = made["spec"]["template"]["metadata"]["labels"]
    assert labels["controller-uid"] == made["metadata"]["uid"]
    assert labels["job-name"] == "j"
    assert made["spec"]["selector"]["matchLabels"].items() <= labels.items()
    always = {"spec": template["spec"] | {"restartPolicy": "Always"}}
    answer = await api.request("POST", path, {"metadata": {"name": "k"}, "spec": {"template": always}})
    assert answer.fields == {"spec.template.spec.restartPolicy"}
    change = {"spec": {"template": {"metadata": {"labels": {"new": "label"}}}}}
    answer = await api.request("PATCH", f"{path}/j", change, content_type=MERGE)
    assert answer.fields == {"spec.template"}
