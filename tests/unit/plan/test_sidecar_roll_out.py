"""Putting the sidecar in restarts databases, so when it happens, and when it stops, is a promise."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api.conditions import Condition
from controller.api.status import Phase
from controller.plan.changes import Create, EmitEvent, PatchSidecar
from controller.plan.plan import Plan, plan
from controller.plan.runs import DEPLOYMENT
from tests.property.plan.world import NAMESPACE, World

SPEC: dict[str, Any] = {
    "target": {"kind": "Cluster", "name": "graph"},
    "storage": {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}},
}


def a_world(servers: int = 3) -> World:
    world = World(spec=SPEC)
    world.cluster("graph", servers=servers)
    return world


def patches(planned: Plan) -> list[str]:
    return [change.name for change in planned.changes if isinstance(change, PatchSidecar)]


def sidecar(world: World) -> Condition:
    condition = world.status.condition_set.get("SidecarReady")
    assert condition is not None
    return condition


def not_ready(world: World, pod: str) -> None:
    content = world.stored["pods", NAMESPACE, pod]
    content["status"]["conditions"][0]["status"] = "False"


def test_it_is_patched_once_and_an_event_says_that_pods_restart_one_by_one() -> None:
    world = a_world()
    assert patches(world.round()) == ["graph-server"]
    assert any("restart one by one" in event.message for event in world.events)
    assert patches(world.round()) == []
    world.run_to_rest()
    assert patches(world.round()) == []


def test_the_patch_names_the_uid_so_that_a_deleted_stateful_set_is_not_made_again() -> None:
    (patch,) = [c for c in a_world().round().changes if isinstance(c, PatchSidecar)]
    assert patch.document["metadata"]["uid"] == patch.uid


def test_one_stateful_set_follows_the_other_only_when_its_pods_are_back() -> None:
    world = World(spec=SPEC)
    world.put(
        "neo4jenterpriseclusters",
        {"metadata": {"name": "graph"}, "spec": {"topology": {"primaries": 2, "secondaries": 1}}},
    )
    world.servers("graph-primary", 2)
    world.servers("graph-secondary", 1)
    assert patches(world.round()) == ["graph-primary"]
    world.tick()
    assert patches(world.round()) == []
    assert sidecar(world).reason == "TargetNotReady"
    for _ in range(3):
        world.tick()
    assert patches(world.round()) == ["graph-secondary"]


def test_never_while_a_server_is_not_ready() -> None:
    world = a_world()
    world.stored["statefulsets", NAMESPACE, "graph-server"]["status"]["readyReplicas"] = 2
    assert patches(world.round()) == []
    assert sidecar(world).reason == "TargetNotReady"


def test_never_while_a_backup_of_somebody_else_runs_on_the_same_servers() -> None:
    world = a_world()
    note = {DEPLOYMENT: f"{NAMESPACE}/graph"}
    world.put("jobs", {"metadata": {"name": "theirs", "annotations": note}, "status": {"active": 1}})
    assert patches(world.round()) == []
    assert "theirs" in sidecar(world).message
    world.stored["jobs", NAMESPACE, "theirs"]["metadata"]["annotations"] = {DEPLOYMENT: f"{NAMESPACE}/other"}
    assert patches(world.round()) == ["graph-server"]


STUCK: dict[str, tuple[Any, str, str]] = {
    "no room": (
        {
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "reason": "Unschedulable",
                    "message": "0/1 nodes are available: 1 Insufficient cpu.",
                }
            ]
        },
        "Unschedulable",
        "no node takes pod graph-server-2: 0/1 nodes are available: 1 Insufficient cpu.",
    ),
    "no image": (
        {
            "initContainerStatuses": [
                {
                    "name": "backup-agent-install",
                    "image": "operator:1",
                    "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
                }
            ]
        },
        "ErrImagePull",
        "image operator:1 cannot be pulled: not found",
    ),
    "it starts": (
        {"containerStatuses": []},
        "RollingOut",
        "; waiting for graph-server-0, graph-server-1, graph-server-2",
    ),
}


@pytest.mark.parametrize("case", STUCK)
def test_a_server_that_does_not_come_back_with_the_sidecar_says_why(case: str) -> None:
    told, reason, message = STUCK[case]
    world = a_world()
    world.round()
    world.tick()
    pod = world.stored["pods", NAMESPACE, "graph-server-2"]
    not_ready(world, "graph-server-2")
    pod["status"] = {**pod["status"], **told}
    world.round()
    condition = sidecar(world)
    assert (condition.status, condition.reason) == ("False", reason)
    assert condition.message.endswith(message)


def test_no_job_before_every_pod_runs_the_current_sidecar() -> None:
    world = a_world(servers=2)
    world.round()
    world.tick()
    planned = world.round()
    assert not [c for c in planned.changes if isinstance(c, Create)]
    assert "1 of 2 pods" in sidecar(world).message
    assert "graph-server-0" in sidecar(world).message


def test_a_pod_that_fell_ill_later_is_left_out_in_sight() -> None:
    world = a_world(servers=3)
    world.round()
    for _ in range(4):
        world.tick()
    not_ready(world, "graph-server-1")
    planned = world.round()
    (job,) = [c.document for c in planned.changes if isinstance(c, Create) and c.resource.plural == "jobs"]
    run = job["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"]
    assert "graph-server-1" not in run
    assert "graph-server-0" in run
    assert sidecar(world).reason == "ServersLeftOut"
    assert "graph-server-1" in (world.status.message or "")


def test_the_role_still_names_the_pod_that_is_left_out() -> None:
    world = a_world(servers=2)
    world.run_to_rest()
    role = world.one("roles", "nightly-backup")
    assert role is not None
    assert role["rules"][0]["resourceNames"] == ["graph-server-0", "graph-server-1"]


def test_when_no_server_is_ready_it_waits_and_says_so() -> None:
    world = a_world(servers=1)
    world.round()
    for _ in range(3):
        world.tick()
    not_ready(world, "graph-server-0")
    assert not world.round().changes
    assert sidecar(world).reason == "NoServerReady"


def test_a_fight_ends_after_the_second_time_and_the_condition_says_what_to_do() -> None:
    world = a_world(servers=1)
    world.reverting = True
    patched = 0
    for _ in range(30):
        patched += len(patches(world.round()))
        world.tick()
    assert patched == 2
    assert sidecar(world).reason == "SidecarReverted"
    assert "another controller" in sidecar(world).message
    assert "run-now" in sidecar(world).message
    assert world.status.phase is Phase.FAILED


def test_the_fight_is_remembered_when_the_other_controller_wipes_our_annotation() -> None:
    world = a_world(servers=1)
    world.reverting = True
    patched = 0
    for _ in range(30):
        patched += len(patches(world.round()))
        world.tick()
        world.stored["statefulsets", NAMESPACE, "graph-server"]["metadata"]["annotations"] = {}
    assert patched == 2


def test_a_second_backup_of_the_same_target_does_not_start_the_fight_anew() -> None:
    world = a_world(servers=1)
    world.reverting = True
    for _ in range(30):
        world.round()
        world.tick()
    fresh = World(spec=SPEC, name="second", stored=world.stored, now=world.now)
    assert patches(fresh.round()) == []


def test_asking_anew_forgives() -> None:
    world = a_world(servers=1)
    world.reverting = True
    for _ in range(30):
        world.round()
        world.tick()
    world.reverting = False
    world.annotations["backup.neo4j.com/run-now"] = "please"
    world.run_to_rest()
    assert world.status.phase is Phase.COMPLETED


def test_when_the_other_controller_gives_in_the_backup_goes_on_by_itself() -> None:
    world = a_world(servers=1)
    world.reverting = True
    for _ in range(30):
        world.round()
        world.tick()
    world.reverting = False
    last = plan(world.observe(), world.now)
    assert last.rule == "sidecar"
    helper = a_world(servers=1)
    helper.run_to_rest()
    world.stored["statefulsets", NAMESPACE, "graph-server"] = helper.stored[
        "statefulsets", NAMESPACE, "graph-server"
    ]
    world.stored["pods", NAMESPACE, "graph-server-0"] = helper.stored["pods", NAMESPACE, "graph-server-0"]
    world.run_to_rest()
    assert world.status.phase is Phase.COMPLETED


def test_a_stateful_set_without_data_volume_is_explained_not_crashed_over() -> None:
    world = a_world(servers=1)
    container = world.stored["statefulsets", NAMESPACE, "graph-server"]["spec"]["template"]["spec"][
        "containers"
    ][0]
    container["volumeMounts"] = []
    world.round()
    assert sidecar(world).reason == "SidecarImpossible"
    assert "/data" in sidecar(world).message


def test_a_finished_one_shot_leaves_its_target_alone() -> None:
    world = a_world(servers=1)
    world.run_to_rest()
    content = world.stored["statefulsets", NAMESPACE, "graph-server"]
    content["spec"]["template"]["spec"]["containers"] = content["spec"]["template"]["spec"]["containers"][:1]
    planned = world.round()
    assert not [c for c in planned.changes if not isinstance(c, EmitEvent)]
