"""Jobs.

Guarantee: labels, conditions, reasons and messages of the real controller; a condition Complete or Failed is
final; failures are counted by pods, and by restarts with ``restartPolicy: OnFailure``.
Non-guarantee: no completion indexes and no podFailurePolicy; the back-off between pods is a fraction of the
real one; a pod that was deleted while it ran is replaced and not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from hack.devcluster import events
from hack.devcluster.controllers.loop import KeysOf, controlled_by, itself
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting, timestamp
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    JOBS,
    PODS,
    controller_reference,
    has_condition,
    is_finished,
    is_ready,
    moment_of,
    name_of,
    namespace_of,
    now,
    owned_pods,
    status_of,
    uid_of,
)

_FIRST_BACKOFF, _LONGEST_BACKOFF = timedelta(seconds=0.5), timedelta(seconds=10)


class JobController:
    """One step for one Job at a time."""

    watches: Mapping[GroupResource, KeysOf] = {JOBS: itself, PODS: controlled_by("Job")}

    def __init__(self, registry: Registry, clock: Callable[[], datetime] = now) -> None:
        self._registry = registry
        self._clock = clock

    def reconcile(self, namespace: str, name: str) -> float | None:
        try:
            job = self._registry.get(JOBS, namespace, name)
        except ApiStatus:
            return None
        if is_deleting(job):
            return None
        if has_condition(job, "Complete") or has_condition(job, "Failed"):
            self._end_pods(job)
            return self._expire(job)
        if job["spec"].get("suspend"):
            self._suspend(job)
            return None
        return self._advance(job)

    def _advance(self, job: Obj) -> float | None:
        at = self._clock()
        status = self._resumed(job, at)
        counts = self._counts(job)
        verdict = _verdict(job, status, counts, at)
        if verdict is not None:
            self._finish(job, status, counts, verdict)
            return 0.0
        wait = self._start_pods(job, counts, at)
        self._write(job, status | self._counts(job).as_status())
        return _soonest(wait, _time_left(job, status, at))

    def _resumed(self, job: Obj, at: datetime) -> Obj:
        status: Obj = copy(status_of(job))
        if "startTime" not in status:
            status["startTime"] = timestamp(at)
        if has_condition(job, "Suspended"):
            _set_condition(status, "Suspended", "False", "JobResumed", "Job resumed", at)
        return status

    def _counts(self, job: Obj) -> _Counts:
        return _Counts(owned_pods(self._registry, job))

    def _start_pods(self, job: Obj, counts: _Counts, at: datetime) -> float | None:
        """Start what is missing; seconds to wait first when a pod has just failed."""
        parallelism = int(dig(job, "spec", "parallelism", default=1))
        missing = min(parallelism, _completions(job) - counts.succeeded) - counts.active - counts.terminating
        if missing <= 0:
            return None
        wait = _backoff_left(counts, at)
        if wait > 0:
            return wait
        for _ in range(missing):
            pod = self._registry.create(PODS, job_pod(job))
            events.record(self._registry, job, "Normal", "SuccessfulCreate", f"Created pod: {name_of(pod)}")
        return None

    def _finish(self, job: Obj, status: Obj, counts: _Counts, verdict: tuple[str, str, str]) -> None:
        kind, reason, message = verdict
        at = self._clock()
        self._end_pods(job)
        _set_condition(status, kind, "True", reason, message, at)
        if kind == "Complete":
            status["completionTime"] = timestamp(at)
        failed = counts.failed + (counts.active if kind == "Failed" else 0)
        self._write(job, status | counts.as_status() | {"active": 0, "ready": 0, "failed": failed})
        event = ("Normal", "Completed") if kind == "Complete" else ("Warning", reason)
        events.record(self._registry, job, "Normal" if kind == "Complete" else "Warning", event[1], message)

    def _end_pods(self, job: Obj) -> None:
        for pod in owned_pods(self._registry, job):
            if not is_finished(pod) and not is_deleting(pod):
                self._registry.delete(PODS, namespace_of(pod), name_of(pod), uid=uid_of(pod))
                events.record(
                    self._registry, job, "Normal", "SuccessfulDelete", f"Deleted pod: {name_of(pod)}"
                )

    def _expire(self, job: Obj) -> float | None:
        seconds = job["spec"].get("ttlSecondsAfterFinished")
        if seconds is None:
            return None
        ended = max(moment_of(each["lastTransitionTime"]) for each in status_of(job)["conditions"])
        left = (ended + timedelta(seconds=seconds) - self._clock()).total_seconds()
        if left > 0:
            return left
        self._registry.delete(
            JOBS, namespace_of(job), name_of(job), uid=uid_of(job), propagation="Foreground"
        )
        return None

    def _suspend(self, job: Obj) -> None:
        self._end_pods(job)
        status = copy(status_of(job))
        status.pop("startTime", None)
        if not has_condition(job, "Suspended"):
            _set_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", self._clock())
            events.record(self._registry, job, "Normal", "Suspended", "Job suspended")
        self._write(job, status | self._counts(job).as_status())

    def _write(self, job: Obj, status: Obj) -> None:
        if status != status_of(job):
            self._registry.update_status(JOBS, job | {"status": status})


class _Counts:
    """What became of a Job's pods."""

    def __init__(self, pods: list[Obj]) -> None:
        phases = [status_of(pod).get("phase") for pod in pods]
        live = [pod for pod in pods if not is_finished(pod)]
        self._failed_pods = [pod for pod in pods if status_of(pod).get("phase") == "Failed"]
        self.succeeded = phases.count("Succeeded")
        self.failed = len(self._failed_pods)
        self.active = sum(not is_deleting(pod) for pod in live)
        self.terminating = len(live) - self.active
        self.ready = sum(map(is_ready, live))
        self.restarts = sum(_restarts(pod) for pod in live if pod["spec"].get("restartPolicy") == "OnFailure")

    def last_failure(self) -> datetime | None:
        return max(map(_ended, self._failed_pods), default=None)

    def as_status(self) -> Obj:
        names = ("active", "ready", "succeeded", "failed", "terminating")
        return {name: getattr(self, name) for name in names}


