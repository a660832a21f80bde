"""PersistentVolumeClaims, each bound to a volume of its own that the node keeps as a directory.

Guarantee: a claim is Bound at once, and is not removed while a pod that is not finished uses it.
Non-guarantee: sizes, classes and access modes are noted and never enforced; claims of a class that starts
with ``none`` stay Pending, so that waiting for storage can be seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hack.devcluster import events
from hack.devcluster.controllers.loop import KeysOf, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Key, Obj, dig, is_deleting
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    CLAIMS,
    PODS,
    VOLUMES,
    is_finished,
    name_of,
    namespace_of,
    status_of,
    uid_of,
)

_PROTECTION = "kubernetes.io/pvc-protection"


def claim_names(pod: Obj) -> list[str]:
    """The claims that ``pod`` mounts."""
    volumes = pod["spec"].get("volumes") or []
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]


def _claims_of(pod: Obj) -> Iterable[Key]:
    return [(namespace_of(pod), name) for name in claim_names(pod)]


class ClaimController:
    """Binds and protects claims."""

    watches: Mapping[GroupResource, KeysOf] = {CLAIMS: itself, PODS: _claims_of}

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def reconcile(self, namespace: str, name: str) -> None:
        try:
            claim = self._registry.get(CLAIMS, namespace, name)
        except ApiStatus:
            return
        if is_deleting(claim):
            self._release(claim)
        elif str(claim["spec"].get("storageClassName") or "").startswith("none"):
            self._leave_pending(claim)
        elif status_of(claim).get("phase") != "Bound":
            self._bind(claim)

    def _leave_pending(self, claim: Obj) -> None:
        message = f'storageclass.storage.k8s.io "{claim["spec"]["storageClassName"]}" not found'
        events.record(self._registry, claim, "Warning", "ProvisioningFailed", message)
        if status_of(claim).get("phase") != "Pending":
            self._registry.update_status(CLAIMS, claim | {"status": {"phase": "Pending"}})

    def _bind(self, claim: Obj) -> None:
        volume = f"pvc-{uid_of(claim)}"
        capacity = {"storage": dig(claim, "spec", "resources", "requests", "storage", default="1Gi")}
        self._ensure_volume(claim, volume, capacity)
        finalizers = [
            *(each for each in claim["metadata"].get("finalizers") or [] if each != _PROTECTION),
            _PROTECTION,
        ]
        metadata = claim["metadata"] | {"finalizers": finalizers}
        bound = self._registry.update(
            CLAIMS, claim | {"metadata": metadata, "spec": claim["spec"] | {"volumeName": volume}}
        )
        status = {"phase": "Bound", "capacity": capacity, "accessModes": _modes(claim)}
        self._registry.update_status(CLAIMS, bound | {"status": status})

    def _ensure_volume(self, claim: Obj, name: str, capacity: Obj) -> None:
        spec = {
            "capacity": capacity,
            "accessModes": _modes(claim),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": claim["spec"].get("storageClassName") or "",
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace_of(claim),
                "name": name_of(claim),
                "uid": uid_of(claim),
            },
            "local": {"path": f"/volumes/{name}"},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}
        try:
            created = self._registry.create(VOLUMES, volume)
            self._registry.update_status(VOLUMES, created | {"status": {"phase": "Bound"}})
        except ApiStatus as error:
            if error.reason != "AlreadyExists":
                raise

    def _release(self, claim: Obj) -> None:
        finalizers = claim["metadata"].get("finalizers") or []
        if _PROTECTION not in finalizers or self._is_used(claim):
            return
        rest = [each for each in finalizers if each != _PROTECTION]
        self._registry.update(CLAIMS, claim | {"metadata": claim["metadata"] | {"finalizers": rest}})
        if claim["spec"].get("volumeName"):
            self._registry.delete(VOLUMES, "", claim["spec"]["volumeName"])

    def _is_used(self, claim: Obj) -> bool:
        pods, _ = self._registry.list(PODS, namespace_of(claim))
        return any(name_of(claim) in claim_names(pod) and not is_finished(pod) for pod in pods)


def _modes(claim: Obj) -> list[str]:
    return list(claim["spec"].get("accessModes") or ["ReadWriteOnce"])
