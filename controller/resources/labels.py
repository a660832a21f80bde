"""Labels and annotations of everything the operator makes.

Guarantee: every value fits the 63 characters that Kubernetes allows; the two labels that the cluster
operator's NetworkPolicy asks of backup pods are on every pod; what belongs to one backup is found by
``selector`` even where an owner reference cannot be (another namespace) or must not be (the claim).
"""

from __future__ import annotations

from collections.abc import Mapping

from controller.api.cached import Neo4jBackup
from controller.resources.names import fit

MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
MANAGER = "neo4j-operator"
"""Fixed: another operator's NetworkPolicy lets in 6362 only what wears this."""

BACKUP = "backup.neo4j.com/backup"
BACKUP_NAMESPACE = "backup.neo4j.com/backup-namespace"
BACKUP_UID = "backup.neo4j.com/backup-uid"
GENERATION = "backup.neo4j.com/generation"
TRIGGER = "backup.neo4j.com/trigger"

SPEC_HASH = "backup.neo4j.com/spec-hash"
"""Annotation: hash of what we applied last, compared with what we would apply now."""
SIDECAR_HASH = "backup.neo4j.com/sidecar-hash"
"""Annotation of a pod template, and so of its pods: which sidecar they have."""
RUN_NOW = "backup.neo4j.com/run-now"
"""Annotation of a Job: the value of run-now that asked for it."""

SELECTOR_ALL = f"{MANAGED_BY}={MANAGER},{BACKUP_UID}"
"""Everything that any backup made."""


def for_backup(backup: Neo4jBackup, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The labels of an object that belongs to ``backup``."""
    return {
        "app.kubernetes.io/name": "neo4j-backup",
        "app.kubernetes.io/instance": fit(backup.name),
        MANAGED_BY: MANAGER,
        COMPONENT: "backup",
        BACKUP: fit(backup.name),
        BACKUP_NAMESPACE: backup.namespace,
        BACKUP_UID: backup.uid,
        **(extra or {}),
    }


def selector(backup_uid: str) -> str:
    """What belongs to one backup."""
    return f"{BACKUP_UID}={backup_uid}"
