"""What a run's Job, pods and Events mean, in one line and one word."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from controller.api import objects
from controller.plan.causes import Warned, result_of
from controller.plan.observed import Attempt, RunSeen, Unknown
from controller.plan.runs import Run, progress_in, read_run, read_runs
from controller.wire.messages import Outcome, Progress, RunResult, encode
from tests.property.plan.world import slim

MOMENT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def a_job(**status: Any) -> objects.Job:
    owner = {"kind": "Neo4jBackup", "name": "nightly", "uid": "me", "controller": True}
    metadata = {"name": "nightly-backup", "namespace": "prod", "uid": "run-1", "ownerReferences": [owner]}
    return slim({"metadata": metadata, "status": status}, objects.Job)


def finished(kind: str, reason: str = "", message: str = "") -> objects.Job:
    condition = {"type": kind, "status": "True", "reason": reason, "message": message}
    return a_job(conditions=[condition], failed=2)


def a_pod(state: dict[str, Any] | None = None, name: str = "pod-1", **status: Any) -> objects.Pod:
    if state is not None:
        status["containerStatuses"] = [{"name": "backup", "image": "operator:1", "state": state}]
    metadata = {"name": name, "namespace": "prod", "creationTimestamp": f"2026-03-01T12:00:0{name[-1]}Z"}
    return slim({"metadata": metadata, "spec": {"nodeName": "node1"}, "status": status}, objects.Pod)


def read(job: objects.Job, *pods: objects.Pod, events: tuple[Warned, ...] = ()) -> Run:
    return read_run(RunSeen(job, tuple(Attempt(pod, events) for pod in pods), events), "me")


def a_result(outcome: Outcome = Outcome.SUCCEEDED, **more: Any) -> RunResult:
    return RunResult(run_id="run-1", outcome=outcome, started=MOMENT, finished=MOMENT, **more)


def ended(code: int = 1, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "message": message, "reason": reason}}


# --- how it went -------------------------------------------------------------------------------


def test_failed_pods_are_attempts_and_only_a_condition_of_the_job_ends_it() -> None:
    run = read(a_job(failed=1, active=0), a_pod(ended(1, "boom")))
    assert run.state == "Running"
    assert run.cause is not None
    assert "boom" in run.cause.message


def test_a_retry_that_succeeded_is_a_success() -> None:
    good = encode(a_result()).decode()
    run = read(finished("Complete"), a_pod(ended(137), "pod-1"), a_pod(ended(0, good), "pod-2"))
    assert run.state == "Completed"
    assert run.result is not None


def test_a_second_attempt_that_waits_is_still_running() -> None:
    run = read(a_job(), a_pod(ended(1), "pod-1"), a_pod(name="pod-2", phase="Pending"))
    assert run.state == "Running"


def test_a_good_job_whose_pod_is_gone_is_good() -> None:
    run = read(finished("Complete"))
    assert (run.state, run.result) == ("Completed", None)


def test_a_finished_job_whose_pods_could_not_be_read_is_not_settled() -> None:
    run = read_run(RunSeen(finished("Complete"), Unknown("the API server was busy")), "me")
    assert run.is_active
    assert run.cause is not None
    assert run.cause.reason == "CouldNotLook"


def test_exit_code_zero_with_a_failed_result_is_a_failure() -> None:
    bad = encode(a_result(Outcome.PARTIALLY_SUCCEEDED, error="orders is missing")).decode()
    run = read(finished("Complete"), a_pod(ended(0, bad)))
    assert run.state == "Failed"
    assert run.cause is not None
    assert run.cause.message == "orders is missing"


def test_a_job_of_the_cron_job_is_known_as_scheduled() -> None:
    assert read_run(RunSeen(a_job()), "the CronJob is somebody else").scheduled
    assert not read_run(RunSeen(a_job()), "me").scheduled


def test_runs_are_newest_first() -> None:
    old = slim({"metadata": {"name": "a", "creationTimestamp": "2026-03-01T00:00:00Z"}}, objects.Job)
    new = slim({"metadata": {"name": "b", "creationTimestamp": "2026-03-02T00:00:00Z"}}, objects.Job)
    assert [run.job.name for run in read_runs([RunSeen(old), RunSeen(new)], "me")] == ["b", "a"]


# --- why it failed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pod", "reason", "text"),
    [
        (a_pod(ended(137, reason="OOMKilled")), "OOMKilled", "more memory than its limit"),
        (a_pod(reason="Evicted", message="low on ephemeral-storage", phase="Failed"), "Evicted", "ephemeral"),
        (a_pod(ended(3, "first line\nlast line")), "RunnerFailed", "exit code 3: last line"),
        (a_pod(phase="Failed", message="node lost"), "PodFailed", "node lost"),
    ],
)
def test_a_failed_job_has_its_pods_cause(pod: objects.Pod, reason: str, text: str) -> None:
    run = read(finished("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"), pod)
    assert run.cause is not None
    assert run.cause.reason == reason
    assert text in run.cause.message
    assert "\n" not in run.cause.message


def test_the_runners_own_words_win_over_everything_else() -> None:
    result = a_result(Outcome.FAILED, error="access denied to s3://b", error_reason="AccessDenied")
    run = read(finished("Failed", "BackoffLimitExceeded"), a_pod(ended(1, encode(result).decode())))
    assert run.cause is not None
    assert (run.cause.reason, run.cause.message) == ("AccessDenied", "access denied to s3://b")


def test_a_runner_that_was_told_to_stop_says_by_whom() -> None:
    result = a_result(Outcome.FAILED, error="the pod was told to stop", error_reason="Interrupted")
    state, message = ended(1, encode(result).decode()), "Eviction API: evicting for the drain of node1"
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": message,
    }
    for pod, reason, text in (
        (a_pod(state, conditions=[condition]), "EvictionByEvictionAPI", message),
        (a_pod(state, conditions=[condition | {"status": "False"}]), "Interrupted", "told to stop"),
        (a_pod(state), "Interrupted", "told to stop"),
    ):
        run = read(finished("Failed", "BackoffLimitExceeded"), pod)
        assert run.cause is not None
        assert run.cause.reason == reason
        assert text in run.cause.message


def test_a_deadline_is_named_as_such() -> None:
    run = read(finished("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))
    assert run.cause is not None
    assert run.cause.reason == "DeadlineExceeded"


def test_a_failed_job_without_any_pod_left_still_has_a_reason() -> None:
    run = read(finished("Failed"))
    assert run.cause is not None
    assert run.cause.message


def test_only_a_missing_bucket_is_waited_for() -> None:
    def failed_for(reason: str) -> Run:
        result = a_result(Outcome.FAILED, error="no", error_reason=reason)
        return read(finished("Failed"), a_pod(ended(1, encode(result).decode())))

    assert failed_for("NoSuchBucket").waits_for_user
    assert not failed_for("AccessDenied").waits_for_user


# --- why it does not start -------------------------------------------------------------------------


def pending(reason: str, message: str = "", image: str = "") -> objects.Pod:
    return a_pod({"waiting": {"reason": reason, "message": message}}, phase="Pending")


def test_an_unschedulable_pod_says_what_the_scheduler_says() -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    run = read(a_job(), a_pod(phase="Pending", conditions=[condition]))
    assert run.state == "Waiting"
    assert run.cause is not None
    assert run.cause.reason == "Unschedulable"
    assert "0/3 nodes" in run.cause.message


def test_an_image_that_cannot_be_pulled_is_named() -> None:
    run = read(a_job(), pending("ImagePullBackOff", "Back-off pulling image"))
    assert run.cause is not None
    assert run.cause.reason == "ImagePullBackOff"
    assert "operator:1" in run.cause.message


def test_a_missing_secret_is_told_by_the_pods_events() -> None:
    event = Warned(reason="FailedMount", message='MountVolume.SetUp failed: secret "s3-keys" not found')
    other = Warned(reason="BackOff", message="irrelevant")
    run = read(a_job(), pending("ContainerCreating"), events=(other, event))
    assert run.cause is not None
    assert run.cause.reason == "FailedMount"
    assert "s3-keys" in run.cause.message


def test_a_denied_pod_is_told_by_the_jobs_events() -> None:
    event = Warned(reason="FailedCreate", message="pods is forbidden: exceeded quota")
    run = read(a_job(), events=(event,))
    assert run.cause is not None
    assert "exceeded quota" in run.cause.message


def test_events_that_could_not_be_read_cost_detail_only() -> None:
    seen = RunSeen(a_job(), (Attempt(pending("ContainerCreating"), Unknown("forbidden")),), Unknown("no"))
    run = read_run(seen, "me")
    assert run.state == "Waiting"
    assert run.cause is not None
    assert run.cause.reason == "PodStarting"


# --- what the runner says ----------------------------------------------------------------------------


def test_the_result_is_read_from_the_last_log_line_too() -> None:
    line = f"2026-03-01 info result {encode(a_result()).decode()}"
    assert result_of(a_pod(ended(0, f"first\n{line}"))) == a_result()


@pytest.mark.parametrize(
    "message",
    ["", "{", "panic: {", "x result {broken", '{"other": 1}', "x result {", '{"x":' + "[" * 100_000],
)
def test_a_message_that_is_no_result_is_none(message: str) -> None:
    assert result_of(a_pod(ended(1, message))) is None


def test_the_newest_progress_line_counts_and_a_cut_one_is_skipped() -> None:
    first = Progress(run_id="run-1", phase="Dumping", bytes_done=1)
    second = Progress(run_id="run-1", phase="Uploading", bytes_done=2)
    lines = [f"x progress {encode(item).decode()}" for item in (first, second)]
    assert progress_in("\n".join([*lines, 'x progress {"runId": "run', "other"])) == second
    assert progress_in("nothing of interest") is None
