"""What a user reads in status: phases, conditions, numbers, history, progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from controller.api.status import BackupRun, Phase
from controller.plan import history, text
from controller.plan.observed import Attempt, RunSeen, Unknown
from controller.plan.plan import plan
from controller.plan.schedule import next_run
from controller.wire.messages import Outcome, Progress, SavedDatabase
from tests.property.plan.world import NAMESPACE, START, World

S3 = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}}
SPEC: dict[str, Any] = {"target": {"kind": "Cluster", "name": "graph"}, "storage": S3}
NIGHTLY = SPEC | {"schedule": "0 2 * * *"}


def a_world(spec: dict[str, Any] = SPEC) -> World:
    world = World(spec=spec)
    world.cluster("graph", servers=1)
    return world


def ready(world: World) -> tuple[str, str]:
    condition = world.status.condition_set.get("Ready")
    assert condition is not None
    return condition.status, condition.reason


def running(world: World) -> World:
    for _ in range(12):
        world.round()
        if world.status.phase is Phase.RUNNING:
            return world
        world.tick()
    raise AssertionError(world.status.message)


def test_a_good_run_fills_stats_history_and_says_where_the_data_came_from() -> None:
    world = a_world()
    world.run_to_rest()
    status = world.status
    assert (status.phase, ready(world)) == (Phase.COMPLETED, ("True", "Completed"))
    assert status.stats is not None
    assert (status.stats.size, status.stats.duration, status.stats.file_count) == ("2.0Ki", "1m0s", 1)
    assert status.stats.throughput == "34/s"
    (entry,) = status.history
    assert (entry.status, entry.outcome, entry.databases) == ("Completed", "Succeeded", ("neo4j",))
    assert entry.source == "graph-server-2 (secondary)"
    assert "graph-server-2 (secondary)" in (status.message or "")
    assert status.last_success_time == entry.completion_time
    assert status.observed_generation == 1


def test_a_missing_secret_makes_the_storage_not_ready_until_it_comes() -> None:
    world = a_world()
    world.mount_trouble = (
        'MountVolume.SetUp failed for volume "storage-credentials" : secret "keys" not found'
    )
    for _ in range(6):
        world.round()
        world.tick()
    storage = world.status.condition_set.get("StorageReady")
    assert storage is not None
    assert (storage.status, storage.reason) == ("False", "FailedMount")
    assert 'secret "keys" not found' in storage.message
    world.mount_trouble = ""
    world.run_to_rest()
    storage = world.status.condition_set.get("StorageReady")
    assert storage is not None
    assert storage.status == "True"


def test_a_failed_run_is_failed_with_its_cause_in_one_line() -> None:
    world = a_world()
    world.outcome = Outcome.FAILED
    world.run_to_rest()
    assert (world.status.phase, ready(world)) == (Phase.FAILED, ("False", "LastRunFailed"))
    assert "it went wrong" in (world.status.message or "")
    assert world.status.history[0].error == "it went wrong"
    assert world.status.last_success_time is None


def test_a_scheduled_backup_whose_last_run_failed_is_not_ready_and_recovers() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    assert ready(world) == ("True", "Scheduled")
    world.outcome = Outcome.FAILED
    world.fire()
    world.run_to_rest()
    assert (world.status.phase, ready(world)) == (Phase.SCHEDULED, ("False", "LastRunFailed"))
    world.outcome = Outcome.SUCCEEDED
    world.fire()
    world.run_to_rest()
    assert ready(world) == ("True", "Scheduled")
    assert [entry.status for entry in world.status.history] == ["Completed", "Failed"]


def test_warnings_of_a_good_run_are_told() -> None:
    world = a_world()
    world.outcome = Outcome.SUCCEEDED_WITH_WARNINGS
    world.run_to_rest()
    assert world.status.history[0].outcome == "SucceededWithWarnings"
    assert world.status.phase is Phase.COMPLETED


VERIFYING = SPEC | {"options": {"verifyBackup": True}}


def verified(world: World) -> tuple[str, str] | None:
    condition = world.status.condition_set.get("Verified")
    return (condition.status, condition.reason) if condition else None


def test_verification_is_told_where_it_is_asked_for_and_only_there() -> None:
    world = a_world(VERIFYING)
    world.verified = True
    world.round()
    assert verified(world) == ("Unknown", "NotVerified")
    world.run_to_rest()
    assert verified(world) == ("True", "StoredObjects")
    assert world.status.history[0].verified is True
    world.spec, world.generation = SPEC, 2
    world.run_to_rest()
    assert verified(world) is None


def test_a_failed_verification_is_a_failed_backup_in_every_report() -> None:
    world = a_world(VERIFYING)
    world.verified, world.outcome, world.error_reason = False, Outcome.FAILED, "VerificationFailed"
    world.run_to_rest()
    assert verified(world) == ("False", "VerificationFailed")
    assert world.status.phase is Phase.FAILED
    assert ready(world)[0] == "False"
    assert (world.status.history[0].verified, world.status.history[0].status) == (False, "Failed")
    assert world.status.last_success_time is None


def test_the_job_and_its_history_appear_before_the_run_ends() -> None:
    world = running(a_world())
    assert [entry.status for entry in world.status.history] == ["Running"]
    assert world.status.answered == "1/"
    assert world.status.condition_set.is_true("JobCreated")
    assert ready(world)[0] == "False"


def test_while_it_runs_it_is_looked_at_again_soon() -> None:
    world = running(a_world())
    planned = world.round()
    assert planned.requeue_after is not None
    assert planned.requeue_after <= 5


def with_progress(world: World, progress: Progress | None) -> Any:
    observed = world.observe()
    assert not isinstance(observed.runs, Unknown)
    (run,) = observed.runs
    assert not isinstance(run.attempts, Unknown)
    (attempt,) = run.attempts
    return replace(observed, runs=(RunSeen(run.job, (Attempt(attempt.pod, (), progress),)),))


def job_uid(world: World) -> str:
    runs = world.observe().runs
    assert not isinstance(runs, Unknown)
    return runs[0].job.uid


def test_progress_is_shown_kept_when_the_log_is_unreadable_and_gone_at_the_end() -> None:
    world = running(a_world())
    run = job_uid(world)
    said = Progress(
        run_id=run, phase="Uploading", bytes_done=512, bytes_total=2048, bytes_per_second=1024, seconds_left=2
    )
    after = plan(with_progress(world, said), world.now).status
    assert after is not None
    assert after.progress is not None
    assert (after.progress.percent, after.progress.throughput) == (25, "1.0Ki/s")
    assert after.progress.remaining == "2s"
    world.status = after
    kept = plan(with_progress(world, None), world.now + timedelta(seconds=5)).status
    assert kept is not None
    assert kept.progress == after.progress
    assert kept.message == "Job nightly-backup was last seen uploading"
    world.run_to_rest()
    assert world.status.progress is None


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            Progress(
                run_id="r",
                phase="Dumping",
                database="orders",
                databases_done=1,
                databases_total=4,
                bytes_done=3 * 2**20,
                bytes_per_second=2**20,
                message="graph-server-3: receiving",
            ),
            "dumping orders: 3.0Mi at 1.0Mi/s, 1 of 4 databases done (graph-server-3: receiving)",
        ),
        (
            Progress(run_id="r", phase="Uploading", database="neo4j", bytes_done=512, bytes_total=2048),
            "uploading neo4j: 512 of 2.0Ki",
        ),
        (
            Progress(
                run_id="r",
                phase="Uploading",
                bytes_done=512,
                bytes_total=2048,
                bytes_per_second=10,
                seconds_left=154,
            ),
            "uploading: 512 of 2.0Ki at 10/s, about 2m34s left",
        ),
        (
            Progress(run_id="r", phase="Resolving", message="looking at s3://b"),
            "resolving: looking at s3://b",
        ),
        (Progress(run_id="r", phase="Pruning"), "pruning"),
    ],
)
def test_the_message_says_how_far_the_run_is(said: Progress, line: str) -> None:
    world = running(a_world())
    after = plan(with_progress(world, said), world.now).status
    assert after is not None
    assert after.message == line


def test_a_run_whose_job_vanished_is_failed_and_says_where_to_look() -> None:
    world = running(a_world())
    world.stored = {key: item for key, item in world.stored.items() if key[0] != "jobs"}
    world.round()
    assert world.status.phase is Phase.FAILED
    assert "disappeared" in (world.status.history[0].error or "")


def test_a_run_that_could_not_be_looked_at_stays_as_it_was() -> None:
    world = running(a_world())
    planned = plan(replace(world.observe(), runs=Unknown("jobs were not read yet")), world.now)
    assert planned.status is not None
    assert planned.status.phase is Phase.RUNNING
    assert planned.status.history == world.status.history
    condition = planned.status.condition_set.get("Ready")
    assert condition is not None
    assert (condition.status, condition.message) == ("Unknown", "jobs were not read yet")


def test_transition_times_move_only_when_a_status_flips() -> None:
    world = a_world()
    world.run_to_rest()
    before = world.status.condition_set.get("Ready")
    world.now += timedelta(hours=1)
    world.round()
    assert world.status.condition_set.get("Ready") == before


def test_the_next_run_is_told_only_when_there_will_be_one() -> None:
    world = World(spec=NIGHTLY)
    world.round()
    assert world.status.next_run_time is None
    world.cluster("graph", servers=1)
    world.run_to_rest()
    assert world.status.next_run_time == datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def test_the_next_look_is_right_after_the_next_run_is_due() -> None:
    world = a_world(NIGHTLY)
    planned = world.run_to_rest()
    due = world.status.next_run_time
    assert due is not None
    assert planned.requeue_after is not None
    assert timedelta(0) < world.now + timedelta(seconds=planned.requeue_after) - due < timedelta(minutes=1)


def test_an_event_is_told_once_for_each_thing_that_lasts() -> None:
    world = a_world()
    world.run_to_rest()
    reasons = [event.reason for event in world.events]
    assert reasons.count("Completed") == 1
    assert "PodStarting" not in reasons
    assert "PodNotCreated" not in reasons


def test_a_failure_is_a_warning_event() -> None:
    world = a_world()
    world.outcome = Outcome.FAILED
    world.run_to_rest()
    (failed,) = [event for event in world.events if event.reason == "Failed"]
    assert failed.type == "Warning"


def test_history_keeps_the_last_ten() -> None:
    before = [
        BackupRun(run_id=f"r{number}", start_time=START + timedelta(hours=number), status="Completed")
        for number in range(14)
    ]
    kept = history.merged(before, (), START)
    assert [entry.run_id for entry in kept] == [f"r{number}" for number in range(13, 3, -1)]


def test_sources_name_each_server_once_with_its_roles() -> None:
    saved = [
        SavedDatabase(name="a", server="s1", role="secondary", artifact="x"),
        SavedDatabase(name="b", server="s1", role="primary", artifact="x"),
        SavedDatabase(name="c", server="s0", artifact="x"),
        SavedDatabase(name="d", server="s9", role="primary", error="no artifact"),
    ]
    assert history.sources(saved) == "s0, s1 (primary/secondary)"


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("0 2 * * *", datetime(2026, 3, 2, 2, 0, tzinfo=UTC)),
        ("@hourly", datetime(2026, 3, 1, 13, 0, tzinfo=UTC)),
        ("0 2 ? * MON", datetime(2026, 3, 2, 2, 0, tzinfo=UTC)),
    ],
)
def test_the_next_run_is_in_utc(expression: str, due: datetime) -> None:
    assert next_run(expression, START) == due


def test_a_date_that_never_comes_has_no_next_run() -> None:
    assert next_run("0 0 31 2 *", START) is None


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0"), (1023, "1023"), (1536, "1.5Ki"), (5 * 1024**3, "5.0Gi"), (2**60, "1024.0Pi")],
)
def test_sizes(count: int, shown: str) -> None:
    assert text.size(count) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(0.2, "0s"), (59.6, "1m0s"), (3725, "1h2m5s")])
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_messages_are_one_line() -> None:
    assert text.one_line("a\n b\t c") == "a b c"
    assert len(text.one_line("x" * 1000)) == 400
    assert NAMESPACE in text.listed([NAMESPACE, *map(str, range(20))])
    assert text.listed(list("abcdefghijk")).endswith("and 3 more")
