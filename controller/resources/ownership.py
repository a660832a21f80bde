"""Who owns what.

Guarantee: an object gets an owner reference only inside the backup's own namespace (Kubernetes deletes
what refers to an owner of another one), and an object that somebody else controls is never taken over.

Non-guarantee: what may not be owned (a PersistentVolumeClaim: deleting the backup must keep the data)
or cannot be (other namespaces) is found by its labels, and cleaned up by the finalizer.
"""

from __future__ import annotations

from controller.api import backup as api
from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.api.objects import Object
from controller.resources import labels


def owner_reference(backup: Neo4jBackup) -> JsonObject:
    """The reference that makes the garbage collector delete the object after the backup."""
    return {
        "apiVersion": api.API_VERSION,
        "kind": api.KIND,
        "name": backup.name,
        "uid": backup.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def metadata(backup: Neo4jBackup, name: str, namespace: str = "") -> JsonObject:
    """Metadata of an object that ``backup`` makes, owned where that is possible."""
    where = namespace or backup.namespace
    result: JsonObject = {"name": name, "namespace": where, "labels": labels.for_backup(backup)}
    if where == backup.namespace:
        result["ownerReferences"] = [owner_reference(backup)]
    return result


def refusal(existing: Object, backup: Neo4jBackup) -> str:
    """Why ``existing`` may not be used as the backup's own; empty when it may."""
    controller = existing.controller
    if controller is not None:
        if controller.uid == backup.uid:
            return ""
        return f"{existing.name} already belongs to {controller.kind} {controller.name}; rename the backup"
    if existing.labels.get(labels.BACKUP_UID) == backup.uid:
        return ""
    return f"{existing.name} already exists and was not made for this backup; rename the backup or delete it"
