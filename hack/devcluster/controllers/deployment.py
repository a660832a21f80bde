"""Deployments, through one ReplicaSet for each template.

Guarantee: a new template's pods are all ready before the old ones go (RollingUpdate), or the old ones are
gone before new ones are made (Recreate); status is what ``kubectl rollout status`` waits for.
Non-guarantee: maxSurge and maxUnavailable are not weighed, and revisions cannot be rolled back to.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from hack.devcluster.controllers.loop import KeysOf, controlled_by, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting, timestamp
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    DEPLOYMENTS,
    REPLICA_SETS,
    condition_of,
    controller_reference,
    is_controlled_by,
    name_of,
    namespace_of,
    now,
    short_hash,
    status_of,
)

_HASH = "pod-template-hash"


class DeploymentController:
    """Shifts replicas from old ReplicaSets to the newest."""

    watches: Mapping[GroupResource, KeysOf] = {DEPLOYMENTS: itself, REPLICA_SETS: controlled_by("Deployment")}

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(self, namespace: str, name: str) -> None:
        try:
            owner = self._registry.get(DEPLOYMENTS, namespace, name)
        except ApiStatus:
            return
        if is_deleting(owner):
            return
        newest = f"{name}-{short_hash(json.dumps(owner['spec']['template'], sort_keys=True))}"
        sets = self._sets(owner)
        old = [each for each in sets if name_of(each) != newest]
        current = next((each for each in sets if name_of(each) == newest), None)
        self._shift(owner, current, old, newest)
        self._write_status(owner, newest)

    def _sets(self, owner: Obj) -> list[Obj]:
        found, _ = self._registry.list(REPLICA_SETS, namespace_of(owner))
        return [each for each in found if is_controlled_by(each, owner)]

    def _shift(self, owner: Obj, current: Obj | None, old: list[Obj], newest: str) -> None:
        wanted = _replicas(owner)
        recreate = dig(owner, "spec", "strategy", "type", default="RollingUpdate") == "Recreate"
        busy = [each for each in old if status_of(each).get("replicas")]
        if recreate and (busy or any(_replicas(each) for each in old)):
            self._scale(old, 0)
        elif current is None:
            self._registry.create(REPLICA_SETS, _replica_set(owner, newest))
        else:
            self._scale([current], wanted)
            if status_of(current).get("readyReplicas", 0) >= wanted:
                self._scale(old, 0)

    def _scale(self, sets: list[Obj], replicas: int) -> None:
        for each in sets:
            if _replicas(each) != replicas:
                self._registry.update(REPLICA_SETS, each | {"spec": each["spec"] | {"replicas": replicas}})

    def _write_status(self, owner: Obj, newest: str) -> None:
        fresh = _status(owner, self._sets(owner), newest)
        if fresh != status_of(owner):
            self._registry.update_status(DEPLOYMENTS, owner | {"status": fresh})


def _replicas(obj: Obj) -> int:
    return int(dig(obj, "spec", "replicas", default=1))


def _replica_set(owner: Obj, name: str) -> Obj:
    spec = copy(owner["spec"])
    label = {_HASH: name.rpartition("-")[2]}
    template, selector = spec["template"], spec["selector"]
    metadata = template.get("metadata") or {}
    template["metadata"] = metadata | {"labels": (metadata.get("labels") or {}) | label}
    selector["matchLabels"] = (selector.get("matchLabels") or {}) | label
    return {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": {
            "name": name,
            "namespace": namespace_of(owner),
            "labels": template["metadata"]["labels"],
            "ownerReferences": [controller_reference(owner)],
        },
        "spec": {"replicas": _replicas(owner), "selector": selector, "template": template},
    }


def _status(owner: Obj, sets: list[Obj], newest: str) -> Obj:
    counts = {
        name: sum(status_of(each).get(name, 0) for each in sets) for name in ("replicas", "readyReplicas")
    }
    updated = sum(status_of(each).get("replicas", 0) for each in sets if name_of(each) == newest)
    ready = counts["readyReplicas"]
    wanted = _replicas(owner)
    done = updated == counts["replicas"] == ready == wanted
    progress = (
        ("NewReplicaSetAvailable", "has successfully progressed")
        if done
        else ("ReplicaSetUpdated", "is progressing")
    )
    return {
        **counts,
        "observedGeneration": owner["metadata"].get("generation", 1),
        "availableReplicas": ready,
        "updatedReplicas": updated,
        "unavailableReplicas": max(wanted - ready, 0),
        "conditions": [
            _condition(
                owner, "Available", ready >= wanted, "MinimumReplicasAvailable", "Minimum availability"
            ),
            _condition(owner, "Progressing", True, progress[0], f'ReplicaSet "{newest}" {progress[1]}.'),
        ],
    }


def _condition(owner: Obj, kind: str, holds: bool, reason: str, message: str) -> Obj:
    status, old, at = str(holds), condition_of(owner, kind), timestamp(now())
    since = old["lastTransitionTime"] if old and old["status"] == status else at
    return {
        "type": kind,
        "status": status,
        "reason": reason if holds else "MinimumReplicasUnavailable",
        "message": message,
        "lastTransitionTime": since,
        "lastUpdateTime": since,
    }
