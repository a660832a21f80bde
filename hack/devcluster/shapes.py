"""Small questions about Kubernetes objects, asked by every controller and by the node.

Guarantee: nothing here changes its arguments; objects from the registry are shared and must stay as they are.
Non-guarantee: no validation; the API server has done that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hack.devcluster.objects import GroupResource, Obj, is_deleting
from hack.devcluster.registry import Registry
from hack.devcluster.selectors import from_object

PODS: GroupResource = ("", "pods")
EVENTS: GroupResource = ("", "events")
NODES: GroupResource = ("", "nodes")
CLAIMS: GroupResource = ("", "persistentvolumeclaims")
VOLUMES: GroupResource = ("", "persistentvolumes")
SECRETS: GroupResource = ("", "secrets")
CONFIG_MAPS: GroupResource = ("", "configmaps")
SERVICES: GroupResource = ("", "services")
ENDPOINTS: GroupResource = ("", "endpoints")
NAMESPACES: GroupResource = ("", "namespaces")
STATEFUL_SETS: GroupResource = ("apps", "statefulsets")
DEPLOYMENTS: GroupResource = ("apps", "deployments")
REPLICA_SETS: GroupResource = ("apps", "replicasets")
REVISIONS: GroupResource = ("apps", "controllerrevisions")
JOBS: GroupResource = ("batch", "jobs")
CRON_JOBS: GroupResource = ("batch", "cronjobs")


def now() -> datetime:
    return datetime.now(UTC)


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def namespace_of(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Obj) -> str:
    return str(obj["metadata"]["uid"])


def labels_of(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def status_of(obj: Obj) -> Obj:
    return obj.get("status") or {}


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that says ``controller: true``."""
    references = obj["metadata"].get("ownerReferences") or []
    return next((each for each in references if each.get("controller")), None)


def is_controlled_by(obj: Obj, owner: Obj) -> bool:
    reference = controller_of(obj)
    return reference is not None and reference["uid"] == uid_of(owner)


def owned_pods(registry: Registry, owner: Obj) -> list[Obj]:
    """The pods that ``owner`` controls, deleted ones that still run included."""
    pods, _ = registry.list(PODS, namespace_of(owner))
    return [pod for pod in pods if is_controlled_by(pod, owner)]


def controller_reference(owner: Obj) -> Obj:
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects ``labels``; an absent one selects nothing."""
    return selector is not None and all(each.matches(labels) for each in from_object(selector))


def condition_of(obj: Obj, kind: str) -> Obj | None:
    conditions = status_of(obj).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), None)


def has_condition(obj: Obj, kind: str) -> bool:
    condition = condition_of(obj, kind)
    return condition is not None and condition["status"] == "True"


def is_ready(pod: Obj) -> bool:
    return has_condition(pod, "Ready") and not is_deleting(pod)


def is_finished(pod: Obj) -> bool:
    return status_of(pod).get("phase") in ("Succeeded", "Failed")


def short_hash(*parts: str) -> str:
    """Ten characters that name a thing after its content."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
