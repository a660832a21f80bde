"""The Job and CronJob controllers, step by step, under a clock of the test's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hack.devcluster.controllers.cronjob import CronJobController, schedule_around
from hack.devcluster.controllers.job import JobController
from hack.devcluster.objects import Obj
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CRON_JOBS, JOBS, PODS, labels_of, name_of
from tests.unit.devcluster.cluster import NAMESPACE, messages, pod_spec, set_status, shell

START = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
TEMPLATE = {"spec": pod_spec(shell("true"), restartPolicy="Never")}


class World:
    """A registry with both controllers, and the time."""

    def __init__(self) -> None:
        self.at = START
        self.registry = Registry(now=lambda: self.at)
        self._jobs = JobController(self.registry, lambda: self.at)
        self._cron_jobs = CronJobController(self.registry, lambda: self.at)

    def job(self, **spec: Any) -> None:
        metadata = {"name": "job", "namespace": NAMESPACE}
        self.registry.create(JOBS, {"metadata": metadata, "spec": {"template": TEMPLATE} | spec})

    def step(self) -> float | None:
        return self._jobs.reconcile(NAMESPACE, "job")

    def cron_job(self, schedule: str, **spec: Any) -> None:
        metadata = {"name": "cron", "namespace": NAMESPACE}
        template = {"spec": {"template": TEMPLATE}}
        self.registry.create(
            CRON_JOBS, {"metadata": metadata, "spec": {"schedule": schedule, "jobTemplate": template} | spec}
        )

    def tick(self, at: datetime | None = None) -> float | None:
        self.at = at or self.at
        return self._cron_jobs.reconcile(NAMESPACE, "cron")

    def pods(self) -> list[Obj]:
        return self.registry.list(PODS)[0]

    def job_names(self) -> list[str]:
        return [name_of(each) for each in self.registry.list(JOBS)[0]]

    def end_pod(self, phase: str) -> None:
        """End the pods that have not ended yet."""
        for pod in self.pods():
            if pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                set_status(self.registry, PODS, name_of(pod), {"phase": phase})

    def end_job(self, name: str, condition: str) -> None:
        at = self.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        ended = {"type": condition, "status": "True", "lastTransitionTime": at}
        times = {"startTime": at} | ({"completionTime": at} if condition == "Complete" else {})
        set_status(self.registry, JOBS, name, {"conditions": [ended]} | times)

    @property
    def status(self) -> Obj:
        status: Obj = self.registry.get(JOBS, NAMESPACE, "job").get("status", {})
        return status

    def conditions(self) -> dict[str, str]:
        return {
            each["type"]: each["reason"]
            for each in self.status.get("conditions", [])
            if each["status"] == "True"
        }


def test_a_pod_carries_the_labels_of_old_and_new_kubernetes() -> None:
    world = World()
    world.job()
    world.step()
    labels = labels_of(world.pods()[0])
    uid = world.registry.get(JOBS, NAMESPACE, "job")["metadata"]["uid"]
    for prefix in ("", "batch.kubernetes.io/"):
        assert (labels[f"{prefix}controller-uid"], labels[f"{prefix}job-name"]) == (uid, "job")
    assert world.status["active"] == 1


def test_a_job_is_complete_when_its_pod_succeeded() -> None:
    world = World()
    world.job()
    world.step()
    world.end_pod("Succeeded")
    world.at += timedelta(seconds=5)
    world.step()
    assert world.conditions() == {"Complete": "CompletionsReached"}
    assert world.status["completionTime"] == "2026-03-01T12:00:35Z"
    assert (world.status["succeeded"], world.status["active"]) == (1, 0)


def test_a_failed_pod_is_replaced_after_a_pause_up_to_the_limit() -> None:
    world = World()
    world.job(backoffLimit=1)
    world.step()
    world.end_pod("Failed")
    pause = world.step()
    assert pause is not None
    assert 0 < pause <= 1
    assert len(world.pods()) == 1
    world.at += timedelta(seconds=1)
    world.step()
    assert len(world.pods()) == 2
    world.end_pod("Failed")
    world.step()
    assert world.conditions() == {"Failed": "BackoffLimitExceeded"}
    assert world.status["failed"] == 2
    assert messages(world.registry, "BackoffLimitExceeded") == ["Job has reached the specified backoff limit"]


def test_a_deadline_ends_the_pods_too() -> None:
    world = World()
    world.job(activeDeadlineSeconds=10)
    assert world.step() == 10
    world.at += timedelta(seconds=10)
    world.step()
    assert world.conditions() == {"Failed": "DeadlineExceeded"}
    assert world.pods() == []


def test_what_is_over_stays_over() -> None:
    world = World()
    world.job()
    world.step()
    world.end_pod("Succeeded")
    world.step()
    world.registry.delete(PODS, NAMESPACE, name_of(world.pods()[0]))
    world.step()
    assert world.pods() == []
    assert world.conditions() == {"Complete": "CompletionsReached"}


def test_suspension_ends_the_pods_and_resumption_starts_anew() -> None:
    world = World()
    world.job(suspend=True)
    world.step()
    assert world.pods() == []
    assert world.conditions() == {"Suspended": "JobSuspended"}
    world.registry.modify(
        JOBS, (NAMESPACE, "job"), lambda obj: obj | {"spec": obj["spec"] | {"suspend": False}}
    )
    world.step()
    assert len(world.pods()) == 1
    assert world.conditions() == {}


def test_a_finished_job_goes_after_its_time() -> None:
    world = World()
    world.job(ttlSecondsAfterFinished=60)
    world.step()
    world.end_pod("Succeeded")
    world.step()
    assert world.step() == 60
    world.at += timedelta(seconds=60)
    world.step()
    assert "deletionTimestamp" in world.registry.get(JOBS, NAMESPACE, "job")["metadata"]


def test_a_scheduled_time_makes_one_job() -> None:
    world = World()
    world.cron_job("*/5 * * * *")
    assert world.tick() == 270
    assert world.job_names() == []
    world.tick(datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    world.tick()
    job = world.registry.list(JOBS)[0][0]
    assert name_of(job) == f"cron-{int(world.at.timestamp()) // 60}"
    scheduled = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    assert scheduled == "2026-03-01T12:05:00Z"
    status = world.registry.get(CRON_JOBS, NAMESPACE, "cron")["status"]
    assert (status["lastScheduleTime"], status["active"][0]["name"]) == (scheduled, name_of(job))


def test_of_missed_times_only_the_last_is_made_up_for() -> None:
    world = World()
    world.cron_job("*/5 * * * *")
    world.tick(START + timedelta(hours=1))
    assert len(world.job_names()) == 1


def test_too_late_is_not_started_and_said() -> None:
    world = World()
    world.cron_job("*/5 * * * *", startingDeadlineSeconds=10)
    world.tick(datetime(2026, 3, 1, 12, 5, 11, tzinfo=UTC))
    assert world.job_names() == []
    assert messages(world.registry, "MissSchedule")


@pytest.mark.parametrize(("policy", "left"), [("Allow", 2), ("Forbid", 1), ("Replace", 1)])
def test_concurrency(policy: str, left: int) -> None:
    world = World()
    world.cron_job("*/5 * * * *", concurrencyPolicy=policy)
    world.tick(datetime(2026, 3, 1, 12, 5, tzinfo=UTC))
    first = world.job_names()
    world.tick(datetime(2026, 3, 1, 12, 10, tzinfo=UTC))
    assert len(world.job_names()) == left
    assert (first[0] in world.job_names()) is (policy != "Replace")


def test_suspended_means_nothing_is_started() -> None:
    world = World()
    world.cron_job("*/5 * * * *", suspend=True)
    assert world.tick(datetime(2026, 3, 1, 12, 5, tzinfo=UTC)) is None
    assert world.job_names() == []


def test_history_keeps_the_newest() -> None:
    world = World()
    world.cron_job("*/5 * * * *", successfulJobsHistoryLimit=1, failedJobsHistoryLimit=1)
    for minute, condition in ((5, "Complete"), (10, "Failed"), (15, "Complete"), (20, "Failed")):
        world.tick(datetime(2026, 3, 1, 12, minute, tzinfo=UTC))
        newest = max(world.job_names())
        world.end_job(newest, condition)
    world.tick()
    epoch = int(START.timestamp()) // 60
    assert world.job_names() == [f"cron-{epoch + 15}", f"cron-{epoch + 20}"]
    status = world.registry.get(CRON_JOBS, NAMESPACE, "cron")["status"]
    assert status["lastSuccessfulTime"] == "2026-03-01T12:15:00Z"


def test_a_time_zone_moves_the_schedule() -> None:
    due, following = schedule_around("0 2 * * *", "Europe/Berlin", datetime(2026, 7, 1, 0, 0, tzinfo=UTC))
    assert (due, following) == (datetime(2026, 7, 1, 0, tzinfo=UTC), datetime(2026, 7, 2, 0, tzinfo=UTC))
