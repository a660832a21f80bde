"""From what the rules found to ``status``: phase, conditions, numbers, one line.

Guarantee: a pure function of the draft, the stored status and the time; planning again from the status
that it made gives the same status. Whatever was not looked at keeps its last verdict. ``Ready`` is
derived here and nowhere else, and is Unknown only while we cannot look.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from msgspec.structs import replace

from controller.api.backup import BackupSpec
from controller.api.conditions import ConditionSet, Verdict
from controller.api.status import BackupProgress, BackupRun, BackupStatus, Phase
from controller.plan import capabilities, history
from controller.plan.changes import EmitEvent
from controller.plan.draft import (
    JOB_CREATED,
    READY,
    SPEC_ENFORCED,
    STORAGE_READY,
    VERIFIED,
    Draft,
)
from controller.plan.objects import claim_verdict
from controller.plan.observed import Observed, Unknown
from controller.plan.requests import newest_answer
from controller.plan.runs import MOUNT_REASONS, STORAGE_REASONS, Run
from controller.plan.schedule import next_run
from controller.plan.text import duration, listed, one_line, size
from controller.wire.messages import Progress

_LEVELS = {
    "StoredObjects": "every artifact was read back from the storage and is whole",
    "Chain": "every artifact was read back and is whole, and Neo4j reads its chain",
    "Consistency": "every artifact was read back and is whole, and Neo4j found its content consistent",
}
_PASSING = frozenset({"PodPending", "PodNotCreated", "PodStarting", "RollingOut", "Starting", "CouldNotLook"})
"""Reasons that come and go on the way to something: conditions show them, Events would only be noise."""


def conclude(observed: Observed, now: datetime, draft: Draft) -> BackupStatus:
    """The status after this round."""
    before = observed.status
    looked = not isinstance(observed.runs, Unknown)
    runs = history.merged(before.history, draft.runs, now) if looked else before.history
    phase = _phase(observed, draft, runs)
    ready = _ready(observed, draft, phase, runs)
    successes = [entry for entry in runs if entry.status == "Completed"]
    finishes = [entry.completion_time for entry in successes if entry.completion_time]
    return BackupStatus(
        conditions=tuple(_conditions(observed, now, draft, ready)),
        phase=phase,
        message=one_line("; ".join((ready.message, *draft.notes, *_gaps(observed.spec)))),
        last_run_time=max((e.start_time for e in runs), default=before.last_run_time),
        last_success_time=max(finishes, default=before.last_success_time),
        next_run_time=_due(observed, draft, now),
        stats=next((entry.stats for entry in successes if entry.stats), before.stats),
        history=runs,
        observed_generation=observed.backup.generation,
        progress=_progress(before.progress, draft.active, now) if looked else before.progress,
        answered=newest_answer(before, draft.runs) if looked else before.answered,
        sidecar=before.sidecar if draft.sidecar is None else draft.sidecar,
    )


def _due(observed: Observed, draft: Draft, now: datetime) -> datetime | None:
    """When the CronJob fires next: not promised while there is none, or none that may fire."""
    spec = observed.spec
    if not isinstance(spec, BackupSpec) or not spec.schedule or spec.suspend:
        return None
    if draft.stop is not None and (draft.stop.phase is Phase.FAILED or observed.cron_job is None):
        return None
    return next_run(spec.schedule, now)


def _gaps(spec: object) -> tuple[str, ...]:
    if not isinstance(spec, BackupSpec):
        return ()
    return tuple(gap.message for gap in capabilities.warnings(spec))


# --- phase ---------------------------------------------------------------------------------------


def _phase(observed: Observed, draft: Draft, runs: tuple[BackupRun, ...]) -> Phase:
    spec, active = observed.spec, draft.active
    if active is not None:
        return Phase.RUNNING if active.state == "Running" else Phase.PENDING
    stop = draft.stop
    if stop is not None and stop.ready == "Unknown":
        return observed.status.phase or Phase.PENDING
    if stop is not None and stop.phase is Phase.FAILED:
        return Phase.FAILED
    if isinstance(spec, BackupSpec) and spec.is_scheduled and observed.cron_job is not None:
        return Phase.SUSPENDED if spec.suspend else Phase.SCHEDULED
    if stop is not None and stop.phase is not None:
        return stop.phase
    if isinstance(spec, BackupSpec) and spec.is_scheduled:
        return Phase.SUSPENDED if spec.suspend else Phase.SCHEDULED
    return _outcome(runs)


def _outcome(runs: tuple[BackupRun, ...]) -> Phase:
    if not runs or runs[0].status == "Running":
        return Phase.PENDING
    return Phase.COMPLETED if runs[0].status == "Completed" else Phase.FAILED


# --- conditions ----------------------------------------------------------------------------------


def _ready(observed: Observed, draft: Draft, phase: Phase, runs: tuple[BackupRun, ...]) -> Verdict:
    active, stop = draft.active, draft.stop
    spec = observed.spec
    scheduled = isinstance(spec, BackupSpec) and spec.is_scheduled
    if stop is not None and stop.ready == "Unknown":
        return Verdict(READY, "Unknown", stop.reason, stop.message)
    if active is not None and not (scheduled and stop is not None and stop.phase is not None):
        return _going_on(active, observed.status, scheduled=scheduled, runs=runs)
    if stop is not None:
        return Verdict(READY, stop.ready, stop.reason, stop.message)
    last = next((entry for entry in runs if entry.status != "Running"), None)
    if last is not None and last.status == "Failed":
        return Verdict(
            READY, "False", "LastRunFailed", f"the last backup failed: {last.error or 'no reason known'}"
        )
    if scheduled and isinstance(spec, BackupSpec):
        done = f"; the last backup is good: {told(last)}" if last else "; no backup was made yet"
        state = "suspended" if spec.suspend else f"scheduled at {spec.schedule}"
        return Verdict(READY, "True", phase.value, f"{state}{done}")
    if last is None:
        return Verdict(READY, "False", phase.value, "no backup was made yet")
    return Verdict(READY, "True", "Completed", f"the backup is good: {told(last)}")


def _going_on(active: Run, before: BackupStatus, *, scheduled: bool, runs: tuple[BackupRun, ...]) -> Verdict:
    message = _doing(active, before.progress)
    reason = active.cause.reason if active.cause else "Running"
    if not scheduled:
        return Verdict(READY, "False", reason, message)
    last = next((entry for entry in runs if entry.status != "Running"), None)
    if active.state == "Waiting" or (last is not None and last.status == "Failed"):
        failed = f"; the last backup failed: {last.error}" if last and last.status == "Failed" else ""
        return Verdict(READY, "False", reason, f"{message}{failed}")
    return Verdict(READY, "True", reason, message)


def _doing(active: Run, before: BackupProgress | None) -> str:
    if active.cause is not None:
        lead = "waiting to start" if active.state == "Waiting" else "running"
        return f"{lead}: {active.cause.message}"
    progress = active.progress
    if progress is not None:
        return _moving(progress)
    if before is not None and before.run_id == active.job.uid and before.phase:
        # A pod that is over, or whose log cannot be read just now, does not take back how far it was.
        return f"Job {active.job.name} was last seen {before.phase.lower()}"
    return f"Job {active.job.name} is running"


def _moving(progress: Progress) -> str:
    """``dumping orders: 24.8Mi at 8.0Mi/s, 1 of 4 databases done (graph-server-3: receiving)``."""
    amount = size(progress.bytes_done) if progress.bytes_done else ""
    if progress.bytes_total:
        amount = f"{amount or '0'} of {size(progress.bytes_total)}"
    if amount and progress.bytes_per_second:
        amount += f" at {size(progress.bytes_per_second)}/s"
    left = f"about {duration(progress.seconds_left)} left" if progress.seconds_left else ""
    done = f"{progress.databases_done} of {progress.databases_total} databases done"
    facts = ", ".join(fact for fact in (amount, left, done if progress.databases_total else "") if fact)
    what = f"{progress.phase.lower()} {progress.database}".rstrip()
    where = f"{' (' if facts else ': '}{progress.message}{')' if facts else ''}" if progress.message else ""
    return f"{what}: {facts}{where}" if facts else f"{what}{where}"


def told(entry: BackupRun) -> str:
    """A good run in a few words."""
    parts = [f"{len(entry.databases)} databases" if len(entry.databases) != 1 else entry.databases[0]]
    if entry.stats and entry.stats.size:
        parts.append(f"{entry.stats.size} in {entry.stats.duration}")
    if entry.source:
        parts.append(f"from {entry.source}")
    if not entry.databases:
        parts = ["its details were lost with its pod, the repository has them"]
    warned = f", with warnings: {listed(entry.warnings, 1)}" if entry.warnings else ""
    return ", ".join(parts) + warned


def _conditions(observed: Observed, now: datetime, draft: Draft, ready: Verdict) -> ConditionSet:
    verdicts = {verdict.type: verdict for verdict in (*_evidence(observed, draft), *draft.verdicts)}
    spec = observed.spec
    gaps = capabilities.warnings(spec) if isinstance(spec, BackupSpec) else ()
    result = observed.status.condition_set
    if gaps:
        message = "; ".join(gap.message for gap in gaps)
        verdicts[SPEC_ENFORCED] = Verdict(SPEC_ENFORCED, "False", gaps[0].reason, message)
    elif isinstance(spec, BackupSpec):
        result = result.without(SPEC_ENFORCED)
    if isinstance(spec, BackupSpec) and not spec.options.verifies:
        result = result.without(VERIFIED)
        verdicts.pop(VERIFIED, None)
    for verdict in (*verdicts.values(), ready):
        result = result.with_verdict(verdict, observed.backup.generation, now)
    return result


def _evidence(observed: Observed, draft: Draft) -> Iterable[Verdict]:
    """What the runs themselves, and the lack of any, prove."""
    before = observed.status.condition_set
    newest, stop = (draft.runs[0] if draft.runs else None), draft.stop
    if stop is not None and stop.phase is not None and draft.active is None:
        if observed.cron_job is None or before.get(JOB_CREATED) is None:
            yield Verdict(JOB_CREATED, "False", stop.reason, stop.message)
    elif newest is not None:
        yield Verdict(JOB_CREATED, "True", "JobCreated", f"Job {newest.job.name} was made")
    elif before.get(JOB_CREATED) is None:
        yield Verdict(JOB_CREATED, "False", "NoJob", "no Job was made yet")
    verified = _verified(draft)
    if verified is not None:
        yield verified
    elif before.get(VERIFIED) is None:
        yield Verdict(VERIFIED, "Unknown", "NotVerified", "no backup was verified yet")
    storage = _storage_evidence(observed, draft)
    if storage is not None:
        yield storage
    elif before.get(STORAGE_READY) is None:
        yield Verdict(STORAGE_READY, "Unknown", "NotTried", "the first run will tell")


def _verified(draft: Draft) -> Verdict | None:
    """Of the newest run that came so far as to be verified."""
    results = (run.result for run in draft.runs if not run.is_active)
    told = next((result for result in results if result and result.verified is not None), None)
    if told is None:
        return None
    run = f"run {told.run_id}"
    if told.verified:
        level = told.verified_level or "StoredObjects"
        return Verdict(VERIFIED, "True", level, f"{run}: {_LEVELS.get(level, level)}")
    return Verdict(VERIFIED, "False", "VerificationFailed", one_line(f"{run}: {told.error}"))


def _storage_evidence(observed: Observed, draft: Draft) -> Verdict | None:
    claim = observed.claim
    seen = None if claim is None or isinstance(claim, Unknown) else claim_verdict(claim)
    if seen is not None and seen.status == "False":
        return seen
    waiting = draft.runs[0].cause if draft.runs and draft.runs[0].state == "Waiting" else None
    if waiting is not None and waiting.reason in MOUNT_REASONS:
        return Verdict(STORAGE_READY, "False", waiting.reason, waiting.message)
    settled = next((run for run in draft.runs if not run.is_active), None)
    return _proof(settled) or seen


def _proof(settled: Run | None) -> Verdict | None:
    if settled is None:
        return None
    if settled.state == "Completed":
        return Verdict(STORAGE_READY, "True", "Written", f"Job {settled.job.name} wrote to it")
    if settled.cause is not None and settled.cause.reason in STORAGE_REASONS:
        return Verdict(STORAGE_READY, "False", settled.cause.reason, settled.cause.message)
    return None


# --- progress and events -------------------------------------------------------------------------


def _progress(before: BackupProgress | None, active: Run | None, now: datetime) -> BackupProgress | None:
    if active is None:
        return None
    same_run = before is not None and before.run_id == active.job.uid
    if active.progress is None:
        return before if same_run else None
    progress = history.progress_of(active.progress, before, now)
    return progress if progress.run_id else replace(progress, run_id=active.job.uid)


def events(before: BackupStatus, after: BackupStatus) -> tuple[EmitEvent, ...]:
    """What changed, said once: a phase that was entered, or another reason for not being ready."""
    was, now = before.condition_set.get(READY), after.condition_set.get(READY)
    if now is None or after.phase is None:
        return ()
    if now.reason in _PASSING or (
        before.phase == after.phase and was is not None and was.reason == now.reason
    ):
        return ()
    in_trouble = (
        after.phase is Phase.FAILED
        or now.reason == "LastRunFailed"
        or (_is_running(after) and now.reason != "Running")
    )
    reason = after.phase.value if before.phase != after.phase else now.reason
    return (EmitEvent("Warning" if in_trouble else "Normal", reason, now.message, "Backup"),)


def _is_running(status: BackupStatus) -> bool:
    return bool(status.history) and status.history[0].status == "Running"
