"""The slim objects: decoded from what an API server sends, small, and readable by the store."""

from __future__ import annotations

import json
import sys
from typing import TypeVar

import msgspec
import pytest

from controller.api import cached, objects, targets
from controller.api.model import JsonObject

WITH_METADATA: list[type[objects.Object]] = [
    objects.Object,
    objects.StatefulSet,
    objects.Pod,
    objects.Job,
    objects.CronJob,
    objects.PersistentVolumeClaim,
    targets.Neo4jEnterpriseCluster,
    targets.Neo4jEnterpriseStandalone,
    targets.Neo4jDatabase,
]
E = TypeVar("E", bound=objects.Entity)
ALL: list[type[objects.Entity]] = [*WITH_METADATA, cached.Neo4jBackup]
META: JsonObject = {
    "name": "a",
    "namespace": "n",
    "uid": "u",
    "resourceVersion": "7",
    "generation": 3,
    "labels": {"l": "1"},
    "annotations": None,
    "creationTimestamp": "2026-01-02T03:04:05Z",
    "managedFields": [{"manager": "x"}],
    "ownerReferences": [
        {"apiVersion": "v1", "kind": "A", "name": "a", "uid": "1"},
        {"apiVersion": "v1", "kind": "B", "name": "b", "uid": "2", "controller": True},
    ],
}


def decode(type_: type[E], **fields: object) -> E:
    return msgspec.json.decode(json.dumps({"kind": "X", "metadata": META} | fields), type=type_)


@pytest.mark.parametrize("type_", ALL)
def test_every_type_has_what_the_store_asks_for(type_: type[objects.Entity]) -> None:
    item = decode(type_)
    assert (item.namespace, item.name, item.uid, item.resource_version) == ("n", "a", "u", "7")
    assert item.generation == 3
    assert not item.is_deleting


@pytest.mark.parametrize("type_", WITH_METADATA)
def test_what_is_made_for_others_has_labels_and_owners(type_: type[objects.Object]) -> None:
    item = decode(type_)
    assert (item.labels, item.annotations) == ({"l": "1"}, {})
    assert item.controller is not None
    assert item.controller.kind == "B"


@pytest.mark.parametrize("type_", ALL)
def test_an_empty_object_is_no_error(type_: type[objects.Entity]) -> None:
    assert msgspec.json.decode(b"{}", type=type_).name == ""


@pytest.mark.parametrize("type_", ALL)
def test_objects_are_frozen(type_: type[objects.Entity]) -> None:
    with pytest.raises(AttributeError):
        decode(type_).metadata = objects.ObjectMeta()  # type: ignore[misc]


def test_a_bad_spec_does_not_stop_the_list_it_is_in() -> None:
    item = decode(cached.Neo4jBackup, spec={"storage": 7}, status="nonsense")
    assert json.loads(bytes(item.spec)) == {"storage": 7}


def test_text_is_detached_from_the_response_that_it_came_in() -> None:
    containers = [{"name": "neo4j", "env": [{"name": "A"}]}]
    template = {"spec": {"containers": containers}}
    body = json.dumps({"metadata": META, "spec": {"template": template}, "other": "x" * 9}).encode()
    before = sys.getrefcount(body)
    item = msgspec.json.decode(body, type=objects.StatefulSet)
    assert sys.getrefcount(body) == before
    assert bytes(item.spec.template.spec.containers[0].env) == b'[{"name": "A"}]'  # type: ignore[arg-type]


def stateful_set(status: JsonObject) -> objects.StatefulSet:
    body = {"metadata": {"generation": 1}, "spec": {"replicas": 2}, "status": status}
    return msgspec.convert(body, type=objects.StatefulSet)


ROLLED_OUT = {
    "observedGeneration": 1,
    "readyReplicas": 2,
    "updatedReplicas": 2,
    "currentRevision": "a",
    "updateRevision": "a",
}


def test_a_stateful_set_is_rolled_out_when_every_pod_is_ready_and_current() -> None:
    assert stateful_set(ROLLED_OUT).is_rolled_out


@pytest.mark.parametrize(
    "change",
    [{"readyReplicas": 1}, {"updatedReplicas": 1}, {"updateRevision": "b"}, {"observedGeneration": 0}],
)
def test_a_stateful_set_that_is_still_rolling_is_not(change: JsonObject) -> None:
    assert not stateful_set(ROLLED_OUT | change).is_rolled_out


def test_replicas_default_to_one_and_may_be_none() -> None:
    assert msgspec.convert({}, type=objects.StatefulSet).replicas == 1
    assert msgspec.convert({"spec": {"replicas": 0}}, type=objects.StatefulSet).replicas == 0


def pod(**changes: object) -> objects.Pod:
    body = {
        "metadata": {"name": "p"},
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {
                    "name": "backup",
                    "ready": False,
                    "state": {"terminated": {"exitCode": 1, "message": "{}", "reason": "OOMKilled"}},
                }
            ],
        },
    }
    return msgspec.json.decode(json.dumps(body | changes), type=objects.Pod)


def test_a_pod_tells_how_its_containers_are() -> None:
    item = pod()
    assert item.is_ready
    assert item.status.pod_ip == "10.0.0.1"
    ended = item.container("backup")
    assert ended is not None
    assert ended.state.terminated is not None
    assert (ended.state.terminated.exit_code, ended.state.terminated.reason) == (1, "OOMKilled")
    assert item.container("other") is None


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    assert not pod(metadata={"name": "p", "deletionTimestamp": "2026-01-02T03:04:05Z"}).is_ready


def test_a_job_ends_by_a_condition_and_not_by_a_count() -> None:
    failing = msgspec.convert({"status": {"failed": 2, "active": 1}}, type=objects.Job)
    assert failing.final_condition() is None
    conditions = [{"type": "Failed", "status": "False"}, {"type": "Complete", "status": "True"}]
    done = msgspec.convert({"status": {"failed": 2, "conditions": conditions}}, type=objects.Job)
    final = done.final_condition()
    assert final is not None
    assert final.type == "Complete"
