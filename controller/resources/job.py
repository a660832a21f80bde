"""The Job of one backup run, and the template that the CronJob shares with it.

Guarantee: the pod fits the *restricted* Pod Security profile, mounts nothing but what the run needs,
and holds the run's specification in one environment variable without secrets. A Job ends only by its
own outcome: there is no deadline and no time-to-live, because history is read from it.

Non-guarantee: nothing here names what the runner does; ``wire.RunSpec`` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.resources import labels, names
from controller.resources.ownership import metadata
from controller.wire import locations
from controller.wire.messages import RunSpec, encode

NEO4J_UID = 7474
BACKOFF_LIMIT = 2
"""A pod that is evicted or loses its node gets two more; they join the dump that is going on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerPod:
    """What the runner's pod needs beside the run itself."""

    image: str
    """The operator's own image."""
    image_pull_policy: str = "IfNotPresent"
    image_pull_secrets: tuple[str, ...] = ()
    claim: str = ""
    """PersistentVolumeClaim of the repository; empty for cloud storage."""
    credentials_secret: str = ""
    key_secret: str = ""
    """With the keys of encryption; empty when nothing is encrypted."""
    log_level: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    """More labels of the pod, which a cloud's webhook looks for."""


def build_job(
    backup: Neo4jBackup, name: str, run: RunSpec, pod: RunnerPod, annotations: Mapping[str, str] | None = None
) -> JsonObject:
    """The Job ``name`` that does ``run``."""
    meta = metadata(backup, name)
    meta["labels"] |= {labels.GENERATION: str(run.generation)}
    if annotations:
        meta["annotations"] = dict(annotations)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": build_job_spec(backup, run, pod),
    }


def build_job_spec(backup: Neo4jBackup, run: RunSpec, pod: RunnerPod) -> JsonObject:
    """What a Job and the template of a CronJob have in common."""
    return {
        "backoffLimit": BACKOFF_LIMIT,
        "template": {
            "metadata": {
                "labels": labels.for_backup(backup, {labels.GENERATION: str(run.generation), **pod.labels}),
                "annotations": {"kubectl.kubernetes.io/default-container": locations.RUNNER_CONTAINER},
            },
            "spec": _pod_spec(backup, run, pod),
        },
    }


def restricted_container() -> JsonObject:
    """What the restricted profile asks of a container, and a read-only root file system."""
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def restricted_pod() -> JsonObject:
    """What the restricted profile asks of a pod, as Neo4j's own user: the volume's files stay readable
    for a restore by hand."""
    return {
        "runAsNonRoot": True,
        "runAsUser": NEO4J_UID,
        "runAsGroup": NEO4J_UID,
        "fsGroup": NEO4J_UID,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _pod_spec(backup: Neo4jBackup, run: RunSpec, pod: RunnerPod) -> JsonObject:
    spec: JsonObject = {
        "serviceAccountName": names.service_account(backup.name),
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": restricted_pod(),
        "containers": [_container(run, pod)],
        "volumes": _volumes(pod),
    }
    if pod.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in pod.image_pull_secrets]
    return spec


def _container(run: RunSpec, pod: RunnerPod) -> JsonObject:
    return {
        "name": locations.RUNNER_CONTAINER,
        "image": pod.image,
        "imagePullPolicy": pod.image_pull_policy,
        "args": ["runner"],
        "env": _environment(run, pod),
        "resources": {
            "requests": {"cpu": "100m", "memory": "128Mi"},
            "limits": {"cpu": "2", "memory": "512Mi"},
        },
        "securityContext": restricted_container(),
        "terminationMessagePath": locations.TERMINATION_LOG,
        "terminationMessagePolicy": "File",
        "volumeMounts": _mounts(pod),
    }


def _environment(run: RunSpec, pod: RunnerPod) -> list[JsonObject]:
    run_id: JsonObject = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.labels['controller-uid']"}}
    env: list[JsonObject] = [
        {"name": locations.ENV_RUN_SPEC, "value": encode(run).decode()},
        {"name": locations.ENV_RUN_ID, "valueFrom": run_id},
        {"name": "HOME", "value": "/tmp"},  # noqa: S108 - the pod's own emptyDir
        {"name": "TZ", "value": "UTC"},
    ]
    if pod.log_level:
        env.append({"name": "LOG_LEVEL", "value": pod.log_level})
    return env


def _mounts(pod: RunnerPod) -> list[JsonObject]:
    mounts: list[JsonObject] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - the pod's own emptyDir
    if pod.claim:
        mounts.append({"name": "repository", "mountPath": locations.REPOSITORY_DIR})
    if pod.credentials_secret:
        path = locations.STORAGE_CREDENTIALS_DIR
        mounts.append({"name": "storage-credentials", "mountPath": path, "readOnly": True})
    if pod.key_secret:
        path = locations.ENCRYPTION_KEYS_DIR
        mounts.append({"name": "encryption-keys", "mountPath": path, "readOnly": True})
    return mounts


def _volumes(pod: RunnerPod) -> list[JsonObject]:
    volumes: list[JsonObject] = [{"name": "tmp", "emptyDir": {}}]
    if pod.claim:
        volumes.append({"name": "repository", "persistentVolumeClaim": {"claimName": pod.claim}})
    if pod.credentials_secret:
        secret = {"secretName": pod.credentials_secret, "defaultMode": 0o440}
        volumes.append({"name": "storage-credentials", "secret": secret})
    if pod.key_secret:
        secret = {"secretName": pod.key_secret, "defaultMode": 0o440}
        volumes.append({"name": "encryption-keys", "secret": secret})
    return volumes
