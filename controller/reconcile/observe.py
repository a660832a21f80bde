"""From the caches, and a few questions to the API server, to one frozen :class:`Observed`.

Guarantee: what cannot be read becomes :class:`Unknown` with its reason, never "not there". Logs and
Events are asked for only where a run makes them interesting, and a failure to get them costs detail,
not the plan.

Non-guarantee: not one instant. What a dangerous change hangs on is read again by ``act``.
"""

from __future__ import annotations

from typing import TypeVar

from controller.api import cached, objects, targets
from controller.api.backup import ALLOW_FROM_ANNOTATION, BackupSpec, parse_spec
from controller.api.model import InvalidObject
from controller.api.status import BackupRun, parse_status
from controller.kube.client import Client
from controller.kube.errors import KubeError
from controller.kube.resource import EVENTS, PODS
from controller.plan.causes import Warned, is_started, terminated
from controller.plan.history import is_recorded
from controller.plan.observed import (
    Attempt,
    DeploymentSeen,
    Invalid,
    Observed,
    RunSeen,
    Seen,
    Settings,
    Unknown,
)
from controller.plan.runs import DEPLOYMENT, progress_in, read_run
from controller.reconcile.caches import BACKUP_UID, CONTROLLER_UID, Caches, Collection
from controller.reconcile.indexes import claim_of, target_namespace_of
from controller.resources import names
from controller.wire.locations import RUNNER_CONTAINER

T = TypeVar("T", bound=objects.Object)

LOG_LINES = 40
LOG_BYTES = 65536


async def observe(backup: cached.Neo4jBackup, caches: Caches, client: Client, settings: Settings) -> Observed:
    """What is known about ``backup`` now."""
    where, here = target_namespace_of(backup), backup.namespace
    status = parse_status(backup.status)
    return Observed(
        backup=backup,
        spec=_spec(backup),
        status=status,
        settings=settings,
        deployments=_deployments(caches, where),
        databases=_map_databases(_listed(caches, caches.databases, where)),
        stateful_sets=_listed(caches, caches.stateful_sets, where),
        pods=_server_pods(caches, where),
        runs=await _runs(backup, status.history, caches, client),
        neighbours=_neighbours(caches, backup, where),
        cron_job=_one(caches.cron_jobs, here, names.cron_job(backup.name), backup.uid),
        service_account=_one(caches.service_accounts, here, names.service_account(backup.name), backup.uid),
        roles=_owned(caches.roles, backup.uid),
        role_bindings=_owned(caches.role_bindings, backup.uid),
        claim=_claim(caches, backup),
    )


def _spec(backup: cached.Neo4jBackup) -> BackupSpec | Invalid:
    try:
        return parse_spec(backup.spec)
    except InvalidObject as error:
        return Invalid(error.problems)


# --- the target's namespace ----------------------------------------------------------------------


def _listed(caches: Caches, collection: Collection[T], namespace: str) -> Seen[tuple[T, ...]]:
    if not caches.watches(namespace):
        return Unknown(f"this operator does not watch namespace {namespace}: add it to WATCH_NAMESPACES")
    if not collection.has_synced:
        return Unknown(f"{collection.plural} were not read yet")
    return tuple(collection.within(namespace))


def _deployments(caches: Caches, namespace: str) -> Seen[tuple[DeploymentSeen, ...]]:
    clusters = _listed(caches, caches.clusters, namespace)
    standalones = _listed(caches, caches.standalones, namespace)
    if isinstance(clusters, Unknown):
        return clusters
    if isinstance(standalones, Unknown):
        return standalones
    return (
        *(DeploymentSeen(targets.read_cluster(item), _consent(item)) for item in clusters),
        *(DeploymentSeen(targets.read_standalone(item), _consent(item)) for item in standalones),
    )


def _consent(item: objects.Object) -> str:
    return item.annotations.get(ALLOW_FROM_ANNOTATION, "")


def _map_databases(
    seen: Seen[tuple[targets.Neo4jDatabase, ...]],
) -> Seen[tuple[targets.Database, ...]]:
    return seen if isinstance(seen, Unknown) else tuple(targets.read_database(item) for item in seen)