def _restarts(pod: Obj) -> int:
    return sum(each["restartCount"] for each in status_of(pod).get("containerStatuses") or [])


def _ended(pod: Obj) -> datetime:
    states = [each["state"].get("terminated") for each in status_of(pod).get("containerStatuses") or []]
    times = [moment_of(each["finishedAt"]) for each in states if each]
    return max(times, default=moment_of(pod["metadata"]["creationTimestamp"]))


def _completions(job: Obj) -> int:
    return int(dig(job, "spec", "completions", default=dig(job, "spec", "parallelism", default=1)))


def _verdict(job: Obj, status: Obj, counts: _Counts, at: datetime) -> tuple[str, str, str] | None:
    """Condition, reason and message when the Job is over."""
    if counts.succeeded >= _completions(job):
        return "Complete", "CompletionsReached", "Reached expected number of succeeded pods"
    if counts.failed + counts.restarts > int(dig(job, "spec", "backoffLimit", default=6)):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    left = _time_left(job, status, at)
    if left is not None and left <= 0:
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _time_left(job: Obj, status: Obj, at: datetime) -> float | None:
    seconds = job["spec"].get("activeDeadlineSeconds")
    if seconds is None:
        return None
    ends = moment_of(status["startTime"]) + timedelta(seconds=float(seconds))
    left: timedelta = ends - at
    return left.total_seconds()


def _backoff_left(counts: _Counts, at: datetime) -> float:
    last = counts.last_failure()
    if last is None:
        return 0.0
    backoff = min(_FIRST_BACKOFF * float(2 ** (counts.failed - 1)), _LONGEST_BACKOFF)
    return (last + backoff - at).total_seconds()


def _soonest(*seconds: float | None) -> float | None:
    return min((each for each in seconds if each is not None), default=None)


def _set_condition(status: Obj, kind: str, value: str, reason: str, message: str, at: datetime) -> None:
    others = [each for each in status.get("conditions") or [] if each["type"] != kind]
    moment = timestamp(at)
    condition = {"type": kind, "status": value, "reason": reason, "message": message}
    status["conditions"] = [*others, condition | {"lastProbeTime": moment, "lastTransitionTime": moment}]


def job_pod(job: Obj) -> Obj:
    """A pod of ``job`` with the labels of old and of new Kubernetes."""
    template = job["spec"]["template"]
    metadata = copy(template.get("metadata") or {})
    identity = {"controller-uid": uid_of(job), "job-name": name_of(job)}
    labels = identity | {f"batch.kubernetes.io/{key}": value for key, value in identity.items()}
    metadata |= {
        "generateName": f"{name_of(job)}-",
        "namespace": namespace_of(job),
        "labels": (metadata.get("labels") or {}) | labels,
        "ownerReferences": [controller_reference(job)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": copy(template["spec"])}
