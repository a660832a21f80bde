"""What became of each run: a Job, its pods and their words, read as one value.

Guarantee: only a Job's own conditions end a run (counts are attempts); a good Job without a readable
result is good, and says that its result was lost; what could not be looked at never turns into a
failure. A failure that only waits for the user (no bucket) is told apart, so that it can be retried.

Non-guarantee: whether the artifacts are still in the repository.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from controller.api.objects import Condition, Job
from controller.plan.causes import Cause, is_started, newest, result_of, why_ended, why_waiting
from controller.plan.observed import Attempt, RunSeen, Unknown
from controller.plan.text import one_line
from controller.resources import labels
from controller.wire.messages import Outcome, Progress, RunResult, Unreadable, decode

ATTEMPT = "backup.neo4j.com/attempt"
"""Annotation of a Job: how many Jobs before it failed for something that is waited for."""
DEPLOYMENT = "backup.neo4j.com/deployment"
"""Annotation of a Job: whose servers it makes work, as namespace/name."""

WAITED_FOR = frozenset({"NoSuchBucket"})
"""Reasons of a failure that time and the user will remove: the run is tried again."""
STORAGE_REASONS = frozenset(
    {
        "NoSuchBucket",
        "AccessDenied",
        "NoSpaceLeft",
        "StorageError",
        "StorageUnavailable",
        "UnsupportedStorage",
    }
)
"""Reasons of a failure that say something about the storage."""
MOUNT_REASONS = frozenset({"FailedMount", "FailedAttachVolume"})
"""Reasons of a pod that waits for its volumes: all it mounts are the storage and the keys to it."""

State = Literal["Waiting", "Running", "Completed", "Failed"]
_PROGRESS_MARK = "progress {"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Request:
    """What asks for a run that no schedule makes: a generation, or a new value of run-now."""

    generation: int
    run_now: str = ""

    def __str__(self) -> str:
        return f"{self.generation}/{self.run_now}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run as far as it is known."""

    job: Job
    state: State
    scheduled: bool
    """Made by the CronJob."""
    cause: Cause | None = None
    """Why it waits or failed, or what went wrong so far."""
    result: RunResult | None = None
    progress: Progress | None = None
    finished: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Not settled yet."""
        return self.state in ("Waiting", "Running")

    @property
    def started(self) -> datetime:
        """When Kubernetes started it, or made it."""
        return self.job.status.start_time or self.job.metadata.creation_timestamp or _EPOCH

    @property
    def request(self) -> Request | None:
        """What asked for it; None for a run of the schedule."""
        if self.scheduled:
            return None
        generation = self.job.labels.get(labels.GENERATION, "0")
        return Request(
            int(generation) if generation.isdecimal() else 0, self.job.annotations.get(labels.RUN_NOW, "")
        )

    @property
    def attempt(self) -> int:
        """0 for the first Job of a request."""
        text = self.job.annotations.get(ATTEMPT, "0")
        return int(text) if text.isdecimal() else 0

    @property
    def waits_for_user(self) -> bool:
        """Failed for something that is waited for."""
        return self.state == "Failed" and self.cause is not None and self.cause.reason in WAITED_FOR


def read_runs(seen: Iterable[RunSeen], backup_uid: str) -> tuple[Run, ...]:
    """All runs, newest first."""
    runs = [read_run(item, backup_uid) for item in seen]
    return tuple(sorted(runs, key=lambda run: (run.started, run.job.name), reverse=True))


def read_run(seen: RunSeen, backup_uid: str) -> Run:
    """One run."""
    job, controller = seen.job, seen.job.controller
    scheduled = controller is None or controller.uid != backup_uid
    attempts = [] if isinstance(seen.attempts, Unknown) else _newest_first(seen.attempts)
    final = job.final_condition()
    if final is None or isinstance(seen.attempts, Unknown):
        # A Job that is over while its pods could not be read is settled when they can: its result is there.
        return _unsettled(seen, attempts, scheduled)
    result = next((found for item in attempts if (found := result_of(item.pod)) is not None), None)
    finished = job.status.completion_time or final.last_transition_time
    if final.type == "Complete":
        return _completed(job, result, scheduled, finished)
    cause = _why_failed(final, attempts)
    return Run(job, "Failed", scheduled, cause=cause, result=result, finished=finished)


def _completed(job: Job, result: RunResult | None, scheduled: bool, finished: datetime | None) -> Run:
    if result is not None and result.outcome in (Outcome.FAILED, Outcome.PARTIALLY_SUCCEEDED):
        # Exit code 0 with such a result is a contradiction: believe the worse of the two.
        cause = Cause(result.error_reason or str(result.outcome), one_line(result.error or "the run failed"))
        return Run(job, "Failed", scheduled, cause=cause, result=result, finished=finished)
    return Run(job, "Completed", scheduled, result=result, finished=finished)


def _unsettled(seen: RunSeen, attempts: list[Attempt], scheduled: bool) -> Run:
    job = seen.job
    if isinstance(seen.attempts, Unknown):
        return Run(job, "Running", scheduled, cause=Cause("CouldNotLook", seen.attempts.reason))
    if not attempts:
        return Run(job, "Waiting", scheduled, cause=_no_pod(seen))
    latest = attempts[0]
    if not is_started(latest.pod):
        events = () if isinstance(latest.events, Unknown) else latest.events
        state: State = "Running" if any(is_started(item.pod) for item in attempts) else "Waiting"
        return Run(job, state, scheduled, cause=why_waiting(latest.pod, events))
    failed = why_ended(latest.pod)
    if failed is not None:
        told = Cause(failed.reason, one_line(f"{failed.message}; Kubernetes decides about another attempt"))
        return Run(job, "Running", scheduled, cause=told, progress=latest.progress)
    return Run(job, "Running", scheduled, progress=latest.progress)


def _no_pod(seen: RunSeen) -> Cause:
    event = newest(() if isinstance(seen.events, Unknown) else seen.events)
    if event is not None:
        return Cause(event.reason, one_line(event.message))
    return Cause("PodNotCreated", f"Job {seen.job.name} has no pod yet")


def _why_failed(final: Condition, attempts: list[Attempt]) -> Cause:
    if final.reason == "DeadlineExceeded":
        return Cause("DeadlineExceeded", one_line(final.message or "the run took longer than its deadline"))
    # A runner that could still speak knows best, also where a later pod of the Job could not.
    telling = sorted(attempts, key=lambda item: result_of(item.pod) is None)
    told = next((cause for item in telling if (cause := why_ended(item.pod)) is not None), None)
    if told is not None:
        return told
    return Cause(
        final.reason or "JobFailed", one_line(final.message or "the Job failed, and its pods are gone")
    )


def progress_in(log: str) -> Progress | None:
    """The newest progress line of a runner's log."""
    for line in reversed(log.splitlines()):
        _, mark, text = line.partition(_PROGRESS_MARK)
        if mark:
            with contextlib.suppress(Unreadable):
                return decode("{" + text, Progress)
    return None


def _newest_first(attempts: Iterable[Attempt]) -> list[Attempt]:
    def born(attempt: Attempt) -> tuple[datetime, str]:
        return attempt.pod.metadata.creation_timestamp or _EPOCH, attempt.pod.name

    return sorted(attempts, key=born, reverse=True)