def _server_pods(caches: Caches, namespace: str) -> Seen[tuple[objects.Pod, ...]]:
    pods = _listed(caches, caches.pods, namespace)
    if isinstance(pods, Unknown):
        return pods
    return tuple(pod for pod in pods if pod.controller and pod.controller.kind == "StatefulSet")


def _neighbours(caches: Caches, backup: cached.Neo4jBackup, namespace: str) -> Seen[tuple[objects.Job, ...]]:
    if not caches.jobs.has_synced:
        return Unknown("jobs were not read yet")
    own = {job.uid for job in caches.jobs.by_index(BACKUP_UID, backup.uid)}
    return tuple(
        job
        for job in caches.jobs.all()
        if job.final_condition() is None
        and job.annotations.get(DEPLOYMENT, "").partition("/")[0] == namespace
        and job.uid not in own
    )


# --- what we made --------------------------------------------------------------------------------


def _one(collection: Collection[T], namespace: str, name: str, backup_uid: str) -> Seen[T | None]:
    owned = _owned(collection, backup_uid)
    if isinstance(owned, Unknown):
        return owned
    return next((item for item in owned if (item.namespace, item.name) == (namespace, name)), None)


def _owned(collection: Collection[T], backup_uid: str) -> Seen[tuple[T, ...]]:
    if not collection.has_synced:
        return Unknown(f"{collection.plural} were not read yet")
    return tuple(collection.by_index(BACKUP_UID, backup_uid))


def _claim(caches: Caches, backup: cached.Neo4jBackup) -> Seen[objects.PersistentVolumeClaim | None]:
    name = claim_of(backup)
    if not caches.claims.has_synced:
        return Unknown("persistentvolumeclaims were not read yet")
    return caches.claims.get(backup.namespace, name) if name else None


# --- runs ----------------------------------------------------------------------------------------


async def _runs(
    backup: cached.Neo4jBackup, history: tuple[BackupRun, ...], caches: Caches, client: Client
) -> Seen[tuple[RunSeen, ...]]:
    jobs = _owned(caches.jobs, backup.uid)
    if isinstance(jobs, Unknown):
        return jobs
    if not caches.pods.has_synced:
        return Unknown("pods were not read yet")
    seen: list[RunSeen] = []
    for job in jobs:
        settled = is_recorded(history, read_run(RunSeen(job), backup.uid))
        pods = caches.pods.by_index(CONTROLLER_UID, job.uid)
        seen.append(await _run(client, job, pods, curious=not settled))
    return tuple(seen)


async def _run(client: Client, job: objects.Job, pods: list[objects.Pod], *, curious: bool) -> RunSeen:
    if not curious:
        return RunSeen(job, tuple(Attempt(pod) for pod in pods))
    if job.final_condition() is not None:
        return await _settling(client, job)
    attempts = [await _attempt(client, pod) for pod in pods]
    events = () if pods else await _events(client, job.namespace, job.uid)
    return RunSeen(job, tuple(attempts), events)


async def _settling(client: Client, job: objects.Job) -> RunSeen:
    """The verdict on a run is written once, so its pods are read past the cache, which may be behind."""
    selector = f"controller-uid={job.uid}"
    try:
        pods = await client.list(PODS, job.namespace, label_selector=selector, as_=objects.Pod)
    except KubeError as error:
        return RunSeen(job, Unknown(f"the pods of Job {job.name} could not be read: {error}"))
    return RunSeen(job, tuple(Attempt(pod) for pod in pods))


async def _attempt(client: Client, pod: objects.Pod) -> Attempt:
    if not is_started(pod):
        return Attempt(pod, events=await _events(client, pod.namespace, pod.uid))
    if terminated(pod):
        return Attempt(pod)
    try:
        log = await client.read_log(
            pod.namespace, pod.name, container=RUNNER_CONTAINER, tail_lines=LOG_LINES, limit_bytes=LOG_BYTES
        )
    except KubeError:
        # The kubelet may be busy or the pod just gone: the last known progress stays.
        return Attempt(pod)
    return Attempt(pod, progress=progress_in(log))


async def _events(client: Client, namespace: str, uid: str) -> Seen[tuple[Warned, ...]]:
    selector = f"involvedObject.uid={uid},type=Warning"
    try:
        return tuple(await client.list(EVENTS, namespace, field_selector=selector, as_=Warned))
    except KubeError as error:
        return Unknown(f"Events of {uid} could not be read: {error}")
