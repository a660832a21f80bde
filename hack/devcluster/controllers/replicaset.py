"""ReplicaSets.

Guarantee: as many pods as asked for, replaced when they end; surplus ones that are not ready go first.
Non-guarantee: no adoption of pods.
"""

from __future__ import annotations

from collections.abc import Mapping

from hack.devcluster import events
from hack.devcluster.controllers.loop import KeysOf, controlled_by, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    PODS,
    REPLICA_SETS,
    controller_reference,
    is_finished,
    is_ready,
    name_of,
    namespace_of,
    owned_pods,
    status_of,
)


class ReplicaSetController:
    """Keeps the number of pods."""

    watches: Mapping[GroupResource, KeysOf] = {REPLICA_SETS: itself, PODS: controlled_by("ReplicaSet")}

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(self, namespace: str, name: str) -> None:
        try:
            owner = self._registry.get(REPLICA_SETS, namespace, name)
        except ApiStatus:
            return
        if is_deleting(owner):
            return
        pods = [pod for pod in owned_pods(self._registry, owner) if not is_deleting(pod)]
        live = sorted((pod for pod in pods if not is_finished(pod)), key=is_ready)
        wanted = int(dig(owner, "spec", "replicas", default=1))
        for _ in range(wanted - len(live)):
            self._create(owner)
        for pod in live[: max(len(live) - wanted, 0)] + [pod for pod in pods if is_finished(pod)]:
            self._registry.delete(PODS, namespace, name_of(pod), uid=pod["metadata"]["uid"])
        self._write_status(owner)

    def _create(self, owner: Obj) -> None:
        template = owner["spec"]["template"]
        metadata = copy(template.get("metadata") or {})
        metadata |= {"generateName": f"{name_of(owner)}-", "namespace": namespace_of(owner)}
        metadata["ownerReferences"] = [controller_reference(owner)]
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy(template["spec"])}
        created = self._registry.create(PODS, pod)
        events.record(self._registry, owner, "Normal", "SuccessfulCreate", f"Created pod: {name_of(created)}")

    def _write_status(self, owner: Obj) -> None:
        pods = [pod for pod in owned_pods(self._registry, owner) if not is_deleting(pod)]
        ready = sum(map(is_ready, pods))
        fresh = {
            "observedGeneration": owner["metadata"].get("generation", 1),
            "replicas": len(pods),
            "fullyLabeledReplicas": len(pods),
            "readyReplicas": ready,
            "availableReplicas": ready,
        }
        if fresh != status_of(owner):
            self._registry.update_status(REPLICA_SETS, owner | {"status": fresh})
