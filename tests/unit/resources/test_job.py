"""Job and CronJob: the runner's environment, the restricted profile, and fields that old servers know."""

from __future__ import annotations

import msgspec
import pytest

from controller.api.model import JsonObject
from controller.api.objects import CronJob
from controller.resources import labels
from controller.resources.cronjob import Schedule, build_cron_job
from controller.resources.hashing import is_current
from controller.resources.job import RunnerPod, build_job
from controller.wire import locations
from controller.wire.messages import RunSpec
from tests.unit.resources.builders import a_backup, a_run

POD = RunnerPod(image="operator:1", claim="backups", credentials_secret="keys", image_pull_secrets=("pull",))


def job(pod: RunnerPod = POD) -> JsonObject:
    return build_job(a_backup(), "nightly-backup", a_run(), pod, {labels.RUN_NOW: "again"})


def pod_spec(manifest: JsonObject) -> JsonObject:
    spec: JsonObject = manifest["spec"]["template"]["spec"]
    return spec


def container(manifest: JsonObject) -> JsonObject:
    (only,) = pod_spec(manifest)["containers"]
    found: JsonObject = only
    return found


def environment(manifest: JsonObject) -> dict[str, JsonObject]:
    return {entry["name"]: entry for entry in container(manifest)["env"]}


def test_the_runner_is_told_what_to_do() -> None:
    text = environment(job())["BACKUP_RUN"]["value"]
    assert msgspec.json.decode(text, type=RunSpec) == a_run()
    assert container(job())["args"] == ["runner"]
    assert container(job())["name"] == locations.RUNNER_CONTAINER
    assert container(job())["image"] == "operator:1"


def test_a_retried_pod_is_the_same_run() -> None:
    source = environment(job())["BACKUP_RUN_ID"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert source == "metadata.labels['controller-uid']"


def test_it_fits_the_restricted_profile() -> None:
    security = pod_spec(job())["securityContext"]
    assert security["runAsNonRoot"] is True
    assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {7474}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(job())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_what_may_be_written_is_the_claim_and_tmp() -> None:
    mounts = {item["mountPath"]: item for item in container(job())["volumeMounts"]}
    assert set(mounts) == {"/tmp", "/backup", "/etc/neo4j-backup/storage-credentials"}
    assert mounts["/etc/neo4j-backup/storage-credentials"]["readOnly"] is True
    volumes = {item["name"]: item for item in pod_spec(job())["volumes"]}
    assert volumes["repository"]["persistentVolumeClaim"] == {"claimName": "backups"}
    assert volumes["storage-credentials"]["secret"]["secretName"] == "keys"
    assert {item["name"] for item in container(job())["volumeMounts"]} == set(volumes)


def test_the_keys_of_encryption_are_mounted_to_be_read_by_their_owner_only() -> None:
    encrypting = job(RunnerPod(image="operator:1", key_secret="keys-of-backups"))
    [mount] = [one for one in container(encrypting)["volumeMounts"] if one["name"] == "encryption-keys"]
    assert mount == {
        "name": "encryption-keys",
        "mountPath": "/etc/neo4j-backup/encryption-keys",
        "readOnly": True,
    }
    [volume] = [one for one in pod_spec(encrypting)["volumes"] if one["name"] == "encryption-keys"]
    assert volume["secret"] == {"secretName": "keys-of-backups", "defaultMode": 0o440}


def test_nothing_is_mounted_that_is_not_needed() -> None:
    bare = job(RunnerPod(image="operator:1"))
    assert [item["mountPath"] for item in container(bare)["volumeMounts"]] == ["/tmp"]
    assert "imagePullSecrets" not in pod_spec(bare)
    assert pod_spec(job())["imagePullSecrets"] == [{"name": "pull"}]


def test_a_job_ends_by_its_own_outcome_and_stays_to_be_read() -> None:
    spec = job()["spec"]
    assert "activeDeadlineSeconds" not in spec
    assert "ttlSecondsAfterFinished" not in spec
    assert spec["backoffLimit"] <= 3
    assert pod_spec(job())["restartPolicy"] == "Never"
    assert container(job())["terminationMessagePath"] == "/dev/termination-log"


def test_it_belongs_to_the_backup() -> None:
    meta = job()["metadata"]
    (owner,) = meta["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == ("uid-1", True)
    assert meta["annotations"] == {labels.RUN_NOW: "again"}
    assert meta["labels"][labels.BACKUP_UID] == "uid-1"
    assert meta["labels"][labels.GENERATION] == "3"
    assert labels.for_backup(a_backup()).items() <= job()["spec"]["template"]["metadata"]["labels"].items()


def cron_job(schedule: Schedule) -> JsonObject:
    return build_cron_job(a_backup(), schedule, a_run(), POD)


@pytest.mark.parametrize("version", ["batch/v1", "batch/v1beta1"])
def test_the_cron_job_is_the_same_in_both_versions(version: str) -> None:
    manifest = cron_job(Schedule(expression="0 2 * * *", api_version=version))
    assert manifest["apiVersion"] == version
    assert manifest["metadata"]["name"] == "nightly-backup-cron"
    known = {
        "schedule",
        "suspend",
        "concurrencyPolicy",
        "startingDeadlineSeconds",
        "successfulJobsHistoryLimit",
        "failedJobsHistoryLimit",
        "jobTemplate",
    }
    assert set(manifest["spec"]) == known


def test_runs_do_not_overlap_and_a_missed_one_is_made_up_for() -> None:
    spec = cron_job(Schedule(expression="0 2 * * *"))["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    assert spec["startingDeadlineSeconds"] > 0


def test_suspend_reaches_kubernetes() -> None:
    assert cron_job(Schedule(expression="@daily", suspend=True))["spec"]["suspend"] is True


def test_the_zone_is_named_only_where_it_is_known() -> None:
    assert cron_job(Schedule(expression="@daily", time_zone="Etc/UTC"))["spec"]["timeZone"] == "Etc/UTC"


def test_its_jobs_do_what_a_one_shot_does_and_can_be_found() -> None:
    template = cron_job(Schedule(expression="@daily"))["spec"]["jobTemplate"]
    assert template["spec"] == job()["spec"]
    assert template["metadata"]["labels"][labels.BACKUP_UID] == "uid-1"


def test_a_change_of_the_schedule_is_noticed_and_defaults_are_not() -> None:
    before = cron_job(Schedule(expression="@daily"))
    live = before | {"spec": before["spec"] | {"defaulted": True}}
    existing = msgspec.convert(live, type=CronJob)
    assert is_current(existing, before)
    assert not is_current(existing, cron_job(Schedule(expression="@weekly")))
    assert not is_current(existing, cron_job(Schedule(expression="@daily", suspend=True)))
    assert not is_current(CronJob(), before)
