"""StatefulSets.

Guarantee: the real controller's order: pods by ordinal, each waiting for the one before to be ready
(OrderedReady), updates one pod at a time from the highest ordinal down to the partition, each waiting for
Ready; revisions are kept as ControllerRevisions; claims outlive the pods and the set.
Non-guarantee: no maxUnavailable, no minReadySeconds, no retention policy of claims.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from hack.devcluster import events
from hack.devcluster.controllers.loop import KeysOf, controlled_by, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    CLAIMS,
    PODS,
    REVISIONS,
    STATEFUL_SETS,
    controller_reference,
    is_controlled_by,
    is_finished,
    is_ready,
    labels_of,
    name_of,
    namespace_of,
    owned_pods,
    short_hash,
    status_of,
)

REVISION_LABEL = "controller-revision-hash"


class StatefulSetController:
    """One step for one StatefulSet at a time."""

    watches: Mapping[GroupResource, KeysOf] = {STATEFUL_SETS: itself, PODS: controlled_by("StatefulSet")}

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(self, namespace: str, name: str) -> None:
        try:
            owner = self._registry.get(STATEFUL_SETS, namespace, name)
        except ApiStatus:
            return
        if is_deleting(owner):
            return
        update = self._ensure_revision(owner)
        current = status_of(owner).get("currentRevision") or update
        pods = self._pods(owner)
        self._step(owner, pods, current, update)
        self._write_status(owner, current, update)

    def _pods(self, owner: Obj) -> dict[int, Obj]:
        found = owned_pods(self._registry, owner)
        return {ordinal_of(pod): pod for pod in found}

    def _ensure_revision(self, owner: Obj) -> str:
        template = owner["spec"]["template"]
        name = f"{name_of(owner)}-{short_hash(json.dumps(template, sort_keys=True))}"
        try:
            self._registry.get(REVISIONS, namespace_of(owner), name)
        except ApiStatus:
            self._registry.create(REVISIONS, self._revision(owner, name))
        return name

    def _revision(self, owner: Obj, name: str) -> Obj:
        known, _ = self._registry.list(REVISIONS, namespace_of(owner))
        numbers = [each["revision"] for each in known if is_controlled_by(each, owner)]
        return {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "namespace": namespace_of(owner),
                "labels": labels_of(
                    owner["spec"]["template"] | {"metadata": owner["spec"]["template"].get("metadata") or {}}
                ),
                "ownerReferences": [controller_reference(owner)],
            },
            "data": {"spec": {"template": copy(owner["spec"]["template"])}},
            "revision": max(numbers, default=0) + 1,
        }

    def _step(self, owner: Obj, pods: dict[int, Obj], current: str, update: str) -> None:
        """Do what is next; stop where something has to be waited for."""
        if not self._fill(owner, pods, current, update):
            return
        surplus = max((each for each in pods if each >= _replicas(owner)), default=None)
        if surplus is not None:
            self._delete(owner, pods[surplus])
            return
        if dig(owner, "spec", "updateStrategy", "type", default="RollingUpdate") == "RollingUpdate":
            self._roll(owner, pods, update)

    def _fill(self, owner: Obj, pods: dict[int, Obj], current: str, update: str) -> bool:
        """Whether every wanted pod is there and, in ordered sets, ready."""
        ordered = dig(owner, "spec", "podManagementPolicy", default="OrderedReady") == "OrderedReady"
        complete = True
        for ordinal in range(_replicas(owner)):
            pod = pods.get(ordinal)
            if pod is None:
                self._create(owner, ordinal, current if ordinal < _partition(owner) else update)
            elif is_finished(pod) and not is_deleting(pod):
                self._delete(owner, pod)
            if pod is None or is_deleting(pod) or not is_ready(pod):
                complete = False
                if ordered:
                    return False
        return complete

    def _roll(self, owner: Obj, pods: dict[int, Obj], update: str) -> None:
        for ordinal in range(_replicas(owner) - 1, _partition(owner) - 1, -1):
            if revision_of(pods[ordinal]) != update:
                self._delete(owner, pods[ordinal])
                return

    def _create(self, owner: Obj, ordinal: int, revision: str) -> None:
        for template in owner["spec"].get("volumeClaimTemplates") or []:
            self._ensure_claim(owner, template, ordinal)
        stored = self._registry.get(REVISIONS, namespace_of(owner), revision)
        pod = self._registry.create(
            PODS, stateful_pod(owner, stored["data"]["spec"]["template"], ordinal, revision)
        )
        message = f"create Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful"
        events.record(self._registry, owner, "Normal", "SuccessfulCreate", message)

    def _ensure_claim(self, owner: Obj, template: Obj, ordinal: int) -> None:
        name = claim_name(owner, template, ordinal)
        try:
            self._registry.get(CLAIMS, namespace_of(owner), name)
            return
        except ApiStatus:
            labels = (template["metadata"].get("labels") or {}) | (
                owner["spec"]["selector"].get("matchLabels") or {}
            )
        metadata = {"name": name, "namespace": namespace_of(owner), "labels": labels}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata}
        self._registry.create(CLAIMS, claim | {"spec": copy(template["spec"])})

    def _delete(self, owner: Obj, pod: Obj) -> None:
        if is_deleting(pod):
            return
        self._registry.delete(PODS, namespace_of(pod), name_of(pod), uid=pod["metadata"]["uid"])
        message = f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful"
        events.record(self._registry, owner, "Normal", "SuccessfulDelete", message)

    def _write_status(self, owner: Obj, current: str, update: str) -> None:
        pods = list(self._pods(owner).values())
        fresh = stateful_status(owner, pods, current, update)
        if fresh != status_of(owner):
            self._registry.update_status(STATEFUL_SETS, owner | {"status": fresh})


def stateful_status(owner: Obj, pods: list[Obj], current: str, update: str) -> Obj:
    """The counts; an update is over when every pod has it and is ready, and its revision is current then."""
    ready = [pod for pod in pods if is_ready(pod)]
    updated = [pod for pod in pods if revision_of(pod) == update and not is_deleting(pod)]
    done = len(updated) == len(ready) == len(pods) == _replicas(owner)
    current = update if done else current
    at_current = [pod for pod in pods if revision_of(pod) == current and not is_deleting(pod)]
    return {
        "observedGeneration": owner["metadata"].get("generation", 1),
        "replicas": len(pods),
        "readyReplicas": len(ready),
        "availableReplicas": len(ready),
        "currentReplicas": len(at_current),
        "updatedReplicas": len(updated),
        "currentRevision": current,
        "updateRevision": update,
        "collisionCount": 0,
    }


def stateful_pod(owner: Obj, template: Obj, ordinal: int, revision: str) -> Obj:
    name = f"{name_of(owner)}-{ordinal}"
    metadata = copy(template.get("metadata") or {})
    labels = {
        **(metadata.get("labels") or {}),
        "apps.kubernetes.io/pod-index": str(ordinal),
        REVISION_LABEL: revision,
        "statefulset.kubernetes.io/pod-name": name,
    }
    metadata |= {"name": name, "namespace": namespace_of(owner), "labels": labels}
    metadata["ownerReferences"] = [controller_reference(owner)]
    spec = copy(template["spec"]) | {"hostname": name}
    if owner["spec"].get("serviceName"):
        spec["subdomain"] = owner["spec"]["serviceName"]
    claims = {
        each["metadata"]["name"]: {"claimName": claim_name(owner, each, ordinal)}
        for each in owner["spec"].get("volumeClaimTemplates") or []
    }
    others = [each for each in spec.get("volumes") or [] if each["name"] not in claims]
    claimed = [{"name": name, "persistentVolumeClaim": claim} for name, claim in claims.items()]
    spec["volumes"] = others + claimed
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def claim_name(owner: Obj, template: Obj, ordinal: int) -> str:
    return f"{template['metadata']['name']}-{name_of(owner)}-{ordinal}"


def ordinal_of(pod: Obj) -> int:
    return int(name_of(pod).rpartition("-")[2])


def revision_of(pod: Obj) -> str:
    return labels_of(pod).get(REVISION_LABEL, "")


def _replicas(owner: Obj) -> int:
    return int(dig(owner, "spec", "replicas", default=1))


def _partition(owner: Obj) -> int:
    return int(dig(owner, "spec", "updateStrategy", "rollingUpdate", "partition", default=0))
