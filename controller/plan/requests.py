"""Which run is asked for that no schedule makes, whether it had its run, and how its Job is called.

Guarantee: one run for each generation of a one-shot and for each value of run-now, also when its Job
was deleted since or another reconcile won the race (names are deterministic). A run that failed for
something that is waited for is asked for again, later and later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from controller.api.backup import BackupSpec
from controller.api.status import BackupStatus
from controller.plan.observed import Observed
from controller.plan.runs import Request, Run
from controller.resources import names

RETRY_FIRST = timedelta(seconds=15)
RETRY_LIMIT = timedelta(minutes=5)
_VALUE_LIMIT = 63


@dataclass(frozen=True, slots=True)
class Pending:
    """A run that is still to be made."""

    request: Request
    attempt: int = 0
    not_before: datetime | None = None
    why: str = ""
    """What the last attempt failed for."""


def pending(observed: Observed, spec: BackupSpec, runs: Iterable[Run]) -> Pending | None:
    """What is to be run now, or None."""
    every = list(runs)
    current = Request(observed.backup.generation, run_now_of(observed))
    answered = answers(observed.status.answered, every)
    if _is_new(current, spec, answered):
        return Pending(current)
    last = _last_attempt(every)
    if last is None or not last.waits_for_user or last.request is None or last.cause is None:
        return None
    delay = min(RETRY_FIRST * 2 ** min(last.attempt, 10), RETRY_LIMIT)
    after = (last.finished or last.started) + delay
    again = Request(current.generation, last.request.run_now)
    return Pending(again, last.attempt + 1, after, last.cause.message)


def run_now_of(observed: Observed) -> str:
    """The annotation's value; one that is too long for a name or a line is known by its hash."""
    value = observed.backup.run_now.strip()
    return value if len(value) <= _VALUE_LIMIT else names.short_hash(value)


def answers(stored: str | None, runs: Iterable[Run]) -> tuple[Request, ...]:
    """The requests that had a run: what status remembers, and what the Jobs say."""
    generation, _, run_now = (stored or "").partition("/")
    remembered = [Request(int(generation), run_now)] if generation.isdecimal() else []
    return (*remembered, *(run.request for run in runs if run.request is not None))


def newest_answer(status: BackupStatus, runs: Iterable[Run]) -> str | None:
    """What status is to remember. A Job that status knows already was counted when it was new: when a
    newer one is deleted by hand, the older one must not make us forget it."""
    known = {entry.run_id for entry in status.history}
    fresh = [run for run in runs if run.request is not None and run.job.uid not in known]
    stored = max(answers(status.answered, ()), key=lambda item: item.generation, default=Request(0))
    newer = [run for run in fresh if run.request is not None and run.request.generation >= stored.generation]
    if not newer:
        return status.answered
    return str(max(newer, key=lambda run: (run.started, run.job.name)).request)


def _is_new(current: Request, spec: BackupSpec, answered: tuple[Request, ...]) -> bool:
    if current.run_now and all(item.run_now != current.run_now for item in answered):
        return True
    newest = max((item.generation for item in answered), default=0)
    return not spec.is_scheduled and newest < current.generation


def _last_attempt(runs: Iterable[Run]) -> Run | None:
    asked = [run for run in runs if run.request is not None]
    return max(asked, key=lambda run: (run.started, run.attempt, run.job.name), default=None)


def job_name(backup: str, wanted: Pending, runs: Iterable[Run]) -> str:
    """``<name>-backup`` for the first, as the documentation promises; a hashed name after that."""
    first = names.job(backup)
    if wanted.attempt == 0 and all(run.job.name != first for run in runs):
        return first
    return names.rerun_job(backup, f"{wanted.request}/{wanted.attempt}")
