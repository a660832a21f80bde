"""The PersistentVolumeClaim of ``storage.type: pvc``.

Guarantee: no owner reference, ever: ``kubectl delete neo4jbackup`` must not delete the backups.
"""

from __future__ import annotations

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.api.storage import PVCSpec
from controller.resources import labels, names


def claim_name(backup: Neo4jBackup, pvc: PVCSpec) -> str:
    """The claim that the runner mounts: the user's name for it, or ours."""
    return pvc.name or names.claim(backup.name)


def build_claim(backup: Neo4jBackup, pvc: PVCSpec) -> JsonObject | None:
    """The claim to create when it is missing; None when the user must create it (no size given)."""
    if pvc.size is None:
        return None
    spec: JsonObject = {
        "accessModes": list(pvc.access_modes),
        "resources": {"requests": {"storage": pvc.size}},
    }
    if pvc.storage_class is not None:
        spec["storageClassName"] = pvc.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": claim_name(backup, pvc),
            "namespace": backup.namespace,
            "labels": labels.for_backup(backup),
        },
        "spec": spec,
    }
