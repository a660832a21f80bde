"""Names, paths and environment variables that the operator, the runner and the agent agree on.

``CONTAINER_ROOT`` is how the embedded control plane runs containers where the kernel refuses mount
namespaces: every fixed absolute path below is then looked up under that directory. In a real
container it is unset and the paths are what they say.
"""

from __future__ import annotations

import os
from pathlib import Path

SIDECAR_CONTAINER = "backup-sidecar"
NEO4J_CONTAINER = "neo4j"
RUNNER_CONTAINER = "backup"
AGENT_INIT_CONTAINER = "backup-agent-install"

AGENT_BUNDLE = "/opt/neo4j-backup-agent"
"""Where the sidecar finds the agent (emptyDir, filled by the init container)."""
AGENT_BUNDLE_SOURCE = "/opt/agent-bundle"
"""Where the operator's image carries the bundle."""
REQUESTS_DIR = "/backup-requests"
DATA_DIR = "/data"
BACKUPS_DIR = "/data/backups"
REPOSITORY_DIR = "/backup"
"""Where the runner's pod mounts the PVC of ``storage.type: pvc``."""
STORAGE_CREDENTIALS_DIR = "/etc/neo4j-backup/storage-credentials"
"""Where the runner's pod mounts ``credentialsSecret``: one file a key."""
ENCRYPTION_KEYS_DIR = "/etc/neo4j-backup/encryption-keys"
"""Where the runner's pod mounts ``encryption.keySecret``: one file a key."""
SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"
TERMINATION_LOG = "/dev/termination-log"

ENV_RUN_SPEC = "BACKUP_RUN"
ENV_RUN_ID = "BACKUP_RUN_ID"
"""The Job's uid, from the pod label ``controller-uid`` by the downward API: a retried pod of one Job
is the same run and picks up the same dump."""
ENV_POD_IP = "POD_IP"
ENV_ROOT = "CONTAINER_ROOT"


def agent_command(*verb: str) -> list[str]:
    """The argv that starts the agent in a sidecar, whatever libc the image has.

    The bundle's own loader is named explicitly because Neo4j's images span Debian 11 to 13 and UBI;
    its children (neo4j-admin) still use the image's libc, since nothing is passed by environment.
    """
    return [
        f"{AGENT_BUNDLE}/lib/ld.so",
        "--library-path",
        f"{AGENT_BUNDLE}/lib",
        f"{AGENT_BUNDLE}/bin/python3",
        "-I",
        "-m",
        "controller",
        "agent",
        *verb,
    ]


def located(path: str) -> Path:
    """``path`` as this process can open it: under ``CONTAINER_ROOT`` when that is set."""
    root = os.environ.get(ENV_ROOT, "")
    return Path(root + path) if root else Path(path)
