"""Names of everything the operator makes.

Guarantee: total (every valid backup name gives a valid name), deterministic (a stale cache then costs
one AlreadyExists and never a duplicate), within the limits (63 characters, 52 for CronJobs, whose
controller appends eleven), and different for different backups: what would be cut gets a hash.
"""

from __future__ import annotations

import hashlib
import re

LIMIT = 63
CRON_JOB_LIMIT = 52
_HASH_LENGTH = 8


def short_hash(*parts: str) -> str:
    """Eight hex digits of all parts; the separator cannot occur in a name."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_HASH_LENGTH]


def fit(name: str, suffix: str = "", limit: int = LIMIT) -> str:
    """``name`` + ``suffix`` when that is a DNS label of at most ``limit``, else cut and hashed.

    A resource name may have dots, a pod's hostname and a label ``job-name`` want none, so they count
    as something to be replaced.
    """
    label = re.sub(r"[^a-z0-9-]", "-", name.lower())
    if label == name and len(name) + len(suffix) <= limit:
        return name + suffix
    room = limit - len(suffix) - _HASH_LENGTH - 1
    return f"{label[:room].rstrip('-')}-{short_hash(name)}{suffix}"


def job(backup: str) -> str:
    """``<name>-backup``: the Job of a one-shot."""
    return fit(backup, "-backup")


def rerun_job(backup: str, key: str) -> str:
    """The Job of one more run; ``key`` is what asked for it (generation, value of run-now)."""
    return fit(backup, f"-backup-{short_hash(backup, key)}")


def cron_job(backup: str) -> str:
    """``<name>-backup-cron``, short enough for the CronJob controller's own suffix."""
    return fit(backup, "-backup-cron", CRON_JOB_LIMIT)


def service_account(backup: str) -> str:
    """Identity of the runner's pods, in the backup's namespace."""
    return fit(backup, "-backup")


def role(namespace: str, backup: str, target_namespace: str) -> str:
    """Role and RoleBinding, in the target's namespace; two namespaces may both have that backup name."""
    if namespace == target_namespace:
        return fit(backup, "-backup")
    return fit(backup, f"-backup-{short_hash(namespace, backup)}")


def claim(backup: str) -> str:
    """The PersistentVolumeClaim when the user gave a size and no name."""
    return fit(backup, "-backup")
