"""The scheduler: binds pods to the only node.

Guarantee: a pod waits, visibly, for its claims to be bound and for a node that its nodeSelector fits.
Non-guarantee: no resources, affinities, taints or topology.
"""

from __future__ import annotations

from collections.abc import Mapping

from hack.devcluster import events
from hack.devcluster.controllers.claims import claim_names
from hack.devcluster.controllers.loop import KeysOf, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, is_deleting, timestamp
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    CLAIMS,
    NODES,
    PODS,
    condition_of,
    labels_of,
    name_of,
    namespace_of,
    now,
    status_of,
)

_RETRY_SECONDS = 0.3


class Scheduler:
    """Sets ``spec.nodeName``."""

    watches: Mapping[GroupResource, KeysOf] = {PODS: itself}

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(self, namespace: str, name: str) -> float | None:
        try:
            pod = self._registry.get(PODS, namespace, name)
        except ApiStatus:
            return None
        if pod["spec"].get("nodeName") or is_deleting(pod):
            return None
        node, obstacle = self._place(pod)
        if obstacle:
            self._refuse(pod, obstacle)
            return _RETRY_SECONDS
        bound = self._registry.update(PODS, pod | {"spec": pod["spec"] | {"nodeName": node}})
        self._write_condition(bound, "True", {})
        message = f"Successfully assigned {namespace}/{name} to {node}"
        events.record(self._registry, bound, "Normal", "Scheduled", message)
        return None

    def _place(self, pod: Obj) -> tuple[str, str]:
        """The node, or what stands in the way."""
        for claim_name in claim_names(pod):
            try:
                claim = self._registry.get(CLAIMS, namespace_of(pod), claim_name)
            except ApiStatus:
                return "", f'persistentvolumeclaim "{claim_name}" not found'
            if status_of(claim).get("phase") != "Bound":
                return "", "pod has unbound immediate PersistentVolumeClaims"
        nodes, _ = self._registry.list(NODES)
        wanted = (pod["spec"].get("nodeSelector") or {}).items()
        fitting = [node for node in nodes if wanted <= labels_of(node).items()]
        usable = [node for node in fitting if not (node.get("spec") or {}).get("unschedulable")]
        if usable:
            return name_of(usable[0]), ""
        reason = "were unschedulable" if fitting else "didn't match Pod's node affinity/selector"
        return "", f"0/{len(nodes)} nodes are available: {len(nodes)} node(s) {reason}."

    def _refuse(self, pod: Obj, message: str) -> None:
        known = condition_of(pod, "PodScheduled")
        if known is None or known.get("message") != message:
            events.record(self._registry, pod, "Warning", "FailedScheduling", message)
            self._write_condition(pod, "False", {"reason": "Unschedulable", "message": message})

    def _write_condition(self, pod: Obj, status: str, why: Obj) -> None:
        at = timestamp(now())
        condition = {
            "type": "PodScheduled",
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": at,
        } | why
        others = [each for each in status_of(pod).get("conditions") or [] if each["type"] != "PodScheduled"]
        fresh = {"phase": "Pending", **status_of(pod), "conditions": [*others, condition]}
        self._registry.update_status(PODS, pod | {"status": fresh})
