"""CronJobs.

Guarantee: at a scheduled time one Job, with the name, owner and annotation that the real controller gives it;
time zones, concurrency policy, starting deadline, suspension and history limits are obeyed; of many missed
times only the last one is made up for.
Non-guarantee: it does not refuse to go on after a hundred missed times, as old Kubernetes does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import croniter

from hack.devcluster import events
from hack.devcluster.controllers.loop import KeysOf, controlled_by, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, copy, is_deleting, timestamp
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    CRON_JOBS,
    JOBS,
    controller_reference,
    has_condition,
    is_controlled_by,
    moment_of,
    name_of,
    namespace_of,
    now,
    status_of,
    uid_of,
)

_ANNOTATION = "batch.kubernetes.io/cronjob-scheduled-timestamp"


class CronJobController:
    """One step for one CronJob at a time."""

    watches: Mapping[GroupResource, KeysOf] = {CRON_JOBS: itself, JOBS: controlled_by("CronJob")}

    def __init__(self, registry: Registry, clock: Callable[[], datetime] = now) -> None:
        self._registry = registry
        self._clock = clock

    def reconcile(self, namespace: str, name: str) -> float | None:
        try:
            owner = self._registry.get(CRON_JOBS, namespace, name)
        except ApiStatus:
            return None
        if is_deleting(owner):
            return None
        status = copy(status_of(owner))
        self._prune(owner)
        self._note_successes(owner, status)
        after = None if owner["spec"].get("suspend") else self._on_time(owner, status)
        status["active"] = [_reference(job) for job in self._active(owner)]
        if status != status_of(owner):
            self._registry.update_status(CRON_JOBS, owner | {"status": status})
        return after

    def _jobs(self, owner: Obj) -> list[Obj]:
        jobs, _ = self._registry.list(JOBS, namespace_of(owner))
        return [job for job in jobs if is_controlled_by(job, owner)]

    def _active(self, owner: Obj) -> list[Obj]:
        return [job for job in self._jobs(owner) if not _is_over(job)]

    def _prune(self, owner: Obj) -> None:
        limits = {
            "Complete": owner["spec"].get("successfulJobsHistoryLimit", 3),
            "Failed": owner["spec"].get("failedJobsHistoryLimit", 1),
        }
        for condition, limit in limits.items():
            ended = [job for job in self._jobs(owner) if has_condition(job, condition)]
            ended.sort(key=lambda job: status_of(job).get("startTime", ""))
            for job in ended[: max(len(ended) - limit, 0)]:
                self._delete(job)

    def _delete(self, job: Obj) -> None:
        if not is_deleting(job):
            self._registry.delete(JOBS, namespace_of(job), name_of(job), uid=uid_of(job))

    def _note_successes(self, owner: Obj, status: Obj) -> None:
        times = [status_of(job).get("completionTime", "") for job in self._jobs(owner)]
        latest = max([status.get("lastSuccessfulTime", ""), *times])
        if latest:
            status["lastSuccessfulTime"] = latest

    def _on_time(self, owner: Obj, status: Obj) -> float | None:
        """Start what is due; seconds until the next time."""
        at = self._clock()
        try:
            due, following = schedule_around(owner["spec"]["schedule"], owner["spec"].get("timeZone"), at)
        except (ValueError, KeyError) as error:
            events.record(
                self._registry, owner, "Warning", "UnparseableSchedule", f"unparseable schedule: {error}"
            )
            return None
        since = status.get("lastScheduleTime") or owner["metadata"]["creationTimestamp"]
        if due > moment_of(since) and not self._is_too_late(owner, due, at):
            self._start(owner, status, due)
        return (following - at).total_seconds()

    def _is_too_late(self, owner: Obj, due: datetime, at: datetime) -> bool:
        seconds = owner["spec"].get("startingDeadlineSeconds")
        late = seconds is not None and at > due + timedelta(seconds=seconds)
        if late:
            message = f"Missed scheduled time to start a job: {due:%a, %d %b %Y %H:%M:%S +0000}"
            events.record(self._registry, owner, "Warning", "MissSchedule", message)
        return late

    def _start(self, owner: Obj, status: Obj, due: datetime) -> None:
        active = self._active(owner)
        policy = owner["spec"].get("concurrencyPolicy", "Allow")
        if active and policy == "Forbid":
            message = "Not starting job because prior execution is running and concurrency policy is Forbid"
            events.record(self._registry, owner, "Normal", "JobAlreadyActive", message)
            return
        for job in active if policy == "Replace" else []:
            self._delete(job)
        status["lastScheduleTime"] = timestamp(due)
        try:
            created = self._registry.create(JOBS, scheduled_job(owner, due))
        except ApiStatus as error:
            if error.reason != "AlreadyExists":
                raise
            return
        events.record(self._registry, owner, "Normal", "SuccessfulCreate", f"Created job {name_of(created)}")


def schedule_around(schedule: str, time_zone: str | None, at: datetime) -> tuple[datetime, datetime]:
    """The last scheduled time that is not after ``at``, and the one after it. Raises ValueError, KeyError."""
    local = at.astimezone(ZoneInfo(time_zone or "UTC"))
    following: datetime = croniter(schedule, local).get_next(datetime)
    due: datetime = croniter(schedule, following).get_prev(datetime)
    return due.astimezone(UTC), following.astimezone(UTC)


def scheduled_job(owner: Obj, due: datetime) -> Obj:
    template = copy(owner["spec"]["jobTemplate"])
    metadata = template.get("metadata") or {}
    metadata["annotations"] = (metadata.get("annotations") or {}) | {_ANNOTATION: timestamp(due)}
    metadata |= {
        "name": f"{name_of(owner)}-{int(due.timestamp()) // 60}",
        "namespace": namespace_of(owner),
        "ownerReferences": [controller_reference(owner)],
    }
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def _is_over(job: Obj) -> bool:
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def _reference(job: Obj) -> Obj:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": name_of(job),
        "namespace": namespace_of(job),
        "uid": uid_of(job),
        "resourceVersion": job["metadata"]["resourceVersion"],
    }
