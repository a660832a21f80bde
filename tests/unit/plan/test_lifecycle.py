"""Schedules that come and go, deletion, rights in other namespaces, and what this version refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.api.status import Phase
from controller.plan import capabilities
from controller.plan.causes import Cause
from controller.plan.changes import Apply, Create, Delete, Patch, PatchSidecar, SetFinalizer
from controller.plan.observed import Unknown
from controller.plan.plan import Plan, plan
from tests.property.plan.world import NAMESPACE, World

S3 = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}}
SPEC: dict[str, Any] = {"target": {"kind": "Cluster", "name": "graph"}, "storage": S3}
NIGHTLY = SPEC | {"schedule": "0 2 * * *"}
FAR = SPEC | {"target": {"kind": "Cluster", "name": "graph", "namespace": "elsewhere"}}
CRON = "nightly-backup-cron"


def a_world(spec: dict[str, Any]) -> World:
    world = World(spec=spec)
    world.cluster("graph", servers=1)
    return world


def deleted(planned: Plan) -> set[str]:
    return {change.resource.plural for change in planned.changes if isinstance(change, Delete)}


# --- schedules -------------------------------------------------------------------------------------


def test_suspending_suspends_the_cron_job_and_not_only_the_status() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.spec, world.generation = NIGHTLY | {"suspend": True}, 2
    world.run_to_rest()
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["suspend"] is True
    assert (world.status.phase, world.status.next_run_time) == (Phase.SUSPENDED, None)


def test_suspending_does_not_wait_for_a_target_that_is_gone() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.stored = {key: item for key, item in world.stored.items() if key[0] != "neo4jenterpriseclusters"}
    world.spec, world.generation = NIGHTLY | {"suspend": True}, 2
    world.round()
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["suspend"] is True


def test_removing_the_schedule_removes_the_cron_job() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.spec, world.generation = SPEC, 2
    world.run_to_rest()
    assert world.all("cronjobs") == []


def test_removing_the_schedule_lets_a_run_that_is_going_finish_first() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.fire()
    world.spec, world.generation = SPEC, 2
    world.round()
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["suspend"] is True
    world.run_to_rest()
    assert world.all("cronjobs") == []
    assert len(world.status.history) == 2


def test_a_changed_schedule_changes_the_cron_job_in_place() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    before = world.one("cronjobs", CRON)
    assert before is not None
    world.spec, world.generation = NIGHTLY | {"schedule": "30 3 * * *"}, 2
    world.run_to_rest()
    after = world.one("cronjobs", CRON)
    assert after is not None
    assert after["spec"]["schedule"] == "30 3 * * *"
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_runs_of_one_schedule_never_overlap() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["concurrencyPolicy"] == "Forbid"


def test_the_cron_job_names_every_pod_ready_now_or_not() -> None:
    world = World(spec=NIGHTLY)
    world.cluster("graph", servers=2)
    world.run_to_rest()
    world.stored["pods", NAMESPACE, "graph-server-1"]["status"]["conditions"][0]["status"] = "False"
    planned = world.round()
    assert not [change for change in planned.changes if isinstance(change, Apply | Create)]


def test_children_of_the_cron_job_get_into_history() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.fire()
    world.run_to_rest()
    assert [entry.status for entry in world.status.history] == ["Completed"]
    assert world.status.last_success_time is not None


# --- deletion --------------------------------------------------------------------------------------


def test_deleting_stops_what_runs_and_keeps_claim_and_finished_jobs_story() -> None:
    spec = NIGHTLY | {"storage": {"type": "pvc", "pvc": {"size": "1Gi"}}}
    world = a_world(spec)
    world.run_to_rest()
    world.fire()
    world.deleting = True
    planned = world.round()
    assert {"jobs", "cronjobs"} <= deleted(planned)
    assert "persistentvolumeclaims" not in deleted(planned)
    assert planned.status is None
    assert world.all("persistentvolumeclaims")


def test_the_claim_has_no_owner_that_could_take_it_along() -> None:
    world = a_world(SPEC | {"storage": {"type": "pvc", "pvc": {"size": "1Gi"}}})
    world.run_to_rest()
    (claim,) = world.all("persistentvolumeclaims")
    assert "ownerReferences" not in claim["metadata"]


def test_a_backup_of_its_own_namespace_needs_no_finalizer() -> None:
    world = a_world(SPEC)
    world.run_to_rest()
    assert world.finalizers == []


def far_world() -> World:
    world = World(spec=FAR)
    world.cluster("graph", servers=1, namespace="elsewhere", allow=NAMESPACE)
    return world


def test_rights_elsewhere_are_made_only_after_the_finalizer_is_back() -> None:
    world = far_world()
    planned = world.round()
    assert [type(change) for change in planned.changes] == [SetFinalizer]
    world.run_to_rest()
    assert {item["metadata"]["namespace"] for item in world.all("roles")} == {"elsewhere"}
    assert {item["metadata"]["namespace"] for item in world.all("serviceaccounts")} == {NAMESPACE}


def test_deleting_takes_back_the_rights_elsewhere_before_the_finalizer_goes() -> None:
    world = far_world()
    world.run_to_rest()
    world.deleting = True
    world.round()
    assert world.all("roles") == world.all("rolebindings") == []
    assert world.finalizers
    world.round()
    assert world.finalizers == []


def test_the_finalizer_stays_while_we_cannot_look() -> None:
    world = far_world()
    world.run_to_rest()
    world.deleting = True
    world.round()
    planned = plan(replace(world.observe(), roles=Unknown("forbidden")), world.now)
    assert not [change for change in planned.changes if isinstance(change, SetFinalizer)]


def test_consent_that_is_withdrawn_takes_the_rights_with_it() -> None:
    world = far_world()
    world.spec = FAR | {"schedule": "0 2 * * *"}
    world.run_to_rest()
    for content in world.all("neo4jenterpriseclusters"):
        content["metadata"]["annotations"] = {}
    world.run_to_rest()
    assert world.all("roles") == world.all("rolebindings") == []
    condition = world.status.condition_set.get("TargetReady")
    assert condition is not None
    assert condition.reason == "NotAllowed"


def test_another_target_namespace_takes_back_the_rights_in_the_old_one() -> None:
    world = far_world()
    world.run_to_rest()
    world.cluster("graph", servers=1)
    world.spec, world.generation = SPEC, 2
    world.run_to_rest()
    assert {item["metadata"]["namespace"] for item in world.all("roles")} == {NAMESPACE}
    world.round()
    assert world.finalizers == []


# --- refusals --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"options": {"encryption": {"enabled": True}}}, "InvalidSpec"),
        ({"storage": {"type": "s3"}}, "InvalidSpec"),
    ],
)
def test_what_cannot_be_done_makes_nothing_and_stops_the_schedule(
    change: dict[str, Any], reason: str
) -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    before = world.one("cronjobs", CRON)
    assert before is not None
    version = before["metadata"]["resourceVersion"]
    world.spec, world.generation = NIGHTLY | change, 2
    planned = world.round()
    assert not [item for item in planned.changes if isinstance(item, Create | Apply | PatchSidecar)]
    (patch,) = (item for item in planned.changes if isinstance(item, Patch))
    assert patch.patch["metadata"]["resourceVersion"] == version, "a late one must not undo a newer wish"
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["suspend"] is True
    ready = world.status.condition_set.get("Ready")
    assert ready is not None
    assert (world.status.phase, ready.status, ready.reason) == (Phase.FAILED, "False", reason)
    assert world.status.next_run_time is None


def test_a_spec_that_is_put_right_goes_on_and_resumes_the_schedule() -> None:
    world = a_world(NIGHTLY)
    world.run_to_rest()
    world.spec, world.generation = NIGHTLY | {"storage": {"type": "s3"}}, 2
    world.run_to_rest()
    world.spec, world.generation = NIGHTLY, 3
    world.run_to_rest()
    cron = world.one("cronjobs", CRON)
    assert cron is not None
    assert cron["spec"]["suspend"] is False
    assert world.status.phase is Phase.SCHEDULED


def test_a_gap_that_is_no_refusal_runs_and_says_so_until_the_spec_does_without(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gap = capabilities.Gap(lambda spec: spec.retention is not None, False, "NotYet", "not in this version")
    monkeypatch.setattr(capabilities, "GAPS", (gap,))
    world = a_world(SPEC | {"retention": {"maxCount": 3}})
    world.run_to_rest()
    condition = world.status.condition_set.get("SpecEnforced")
    assert condition is not None
    assert (condition.status, condition.reason) == ("False", "NotYet")
    assert world.status.phase is Phase.COMPLETED
    world.spec, world.generation = SPEC, 2
    world.run_to_rest()
    assert world.status.condition_set.get("SpecEnforced") is None


def test_what_the_server_denied_is_told_and_not_tried_again_at_once() -> None:
    world = a_world(SPEC)
    denied = replace(world.observe(), denied=Cause("Forbidden", "Role nightly-backup could not be written"))
    planned = plan(denied, world.now)
    assert planned.changes == ()
    assert planned.status is not None
    assert "could not be written" in (planned.status.message or "")
    assert planned.requeue_after


def test_a_claim_that_nobody_made_and_that_has_no_size_is_waited_for() -> None:
    world = a_world(SPEC | {"storage": {"type": "pvc", "pvc": {"name": "mine"}}})
    world.run_to_rest()
    storage = world.status.condition_set.get("StorageReady")
    assert storage is not None
    assert (storage.status, storage.reason) == ("False", "ClaimNotFound")
    assert world.made_jobs == []
    world.put("persistentvolumeclaims", {"metadata": {"name": "mine"}, "status": {"phase": "Bound"}})
    world.run_to_rest()
    assert world.status.phase is Phase.COMPLETED
