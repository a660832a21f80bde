"""The CronJob of a scheduled backup.

Guarantee: the same object for batch/v1 and batch/v1beta1 but for its version, with only fields that
both know from Kubernetes 1.19 on; runs never overlap; ``suspend`` really suspends.

Non-guarantee: ``timeZone`` exists from 1.25 on only, and a server that does not know it refuses a
server-side apply with it; schedules run in the controller manager's zone then, which is UTC unless
somebody changed it.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.resources import labels, names
from controller.resources.hashing import with_spec_hash
from controller.resources.job import RunnerPod, build_job_spec
from controller.resources.ownership import metadata
from controller.wire.messages import RunSpec

STARTING_DEADLINE_SECONDS = 3600
"""A start that was missed (controller down) is made up for within the hour. Without a deadline a
CronJob that missed more than a hundred starts never runs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the CronJob fires, and in which version of the API it is written."""

    expression: str
    suspend: bool = False
    api_version: str = "batch/v1"
    time_zone: str = ""
    """``Etc/UTC`` where the server knows the field (1.25+), else empty."""


def build_cron_job(backup: Neo4jBackup, schedule: Schedule, run: RunSpec, pod: RunnerPod) -> JsonObject:
    """The CronJob ``<name>-backup-cron``."""
    spec: JsonObject = {
        "schedule": schedule.expression,
        "suspend": schedule.suspend,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": STARTING_DEADLINE_SECONDS,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 3,
        "jobTemplate": {
            "metadata": {
                "labels": labels.for_backup(backup, {labels.GENERATION: str(run.generation)}),
            },
            "spec": build_job_spec(backup, run, pod),
        },
    }
    if schedule.time_zone:
        spec["timeZone"] = schedule.time_zone
    return with_spec_hash(
        {
            "apiVersion": schedule.api_version,
            "kind": "CronJob",
            "metadata": metadata(backup, names.cron_job(backup.name)),
            "spec": spec,
        }
    )
