"""What a backup needs beside its runs: identity, rights, a volume, a schedule.

Guarantee: an object is made when it is missing, applied when what we intend changed, and never touched
when it is somebody else's. The claim is created and then left alone for ever: it holds the backups.

Non-guarantee: what others change in our objects is put right only when our intention changes too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from controller.api.backup import BackupSpec, RetentionPolicy
from controller.api.cached import Neo4jBackup
from controller.api.conditions import Verdict
from controller.api.objects import Object, PersistentVolumeClaim
from controller.api.storage import PVCSpec
from controller.kube.resource import Resource
from controller.plan import kinds
from controller.plan.changes import Apply, Change, Create, Delete, Document, Patch
from controller.plan.draft import JOB_CREATED, STORAGE_READY, Draft
from controller.plan.observed import Observed, Settings, Unknown
from controller.plan.requests import Pending
from controller.plan.runs import ATTEMPT, DEPLOYMENT
from controller.plan.targets import Target
from controller.resources import cronjob, identity, job, labels, pvc, rbac
from controller.resources.hashing import content_hash, is_current, with_spec_hash
from controller.wire.messages import Retention, RunSpec, Server, StorageTarget


def rights(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """The rule for ServiceAccount, Role and RoleBinding."""
    assert draft.target is not None
    account, roles, bindings = observed.service_account, observed.roles, observed.role_bindings
    if isinstance(account, Unknown):
        return draft.blind(JOB_CREATED, account.reason)
    if isinstance(roles, Unknown):
        return draft.blind(JOB_CREATED, roles.reason)
    if isinstance(bindings, Unknown):
        return draft.blind(JOB_CREATED, bindings.reason)
    backup, where = observed.backup, draft.target.namespace
    cloud = observed.spec.effective_cloud if isinstance(observed.spec, BackupSpec) else None
    wanted_account = with_spec_hash(rbac.build_service_account(backup, identity.account_annotations(cloud)))
    wanted_role = with_spec_hash(rbac.build_role(backup, where, draft.target.pod_names))
    wanted_binding = with_spec_hash(rbac.build_role_binding(backup, where))
    return draft.doing(
        *_ensure(kinds.SERVICE_ACCOUNTS, wanted_account, (account,) if account else ()),
        *_ensure(kinds.ROLES, wanted_role, roles),
        *_ensure(kinds.ROLE_BINDINGS, wanted_binding, bindings),
        *_remove_others(kinds.ROLES, wanted_role, roles),
        *_remove_others(kinds.ROLE_BINDINGS, wanted_binding, bindings),
    )


def _place(document: Document) -> tuple[str, str]:
    return document["metadata"]["namespace"], document["metadata"]["name"]


def _ensure(resource: Resource, wanted: Document, seen: Sequence[Object]) -> tuple[Change, ...]:
    namespace, name = _place(wanted)
    existing = next((item for item in seen if (item.namespace, item.name) == (namespace, name)), None)
    if existing is None:
        # Not an apply: that would take over an object of that name which is not ours.
        return (Create(resource, wanted, f"{resource.kind} {name} is missing"),)
    if existing.is_deleting or is_current(existing, wanted):
        return ()
    return (Apply(resource, wanted, f"{resource.kind} {name} is to change"),)


def _remove_others(resource: Resource, wanted: Document, seen: Sequence[Object]) -> tuple[Change, ...]:
    """Rights on what is not the target any more."""
    return tuple(
        Delete(resource, item.namespace, item.name, item.uid, "the target is another one now")
        for item in sorted(seen, key=lambda item: (item.namespace, item.name))
        if (item.namespace, item.name) != _place(wanted) and not item.is_deleting
    )


# --- storage -------------------------------------------------------------------------------------


def storage(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """The rule for the claim; buckets are the runner's business."""
    spec = observed.spec
    if not isinstance(spec, BackupSpec) or spec.storage.pvc is None:
        return draft
    claim = observed.claim
    if isinstance(claim, Unknown):
        return draft.blind(STORAGE_READY, claim.reason)
    if claim is None:
        return _missing_claim(observed.backup, spec.storage.pvc, draft)
    verdict = claim_verdict(claim)
    return (
        draft if verdict.status != "False" else draft.waiting(STORAGE_READY, verdict.reason, verdict.message)
    )


def _missing_claim(backup: Neo4jBackup, wanted: PVCSpec, draft: Draft) -> Draft:
    name = pvc.claim_name(backup, wanted)
    document = pvc.build_claim(backup, wanted)
    if document is None:
        message = (
            f"waiting for PersistentVolumeClaim {name} in namespace {backup.namespace}; "
            "with spec.storage.pvc.size it would be made"
        )
        return draft.waiting(STORAGE_READY, "ClaimNotFound", message)
    why = f"PersistentVolumeClaim {name} is missing"
    draft = draft.judged(
        STORAGE_READY, "Unknown", "ClaimPending", f"PersistentVolumeClaim {name} is being made"
    )
    return draft.doing(Create(kinds.CLAIMS, document, why))


def claim_verdict(claim: PersistentVolumeClaim) -> Verdict:
    """Whether an existing claim can be written to, as far as Kubernetes tells."""
    label = f"PersistentVolumeClaim {claim.name}"
    if claim.is_deleting:
        return Verdict(STORAGE_READY, "False", "ClaimTerminating", f"{label} is being deleted")
    if claim.status.phase == "Lost":
        return Verdict(STORAGE_READY, "False", "ClaimLost", f"{label} has lost its volume")
    if claim.status.phase == "Bound":
        return Verdict(STORAGE_READY, "True", "ClaimBound", f"{label} is bound")
    message = f"{label} is not bound yet; some storage classes bind when the first pod uses it"
    return Verdict(STORAGE_READY, "Unknown", "ClaimPending", message)


