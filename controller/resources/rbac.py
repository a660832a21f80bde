"""ServiceAccount, Role and RoleBinding of one backup's runner.

Guarantee: the runner can exec into and read the logs of the pods that the Role names, and nothing
else; the operator holds exactly these rules itself, as Kubernetes' escalation check demands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.resources import names
from controller.resources.hashing import with_spec_hash
from controller.resources.ownership import metadata

RBAC_VERSION = "rbac.authorization.k8s.io/v1"


def build_service_account(
    backup: Neo4jBackup, annotations: Mapping[str, str] = MappingProxyType({})
) -> JsonObject:
    """The runner's identity, in the backup's namespace; ``annotations`` tie it to one of the cloud."""
    meta = metadata(backup, names.service_account(backup.name))
    if annotations:
        meta["annotations"] = dict(annotations)
    return with_spec_hash(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": meta,
            "automountServiceAccountToken": False,
        }
    )


def build_role(backup: Neo4jBackup, target_namespace: str, pods: Sequence[str]) -> JsonObject:
    """Exec and logs, of the target's pods only. ``get`` is what exec over WebSocket is checked as."""
    wanted = sorted(pods)
    return with_spec_hash(
        {
            "apiVersion": RBAC_VERSION,
            "kind": "Role",
            "metadata": _metadata(backup, target_namespace),
            "rules": [
                {
                    "apiGroups": [""],
                    "resources": ["pods/exec"],
                    "verbs": ["create", "get"],
                    "resourceNames": wanted,
                },
                {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": wanted},
            ],
        }
    )


def build_role_binding(backup: Neo4jBackup, target_namespace: str) -> JsonObject:
    """Gives the Role, in the target's namespace, to the ServiceAccount, in the backup's."""
    return with_spec_hash(
        {
            "apiVersion": RBAC_VERSION,
            "kind": "RoleBinding",
            "metadata": _metadata(backup, target_namespace),
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "Role",
                "name": names.role(backup.namespace, backup.name, target_namespace),
            },
            "subjects": [
                {
                    "kind": "ServiceAccount",
                    "name": names.service_account(backup.name),
                    "namespace": backup.namespace,
                }
            ],
        }
    )


def _metadata(backup: Neo4jBackup, target_namespace: str) -> JsonObject:
    name = names.role(backup.namespace, backup.name, target_namespace)
    return metadata(backup, name, target_namespace)
