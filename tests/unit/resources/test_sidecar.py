"""The sidecar: as documented, without a restart that nothing asked for, owning nothing but itself."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.model import JsonObject
from controller.api.objects import StatefulSet
from controller.resources import labels
from controller.resources.sidecar import (
    AgentImage,
    SidecarImpossibleError,
    build_patch,
    intended_hash,
    missing_parts,
    needs_patch,
    removal_patch,
)
from controller.wire import locations
from tests.unit.resources.builders import NEO4J, a_stateful_set, applied

AGENT = AgentImage(image="operator:1")


def patched(statefulset: StatefulSet | None = None) -> JsonObject:
    template: JsonObject = build_patch(statefulset or a_stateful_set(), AGENT)["spec"]["template"]["spec"]
    return template


def sidecar(statefulset: StatefulSet | None = None) -> JsonObject:
    (only,) = patched(statefulset)["containers"]
    found: JsonObject = only
    return found


def environment(**neo4j: Any) -> dict[str, Any]:
    entries = sidecar(a_stateful_set(neo4j=neo4j))["env"]
    assert len({entry["name"] for entry in entries}) == len(entries)
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def mounts(**neo4j: Any) -> dict[str, JsonObject]:
    return {item["mountPath"]: item for item in sidecar(a_stateful_set(neo4j=neo4j))["volumeMounts"]}


def test_the_resources_of_the_reference() -> None:
    assert sidecar()["resources"] == {
        "requests": {"cpu": "200m", "memory": "512Mi"},
        "limits": {"cpu": "500m", "memory": "1Gi"},
    }


def test_it_runs_the_agent_in_the_image_of_neo4j() -> None:
    assert sidecar()["name"] == "backup-sidecar"
    assert sidecar()["image"] == NEO4J["image"]
    assert sidecar()["imagePullPolicy"] == "Always"
    assert sidecar()["command"] == locations.agent_command("run")


def test_the_variables_of_the_reference_are_added_to_the_inherited_ones() -> None:
    env = environment()
    assert env["NEO4J_AUTH"] == {"secretKeyRef": {"name": "auth", "key": "NEO4J_AUTH"}}
    assert env["NEO4J_server_memory_heap_max__size"] == "1g"
    assert env["BACKUP_RETENTION_DAYS"] == "7"
    assert env["BACKUP_RETENTION_COUNT"] == "10"
    assert env["NEO4J_CONF"] == "/var/lib/neo4j/conf"
    assert env["NEO4J_HOME"] == "/var/lib/neo4j"
    assert env["TZ"] == "UTC"
    assert env["POD_IP"]["fieldRef"]["fieldPath"] == "status.podIP"
    assert sidecar()["envFrom"] == NEO4J["envFrom"]


def test_where_neo4j_says_its_configuration_is_there_it_is() -> None:
    env = environment(
        env=[{"name": "NEO4J_CONF", "value": "/config/"}, {"name": "TZ", "value": "Europe/Rome"}]
    )
    assert env["NEO4J_CONF"] == "/config/"
    assert env["TZ"] == "UTC"


def test_what_would_break_the_agent_is_not_inherited() -> None:
    env = environment(
        env=[{"name": "LD_PRELOAD", "value": "/x.so"}, {"name": "JAVA_OPTS", "value": "-Xmx1g"}]
    )
    assert "LD_PRELOAD" not in env
    assert env["JAVA_OPTS"] == "-Xmx1g"


def test_a_variable_that_is_there_twice_counts_once_with_its_last_value() -> None:
    assert environment(env=[{"name": "A", "value": "1"}, {"name": "A", "value": "2"}])["A"] == "2"


@pytest.mark.parametrize("neo4j", [{"env": None, "envFrom": None}, {"env": [], "envFrom": []}])
def test_a_container_without_an_environment_is_no_problem(neo4j: JsonObject) -> None:
    assert environment(**neo4j)["NEO4J_HOME"] == "/var/lib/neo4j"
    assert "envFrom" not in sidecar(a_stateful_set(neo4j=neo4j))


def test_the_mounts_of_the_reference_and_nothing_that_is_not_needed() -> None:
    found = mounts()
    assert set(found) == {
        "/data",
        "/var/lib/neo4j/conf",
        "/ssl",
        "/backup-requests",
        locations.AGENT_BUNDLE,
        "/tmp",
    }
    assert found["/data"] == {"name": "data", "mountPath": "/data"}
    assert found["/var/lib/neo4j/conf"]["readOnly"] is True
    assert found["/ssl"]["readOnly"] is True


def test_parts_of_volumes_come_along() -> None:
    found = mounts(
        volumeMounts=[
            {"name": "v", "mountPath": "/data", "subPathExpr": "$(POD_NAME)/data"},
            {"name": "w", "mountPath": "/data/transactions"},
            {"name": "x", "mountPath": "/database"},
            {"name": "c", "mountPath": "/config/neo4j.conf", "subPath": "neo4j.conf"},
        ]
    )
    assert found["/data"]["subPathExpr"] == "$(POD_NAME)/data"
    assert "/data/transactions" in found
    assert "/database" not in found
    assert found["/config/neo4j.conf"]["subPath"] == "neo4j.conf"


def test_a_configuration_directory_of_its_own_is_found() -> None:
    found = mounts(
        env=[{"name": "NEO4J_CONF", "value": "/etc/neo4j"}],
        volumeMounts=[{"name": "d", "mountPath": "/data"}, {"name": "c", "mountPath": "/etc/neo4j"}],
    )
    assert "/etc/neo4j" in found


def test_data_at_the_images_own_place_appears_at_data_too() -> None:
    found = mounts(volumeMounts=[{"name": "d", "mountPath": "/var/lib/neo4j/data"}])
    assert found["/data"]["name"] == "d"


def test_without_data_or_neo4j_there_is_nothing_to_back_up_and_it_says_so() -> None:
    with pytest.raises(SidecarImpossibleError, match="mounts no volume at /data"):
        build_patch(a_stateful_set(neo4j={"volumeMounts": []}), AGENT)
    with pytest.raises(SidecarImpossibleError, match="no container neo4j, but database"):
        build_patch(a_stateful_set(neo4j={"name": "database"}), AGENT)


def test_the_init_container_brings_the_agent() -> None:
    (install,) = patched()["initContainers"]
    assert install["image"] == "operator:1"
    assert install["args"] == ["agent", "install"]
    assert [item["mountPath"] for item in install["volumeMounts"]] == [locations.AGENT_BUNDLE]
    assert {item["name"] for item in patched()["volumes"]} >= {install["volumeMounts"][0]["name"]}


def security(neo4j: JsonObject | None, pod: JsonObject | None = None) -> JsonObject:
    changes = {"securityContext": pod} if pod is not None else {}
    found: JsonObject = sidecar(a_stateful_set(neo4j={"securityContext": neo4j}, pod=changes))[
        "securityContext"
    ]
    return found


@pytest.mark.parametrize("neo4j", [None, {}, {"privileged": True, "capabilities": {"add": ["SYS_ADMIN"]}}])
def test_it_fits_the_restricted_profile_as_neo4js_user(neo4j: JsonObject | None) -> None:
    assert security(neo4j) == {
        "runAsUser": 7474,
        "runAsGroup": 7474,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_it_is_the_user_that_neo4j_is() -> None:
    assert security({"runAsUser": 1000})["runAsUser"] == 1000
    from_pod = security(None, {"runAsUser": 1001, "seccompProfile": {"type": "Localhost"}})
    assert "runAsUser" not in from_pod
    assert "seccompProfile" not in from_pod
    assert from_pod["runAsNonRoot"] is True


def test_where_neo4j_is_root_on_purpose_it_is_not_made_impossible() -> None:
    assert "runAsNonRoot" not in security({"runAsUser": 0})


def test_the_patch_names_nothing_but_its_own() -> None:
    patch = build_patch(a_stateful_set({"name": "metrics", "image": "x"}), AGENT)
    assert set(patch["spec"]) == {"template"}
    assert set(patch["spec"]["template"]) == {"metadata", "spec"}
    assert set(patch["spec"]["template"]["metadata"]) == {"annotations"}
    assert set(patch["spec"]["template"]["metadata"]["annotations"]) == {labels.SIDECAR_HASH}
    assert [item["name"] for item in patched()["containers"]] == ["backup-sidecar"]


def test_it_is_at_index_one_after_neo4j() -> None:
    before = a_stateful_set()
    after = applied(before, build_patch(before, AGENT))
    assert [item.name for item in after.spec.template.spec.containers] == ["neo4j", "backup-sidecar"]


def test_what_was_applied_is_not_applied_again() -> None:
    before = a_stateful_set()
    patch = build_patch(before, AGENT)
    assert needs_patch(before, patch) == (True, "container backup-sidecar is not there yet")
    after = applied(before, patch)
    assert build_patch(after, AGENT) == patch
    assert needs_patch(after, build_patch(after, AGENT)) == (False, "")


@pytest.mark.parametrize(
    "neo4j",
    [{"image": "neo4j:2025.01"}, {"env": []}, {"volumeMounts": [{"name": "d", "mountPath": "/data"}]}],
)
def test_what_changes_in_neo4j_changes_the_sidecar(neo4j: JsonObject) -> None:
    before = a_stateful_set()
    after = applied(before, build_patch(before, AGENT))
    changed = build_patch(a_stateful_set(neo4j=neo4j), AGENT)
    needed, where = needs_patch(after, changed)
    assert needed
    assert "differs" in where
    assert intended_hash(changed) != intended_hash(build_patch(before, AGENT))


def test_a_change_of_neo4j_that_is_not_the_sidecars_business_restarts_nothing() -> None:
    before = a_stateful_set()
    logs = {"volumeMounts": [*NEO4J["volumeMounts"], {"name": "p", "mountPath": "/plugins"}]}
    assert build_patch(a_stateful_set(neo4j=logs), AGENT) == build_patch(before, AGENT)


def test_another_operator_image_changes_the_sidecar() -> None:
    before = a_stateful_set()
    after = applied(before, build_patch(before, AGENT))
    assert needs_patch(after, build_patch(after, AgentImage(image="operator:2")))[0]


def test_that_somebody_took_it_out_is_seen_even_when_the_annotation_stayed() -> None:
    before = a_stateful_set()
    patch = build_patch(before, AGENT)
    only_annotated = applied(before, {"spec": {"template": {**patch["spec"]["template"], "spec": {}}}})
    assert needs_patch(only_annotated, patch) == (True, "container backup-sidecar was removed")
    assert "init container backup-agent-install" in missing_parts(only_annotated)


def test_taking_it_out_intends_nothing() -> None:
    assert removal_patch(a_stateful_set()) == {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "prod-server", "namespace": "neo4j"},
    }
