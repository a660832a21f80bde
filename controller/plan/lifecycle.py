"""Beginnings and ends: deletion, the finalizer, old Jobs, a schedule that was taken away.

Guarantee: deleting a backup stops what runs for it and takes back rights in other namespaces, and
touches neither the repository nor the claim. Nothing is deleted that was not seen, by its uid.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from controller.api.backup import FINALIZER, BackupSpec
from controller.api.objects import Object
from controller.kube.resource import Resource
from controller.plan import kinds
from controller.plan.changes import Delete, SetFinalizer
from controller.plan.draft import JOB_CREATED, LOOK_AGAIN_SECONDS, Draft, Stop
from controller.plan.history import is_recorded
from controller.plan.objects import suspend
from controller.plan.observed import Invalid, Observed, Seen, Unknown
from controller.plan.runs import read_runs

KEPT_JOBS = 3
"""Finished Jobs that somebody asked for; their logs stay readable. The CronJob keeps its own."""


def deletion(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """A backup that is being deleted: stop its Jobs, take back its rights, let it go."""
    backup = observed.backup
    if not backup.is_deleting:
        return draft
    why = "the backup is being deleted"
    draft = replace(draft, gone=True)
    running: Seen[tuple[Object, ...]] = (
        observed.runs
        if isinstance(observed.runs, Unknown)
        else tuple(seen.job for seen in observed.runs if seen.job.final_condition() is None)
    )
    cron: Seen[tuple[Object, ...]] = (
        observed.cron_job
        if isinstance(observed.cron_job, Unknown)
        else tuple(item for item in (observed.cron_job,) if item is not None)
    )
    remains = False
    for resource, seen in (
        (observed.settings.cron_jobs, cron),
        (kinds.JOBS, running),
        (kinds.ROLE_BINDINGS, observed.role_bindings),
        (kinds.ROLES, observed.roles),
    ):
        remains = remains or isinstance(seen, Unknown) or bool(seen)
        draft = draft.doing(*_deletes(resource, seen, why))
    if FINALIZER in backup.finalizers and not remains:
        draft = draft.doing(SetFinalizer(False, "everything outside of its namespace is gone"))
    return draft.stopped(Stop("Deleting", why), again=LOOK_AGAIN_SECONDS if remains else None)


def _deletes(resource: Resource, seen: Seen[tuple[Object, ...]], why: str) -> tuple[Delete, ...]:
    if isinstance(seen, Unknown):
        return ()
    return tuple(
        Delete(resource, item.namespace, item.name, item.uid, why)
        for item in sorted(seen, key=lambda item: (item.namespace, item.name))
        if not item.is_deleting
    )


def finalizer(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """Only rights in another namespace need one: no owner reference reaches across."""
    backup = observed.backup
    is_remote = observed.target_namespace != backup.namespace
    if is_remote and FINALIZER not in backup.finalizers:
        why = "rights in another namespace are to be taken back when this backup is deleted"
        # Wait for it to come back before anything is made that only it cleans up.
        return draft.doing(SetFinalizer(True, why)).stopped(
            Stop("AddingFinalizer", f"preparing: {why}"), again=LOOK_AGAIN_SECONDS
        )
    return draft


def spare_finalizer(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """The target has moved into our namespace, and nothing is left where it was."""
    backup = observed.backup
    if FINALIZER not in backup.finalizers or isinstance(observed.spec, Invalid):
        return draft
    if observed.target_namespace != backup.namespace or _has_remote_rights(observed):
        return draft
    return draft.doing(SetFinalizer(False, "nothing is left in another namespace"))


def _has_remote_rights(observed: Observed) -> bool:
    parts = (_remote(observed, observed.roles), _remote(observed, observed.role_bindings))
    return any(isinstance(part, Unknown) or bool(part) for part in parts)


def withdraw_rights(observed: Observed, draft: Draft) -> Draft:
    """The target does not allow this backup, or not any more."""
    why = "the target does not allow this backup"
    return draft.doing(
        *_deletes(kinds.ROLE_BINDINGS, _remote(observed, observed.role_bindings), why),
        *_deletes(kinds.ROLES, _remote(observed, observed.roles), why),
    )


def _remote(observed: Observed, seen: Seen[tuple[Object, ...]]) -> Seen[tuple[Object, ...]]:
    here = observed.backup.namespace
    return seen if isinstance(seen, Unknown) else tuple(item for item in seen if item.namespace != here)


def runs(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """Read what became of the runs, before anything else is decided."""
    if isinstance(observed.runs, Unknown):
        return draft.blind(JOB_CREATED, observed.runs.reason)
    return replace(draft, runs=read_runs(observed.runs, observed.backup.uid))


def old_jobs(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """Keep the newest Jobs; a Job goes only after its story is safely in the stored history."""
    finished = [run for run in draft.runs if run.request is not None and not run.is_active]
    spare = [
        run
        for run in finished[KEPT_JOBS:]
        if (run.waits_for_user or is_recorded(observed.status.history, run)) and not run.job.is_deleting
    ]
    return draft.doing(
        *(
            Delete(
                kinds.JOBS,
                run.job.namespace,
                run.job.name,
                run.job.uid,
                f"only the newest {KEPT_JOBS} are kept",
            )
            for run in spare
        )
    )


def suspension(observed: Observed, draft: Draft, *, refused: bool) -> Draft:
    """Stop or retire the CronJob without waiting for anything, the target least of all."""
    seen = observed.cron_job
    if isinstance(seen, Unknown) or seen is None or seen.is_deleting:
        return draft
    resource, spec = observed.settings.cron_jobs, observed.spec
    if isinstance(spec, BackupSpec) and not spec.is_scheduled:
        if not any(run.is_active and run.scheduled for run in draft.runs):
            why = "the backup has no schedule any more"
            return draft.doing(Delete(resource, seen.namespace, seen.name, seen.uid, why))
        # Deleting it would stop the run that it started.
        wanted, why = True, "the backup has no schedule any more, and its last run is still going"
    elif isinstance(spec, Invalid) or refused:
        wanted, why = True, "the backup cannot be made as its spec is"
    else:
        wanted, why = spec.suspend, "spec.suspend says so"
    if seen.spec.suspend == wanted:
        return draft
    return draft.doing(suspend(resource, seen, suspended=wanted, why=why))
