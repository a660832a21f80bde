"""What the tests of the builders start from."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.api.objects import StatefulSet
from controller.wire.messages import RunSpec, Server, StorageTarget


def a_backup(name: str = "nightly", namespace: str = "neo4j", uid: str = "uid-1") -> Neo4jBackup:
    """A backup without a spec, which no builder reads."""
    meta = {"name": name, "namespace": namespace, "uid": uid, "generation": 3}
    return msgspec.convert({"metadata": meta}, type=Neo4jBackup)


def a_run(**changes: Any) -> RunSpec:
    """A run of everything on one server into S3."""
    fields: dict[str, Any] = {
        "namespace": "neo4j",
        "backup": "nightly",
        "backup_uid": "uid-1",
        "generation": 3,
        "deployment": "prod",
        "servers": (Server(pod="prod-server-0", namespace="neo4j"),),
        "storage": StorageTarget(type="s3", bucket="backups"),
    }
    return RunSpec(**(fields | changes))


NEO4J: JsonObject = {
    "name": "neo4j",
    "image": "neo4j:5.26.0-enterprise",
    "imagePullPolicy": "Always",
    "env": [
        {"name": "NEO4J_AUTH", "valueFrom": {"secretKeyRef": {"name": "auth", "key": "NEO4J_AUTH"}}},
        {"name": "NEO4J_server_memory_heap_max__size", "value": "1g"},
    ],
    "envFrom": [{"configMapRef": {"name": "prod-env"}}],
    "volumeMounts": [
        {"name": "data", "mountPath": "/data"},
        {"name": "logs", "mountPath": "/logs"},
        {"name": "conf", "mountPath": "/var/lib/neo4j/conf"},
        {"name": "certificates", "mountPath": "/ssl"},
    ],
    "securityContext": {"runAsUser": 7474, "runAsGroup": 7474, "readOnlyRootFilesystem": True},
}


def a_stateful_set(
    *others: JsonObject, neo4j: JsonObject | None = None, pod: JsonObject | None = None
) -> StatefulSet:
    """A StatefulSet with a neo4j container, changed by ``neo4j``, and other containers after it."""
    template = {"spec": {"containers": [NEO4J | (neo4j or {}), *others]} | (pod or {})}
    body = {"metadata": {"name": "prod-server", "namespace": "neo4j"}, "spec": {"template": template}}
    return msgspec.json.decode(json.dumps(body), type=StatefulSet)


def applied(statefulset: StatefulSet, patch: JsonObject) -> StatefulSet:
    """The StatefulSet after a server-side apply of ``patch``, with defaults that a server fills in."""
    body = msgspec.json.decode(msgspec.json.encode(statefulset))
    template = body["spec"].setdefault("template", {})
    intended = patch["spec"]["template"]
    template.setdefault("metadata", {}).setdefault("annotations", {}).update(
        intended["metadata"]["annotations"]
    )
    for field in ("containers", "initContainers", "volumes"):
        ours = {item["name"]: item for item in intended["spec"].get(field, [])}
        there = [item for item in template["spec"].get(field) or [] if item["name"] not in ours]
        defaulted = [{**item, "terminationMessagePolicy": "File"} for item in ours.values()]
        template["spec"][field] = there + defaulted
    return msgspec.json.decode(msgspec.json.encode(body), type=StatefulSet)