# --- the runner ----------------------------------------------------------------------------------


def run_spec(backup: Neo4jBackup, spec: BackupSpec, target: Target, servers: Sequence[str]) -> RunSpec:
    """What the runner is told."""
    cloud, encryption = spec.effective_cloud, spec.effective_encryption
    return RunSpec(
        namespace=backup.namespace,
        backup=backup.name,
        backup_uid=backup.uid,
        generation=backup.generation,
        deployment=target.name,
        servers=tuple(_server(target, name) for name in servers),
        storage=StorageTarget(
            type=spec.storage.type,
            bucket=_container(backup, spec),
            path=spec.storage.path or "",
            region=cloud.region if cloud else "",
            endpoint=(cloud.endpoint or "") if cloud else "",
            path_style=cloud.force_path_style if cloud else None,
            checksum=(cloud.checksum_algorithm or "") if cloud else "",
        ),
        databases=target.databases,
        type=spec.options.backup_type,
        compress=spec.options.compress,
        page_cache=spec.options.page_cache or "",
        verify=spec.options.verifies,
        encryption=encryption.algorithm if encryption else "",
        retention=_retention(spec.retention),
        additional_args=spec.options.additional_args,
        max_chain_length=spec.options.max_chain_length,
    )


def _retention(policy: RetentionPolicy | None) -> Retention | None:
    age = policy.max_age_duration if policy else None
    if policy is None or (age is None and policy.max_count is None):
        return None
    return Retention(
        max_age_seconds=int(age.total_seconds()) if age else 0,
        max_count=policy.max_count or 0,
        archive=policy.delete_policy == "Archive",
        archive_storage_class=policy.archive_storage_class or "",
    )


def _container(backup: Neo4jBackup, spec: BackupSpec) -> str:
    return pvc.claim_name(backup, spec.storage.pvc) if spec.storage.pvc else spec.storage.bucket or ""


def _server(target: Target, pod: str) -> Server:
    role = target.roles.get(pod.rpartition("-")[0], "unknown")
    return Server(pod=pod, namespace=target.namespace, role_hint=role)


def runner_pod(backup: Neo4jBackup, spec: BackupSpec, target: Target, settings: Settings) -> job.RunnerPod:
    """What the runner's pod needs."""
    cloud, encryption = spec.effective_cloud, spec.effective_encryption
    same_namespace = target.namespace == backup.namespace
    secrets = {
        item.name
        for stateful_set in target.stateful_sets
        for item in stateful_set.spec.template.spec.image_pull_secrets or ()
        if same_namespace
    }
    return job.RunnerPod(
        image=settings.image,
        image_pull_policy=settings.image_pull_policy,
        image_pull_secrets=tuple(sorted(secrets)),
        claim=_container(backup, spec) if spec.storage.pvc else "",
        credentials_secret=(cloud.credentials_secret or "") if cloud else "",
        key_secret=(encryption.key_secret or "") if encryption else "",
        log_level=settings.log_level,
        labels=identity.pod_labels(cloud),
    )


def build_run_job(observed: Observed, spec: BackupSpec, draft: Draft, wanted: Pending, name: str) -> Document:
    """The Job of a run that somebody asked for."""
    assert draft.target is not None
    run = run_spec(observed.backup, spec, draft.target, draft.servers)
    annotations = {
        labels.RUN_NOW: wanted.request.run_now,
        ATTEMPT: str(wanted.attempt),
        DEPLOYMENT: draft.target.key,
    }
    pod = runner_pod(observed.backup, spec, draft.target, observed.settings)
    return job.build_job(observed.backup, name, run, pod, annotations)


def build_schedule(observed: Observed, spec: BackupSpec, target: Target) -> Document:
    """The CronJob. It names every pod, ready now or not: its runs are later."""
    settings = observed.settings
    schedule = cronjob.Schedule(
        expression=spec.schedule or "",
        suspend=spec.suspend,
        api_version=settings.cron_jobs.api_version,
        time_zone=settings.time_zone,
    )
    run = run_spec(observed.backup, spec, target, target.pod_names)
    pod = runner_pod(observed.backup, spec, target, settings)
    document = cronjob.build_cron_job(observed.backup, schedule, run, pod)
    template = document["spec"]["jobTemplate"]["metadata"]
    template["annotations"] = {DEPLOYMENT: target.key}
    annotations = document["metadata"]["annotations"]
    annotations[labels.SPEC_HASH] = content_hash([annotations[labels.SPEC_HASH], target.key])
    return document


def schedule(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """The rule for the CronJob of a scheduled backup."""
    spec, seen = observed.spec, observed.cron_job
    if not isinstance(spec, BackupSpec) or not spec.is_scheduled:
        return draft
    if isinstance(seen, Unknown):
        return draft.blind(JOB_CREATED, seen.reason)
    assert draft.target is not None
    wanted = build_schedule(observed, spec, draft.target)
    changes = _ensure(observed.settings.cron_jobs, wanted, (seen,) if seen else ())
    name = wanted["metadata"]["name"]
    message = f"CronJob {name} runs at {spec.schedule}" + (", but is suspended" if spec.suspend else "")
    return draft.doing(*changes).judged(JOB_CREATED, "True", "CronJobCreated", message)


def suspend(resource: Resource, seen: Object, *, suspended: bool, why: str) -> Patch:
    """Stop or resume the CronJob without touching what it runs, and only as it was seen: a late word of one
    who led before would undo the newest wish."""
    patch: Document = {"metadata": {"resourceVersion": seen.resource_version}, "spec": {"suspend": suspended}}
    return Patch(resource, seen.namespace, seen.name, patch, why)
