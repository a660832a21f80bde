"""When a run is made that no schedule asks for, and that it is made once."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

from controller.api.status import Phase
from controller.plan.changes import Create
from controller.plan.plan import plan
from controller.wire.messages import Outcome
from tests.property.plan.world import NAMESPACE, World

SPEC: dict[str, Any] = {
    "target": {"kind": "Cluster", "name": "graph"},
    "storage": {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}},
}
RUN_NOW = "backup.neo4j.com/run-now"


def a_world(**spec: Any) -> World:
    world = World(spec=SPEC | spec)
    world.cluster("graph", servers=1)
    return world


def test_the_first_job_has_the_documented_name() -> None:
    world = a_world()
    world.run_to_rest()
    assert world.made_jobs == ["nightly-backup"]


def test_a_one_shot_runs_once_even_when_its_job_is_deleted_afterwards() -> None:
    world = a_world()
    world.run_to_rest()
    del world.stored["jobs", NAMESPACE, "nightly-backup"]
    world.run_to_rest()
    assert world.made_jobs == ["nightly-backup"]
    assert world.status.phase is Phase.COMPLETED


def test_a_one_shot_runs_again_for_a_new_generation_beside_the_old_job() -> None:
    world = a_world()
    world.run_to_rest()
    world.generation = 2
    world.run_to_rest()
    assert len(set(world.made_jobs)) == 2
    assert len(world.status.history) == 2


def test_a_new_value_of_run_now_asks_for_one_more_run() -> None:
    world = a_world()
    world.run_to_rest()
    for value, runs in (("a", 2), ("a", 2), ("b", 3)):
        world.annotations[RUN_NOW] = value
        world.run_to_rest()
        assert len(world.made_jobs) == runs
    del world.annotations[RUN_NOW]
    world.run_to_rest()
    assert len(world.made_jobs) == 3


def test_run_now_on_a_schedule_that_is_suspended_runs_and_leaves_it_suspended() -> None:
    world = a_world(schedule="0 2 * * *", suspend=True)
    world.annotations[RUN_NOW] = "x"
    world.run_to_rest()
    assert len(world.made_jobs) == 1
    assert world.status.phase is Phase.SUSPENDED


def test_a_scheduled_backup_makes_no_run_of_its_own() -> None:
    world = a_world(schedule="0 2 * * *")
    world.run_to_rest()
    assert world.made_jobs == []
    assert world.status.phase is Phase.SCHEDULED


def test_deleting_the_newer_job_does_not_bring_its_run_back() -> None:
    world = a_world()
    world.run_to_rest()
    world.annotations[RUN_NOW] = "x"
    world.run_to_rest()
    del world.stored["jobs", NAMESPACE, world.made_jobs[-1]]
    world.run_to_rest()
    assert len(world.made_jobs) == 2


def test_a_second_request_waits_for_the_first_run_to_end() -> None:
    world = a_world()
    for _ in range(5):
        world.round()
        world.tick()
    world.annotations[RUN_NOW] = "x"
    world.generation = 2
    if world.observe().runs:
        active = [job for job in world.all("jobs") if not job.get("status", {}).get("conditions")]
        assert len(active) <= 1
    world.run_to_rest()
    assert len(world.made_jobs) == 2


def test_a_long_value_of_run_now_still_makes_one_run() -> None:
    world = a_world()
    world.annotations[RUN_NOW] = "y" * 5000
    world.run_to_rest()
    assert world.made_jobs == ["nightly-backup"]
    assert len(world.status.answered or "") < 100


def test_only_the_newest_finished_jobs_are_kept_and_history_has_them_all() -> None:
    world = a_world()
    for value in range(6):
        world.annotations[RUN_NOW] = str(value)
        world.run_to_rest()
    assert len(world.made_jobs) == 6
    assert len(world.all("jobs")) == 3
    assert len(world.status.history) == 6


def waiting_for_a_bucket() -> World:
    world = a_world()
    world.outcome, world.error_reason = Outcome.FAILED, "NoSuchBucket"
    for _ in range(8):
        world.round()
        world.tick()
        if any(job.get("status", {}).get("conditions") for job in world.all("jobs")):
            break
    return world


def test_a_missing_bucket_is_waited_for_in_sight_and_found_without_being_asked() -> None:
    world = waiting_for_a_bucket()
    world.round()
    assert world.status.phase is Phase.PENDING
    storage = world.status.condition_set.get("StorageReady")
    assert storage is not None
    assert (storage.status, storage.reason) == ("False", "NoSuchBucket")
    assert "trying again at" in (world.status.message or "")
    world.outcome, world.error_reason = Outcome.SUCCEEDED, ""
    for _ in range(10):
        world.round()
        world.tick()
    assert [entry.status for entry in world.status.history] == ["Completed"]


def test_waiting_for_a_bucket_gets_rarer_and_leaves_one_entry_in_the_history() -> None:
    world = waiting_for_a_bucket()
    pauses: list[float] = []
    for _ in range(80):
        planned = world.round()
        made = any(isinstance(change, Create) for change in planned.changes)
        world.tick()
        if made:
            pauses.append(world.now.timestamp())
    gaps = [later - earlier for earlier, later in pairwise(pauses)]
    assert gaps[-1] > gaps[0]
    assert len(world.status.history) == 1
    assert len(world.all("jobs")) <= 4


def test_the_pause_is_told_to_the_queue() -> None:
    world = waiting_for_a_bucket()
    planned = plan(world.observe(), world.now - timedelta(seconds=30))
    assert planned.requeue_after is not None
    assert 0 < planned.requeue_after <= 60
