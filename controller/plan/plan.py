"""The plan for one backup: an ordered tuple of named rules over what was seen.

Guarantee: ``plan(observed, now)`` is pure and total; the same sight gives the same plan whatever the
order of what was seen. Changes are in the order in which they must be carried out, and carrying out any
beginning of them is safe. Applying a plan and looking again leads to a plan without changes.

Non-guarantee: the plan may be made from a stale sight; uids, creates and deterministic names make that
harmless, not impossible.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from controller.api.backup import BackupSpec
from controller.api.cached import RUN_NOW_ANNOTATION
from controller.api.status import BackupStatus, Phase
from controller.plan import capabilities, kinds, lifecycle, objects, sidecar, status
from controller.plan.changes import Change, Create, EmitEvent
from controller.plan.draft import (
    FOLLOW_SECONDS,
    JOB_CREATED,
    LOOK_AGAIN_SECONDS,
    TARGET_READY,
    Draft,
    Rule,
    Stop,
)
from controller.plan.observed import Invalid, Observed, Unknown
from controller.plan.requests import job_name, pending
from controller.plan.targets import Missing, refusal, resolve
from controller.plan.text import listed, one_line

_MARGIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do, what to say, and when to look again at the latest."""

    changes: tuple[Change, ...]
    status: BackupStatus | None
    """None when there is no status to write: the backup is being deleted."""
    announcements: tuple[EmitEvent, ...]
    """To be made once the status is written, so that what is not yet stored is not said twice."""
    requeue_after: float | None
    rule: str
    """The rule that had the last word, for the log."""
    reason: str


def _spec(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """A spec that cannot be carried out makes nothing, and stops what an older one had set up."""
    spec = observed.spec
    if isinstance(spec, Invalid):
        stop = Stop("InvalidSpec", one_line("; ".join(spec.problems)), Phase.FAILED)
        return lifecycle.suspension(observed, draft, refused=True).stopped(stop)
    gaps = capabilities.refusals(spec)
    draft = lifecycle.suspension(observed, draft, refused=bool(gaps))
    if not gaps:
        return draft
    return draft.stopped(Stop(gaps[0].reason, "; ".join(gap.message for gap in gaps), Phase.FAILED))


def _denied(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """What the server refused a moment ago is not tried again at once."""
    if observed.denied is None:
        return draft
    draft = draft.waiting(JOB_CREATED, observed.denied.reason, observed.denied.message)
    return draft.again(LOOK_AGAIN_SECONDS)


def _need(observed: Observed, now: datetime, draft: Draft) -> Draft:
    """A one-shot that had its run needs nothing; its target is left alone from then on."""
    spec = observed.spec
    assert isinstance(spec, BackupSpec)
    if draft.active is not None and not spec.is_scheduled:
        return draft.finished()
    wanted = pending(observed, spec, draft.runs)
    if wanted is None:
        return draft if spec.is_scheduled else draft.finished()
    if wanted.not_before is None or wanted.not_before <= now or spec.is_scheduled:
        return draft
    message = f"{wanted.why}; trying again at {wanted.not_before:%H:%M:%S} UTC"
    stop = Stop("WaitingForStorage", message, Phase.PENDING)
    return draft.stopped(stop, again=(wanted.not_before - now).total_seconds() + _MARGIN_SECONDS)


def _target(observed: Observed, _now: datetime, draft: Draft) -> Draft:
    """Find the target, and ask for its consent when it lives in another namespace."""
    spec = observed.spec
    assert isinstance(spec, BackupSpec)
    found = resolve(observed, spec.target)
    if isinstance(found, Unknown):
        return draft.blind(TARGET_READY, found.reason)
    if isinstance(found, Missing):
        return draft.waiting(TARGET_READY, found.reason, found.message)
    refused = refusal(found, observed.backup.namespace)
    if refused:
        return lifecycle.withdraw_rights(observed, draft).waiting(TARGET_READY, "NotAllowed", refused)
    names = listed([item.name for item in found.stateful_sets])
    message = f"{found.kind} {found.name} with StatefulSets {names}"
    return replace(draft, target=found).judged(TARGET_READY, "True", "TargetFound", message)


def _run(observed: Observed, now: datetime, draft: Draft) -> Draft:
    """Make the Job that somebody asked for."""
    spec = observed.spec
    assert isinstance(spec, BackupSpec)
    wanted = pending(observed, spec, draft.runs)
    if wanted is None:
        return draft
    if draft.active is not None:
        note = f"the run that was asked for starts when Job {draft.active.job.name} is done"
        return replace(draft, notes=(*draft.notes, note))
    if wanted.not_before is not None and wanted.not_before > now:
        return draft.again((wanted.not_before - now).total_seconds() + _MARGIN_SECONDS)
    name = job_name(observed.backup.name, wanted, draft.runs)
    message = f"Job {name} is made for generation {wanted.request.generation}"
    if wanted.request.run_now:
        message += f" and {RUN_NOW_ANNOTATION} {wanted.request.run_now}"
    document = objects.build_run_job(observed, spec, draft, wanted, name)
    draft = draft.doing(Create(kinds.JOBS, document, message)).judged(
        JOB_CREATED, "True", "JobCreated", message
    )
    return draft.stopped(Stop("Starting", message, Phase.PENDING), again=FOLLOW_SECONDS)


RULES = (
    Rule("deletion", lifecycle.deletion),
    Rule("runs", lifecycle.runs),
    Rule("old-jobs", lifecycle.old_jobs),
    Rule("spare-finalizer", lifecycle.spare_finalizer),
    Rule("spec", _spec),
    Rule("denied", _denied),
    Rule("need", _need),
    Rule("target", _target),
    Rule("finalizer", lifecycle.finalizer),
    Rule("sidecar", sidecar.roll_out),
    Rule("rights", objects.rights),
    Rule("storage", objects.storage),
    Rule("schedule", objects.schedule),
    Rule("run", _run),
)


def plan(observed: Observed, now: datetime) -> Plan:
    """What to do about one backup."""
    draft, last = Draft(), ""
    for rule in RULES:
        draft, last = rule.apply(observed, now, draft), rule.name
        if draft.is_done:
            break
    if draft.gone:
        return Plan(
            draft.changes, None, (), draft.requeue_after, last, draft.stop.message if draft.stop else ""
        )
    after = status.conclude(observed, now, draft)
    announced = status.events(observed.status, after)
    return Plan(draft.changes, after, announced, _requeue(draft, after, now), last, after.message or "")


def _requeue(draft: Draft, after: BackupStatus, now: datetime) -> float | None:
    if draft.active is not None:
        draft = draft.again(FOLLOW_SECONDS)
    if after.next_run_time is not None:
        draft = draft.again((after.next_run_time - now).total_seconds() + _MARGIN_SECONDS)
    return draft.requeue_after
