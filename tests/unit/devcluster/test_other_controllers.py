"""Deployments, garbage, namespaces, claims, endpoints and the scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import pytest

from hack.devcluster.controllers import run_controllers
from hack.devcluster.controllers.claims import ClaimController
from hack.devcluster.controllers.deployment import DeploymentController
from hack.devcluster.controllers.endpoints import EndpointsController
from hack.devcluster.controllers.gc import GarbageCollector
from hack.devcluster.controllers.replicaset import ReplicaSetController
from hack.devcluster.controllers.scheduler import Scheduler
from hack.devcluster.objects import Obj, copy
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VOLUMES,
    condition_of,
    name_of,
    uid_of,
)
from tests.unit.devcluster.cluster import (
    NAMESPACE,
    a_pod,
    eventually,
    make_ready,
    messages,
    pod_spec,
    set_status,
    shell,
    with_node,
)


def config_map(registry: Registry, name: str, *owners: Obj, **metadata: Any) -> Obj:
    references = [
        {"apiVersion": "v1", "kind": "ConfigMap", "name": name_of(each), "uid": uid_of(each)}
        for each in owners
    ]
    body = {"name": name, "namespace": NAMESPACE, "ownerReferences": references} | metadata
    return registry.create(CONFIG_MAPS, {"metadata": body})


def names(registry: Registry) -> list[str]:
    return [
        name_of(each)
        for each in registry.list(CONFIG_MAPS, NAMESPACE)[0]
        if name_of(each) != "kube-root-ca.crt"
    ]


def sweep(registry: Registry) -> None:
    collector = GarbageCollector(registry)
    version = -1
    while version != registry.version:
        version = registry.version
        collector.sweep()


def test_what_loses_its_last_owner_goes_and_so_on_down() -> None:
    registry = Registry()
    one, two = config_map(registry, "one"), config_map(registry, "two")
    child = config_map(registry, "child", one, two)
    config_map(registry, "grandchild", child)
    registry.delete(CONFIG_MAPS, NAMESPACE, "one")
    sweep(registry)
    assert names(registry) == ["child", "grandchild", "two"]
    registry.delete(CONFIG_MAPS, NAMESPACE, "two")
    sweep(registry)
    assert names(registry) == []


def test_an_owner_of_the_same_name_is_not_the_owner() -> None:
    registry = Registry()
    child = config_map(registry, "child", config_map(registry, "owner"))
    registry.delete(CONFIG_MAPS, NAMESPACE, "owner")
    config_map(registry, "owner")
    sweep(registry)
    assert name_of(child) not in names(registry)


def test_foreground_waits_for_blocking_dependents() -> None:
    registry = Registry()
    owner = config_map(registry, "owner")
    child = config_map(registry, "child", owner, finalizers=["example.com/hold"])
    reference = child["metadata"]["ownerReferences"][0] | {"blockOwnerDeletion": True}
    registry.modify(
        CONFIG_MAPS,
        (NAMESPACE, "child"),
        lambda obj: obj | {"metadata": obj["metadata"] | {"ownerReferences": [reference]}},
    )
    registry.delete(CONFIG_MAPS, NAMESPACE, "owner", propagation="Foreground")
    sweep(registry)
    assert names(registry) == ["child", "owner"]
    registry.modify(
        CONFIG_MAPS,
        (NAMESPACE, "child"),
        lambda obj: obj | {"metadata": obj["metadata"] | {"finalizers": []}},
    )
    sweep(registry)
    assert names(registry) == []


def test_orphans_stay_and_forget_their_owner() -> None:
    registry = Registry()
    config_map(registry, "child", config_map(registry, "owner"))
    registry.delete(CONFIG_MAPS, NAMESPACE, "owner", propagation="Orphan")
    sweep(registry)
    assert names(registry) == ["child"]
    assert not registry.get(CONFIG_MAPS, NAMESPACE, "child")["metadata"].get("ownerReferences")


def test_a_namespace_goes_when_it_is_empty() -> None:
    registry = Registry()
    registry.create(NAMESPACES, {"metadata": {"name": "team"}})
    metadata = {"name": "held", "namespace": "team", "finalizers": ["example.com/hold"]}
    registry.create(CONFIG_MAPS, {"metadata": metadata})
    registry.delete(NAMESPACES, "", "team")
    sweep(registry)
    assert [name_of(each) for each in registry.list(CONFIG_MAPS, "team")[0]] == ["held"]
    assert registry.get(NAMESPACES, "", "team")["status"]["phase"] == "Terminating"
    registry.modify(
        CONFIG_MAPS, ("team", "held"), lambda obj: obj | {"metadata": obj["metadata"] | {"finalizers": []}}
    )
    sweep(registry)
    assert registry.find(NAMESPACES, "", "team") is None


class Rollout:
    """A Deployment with its two controllers; the test is the node."""

    def __init__(self, **spec: Any) -> None:
        self.registry = Registry()
        self._controllers = DeploymentController(self.registry), ReplicaSetController(self.registry)
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec(shell("true"))}
        base = {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        metadata = {"name": "web", "namespace": NAMESPACE}
        self.registry.create(DEPLOYMENTS, {"metadata": metadata, "spec": base | spec})

    def step(self) -> None:
        deployments, replica_sets = self._controllers
        deployments.reconcile(NAMESPACE, "web")
        for each in self.registry.list(REPLICA_SETS)[0]:
            replica_sets.reconcile(NAMESPACE, name_of(each))

    def images(self) -> list[str]:
        return sorted(pod["spec"]["containers"][0]["image"] for pod in self.registry.list(PODS)[0])

    def make_all_ready(self) -> None:
        for pod in self.registry.list(PODS)[0]:
            make_ready(self.registry, name_of(pod))

    def new_template(self) -> None:
        template = copy(self.registry.get(DEPLOYMENTS, NAMESPACE, "web")["spec"]["template"])
        template["spec"]["containers"][0]["image"] = "any:2"
        change: Callable[[Obj], Obj] = lambda obj: obj | {"spec": obj["spec"] | {"template": template}}  # noqa: E731
        self.registry.modify(DEPLOYMENTS, (NAMESPACE, "web"), change)


def test_old_pods_go_when_the_new_ones_are_ready() -> None:
    rollout = Rollout()
    for _ in range(3):
        rollout.step()
    rollout.make_all_ready()
    rollout.step()
    rollout.step()
    status = rollout.registry.get(DEPLOYMENTS, NAMESPACE, "web")["status"]
    assert (status["readyReplicas"], status["updatedReplicas"], status["unavailableReplicas"]) == (2, 2, 0)
    rollout.new_template()
    for _ in range(3):
        rollout.step()
    assert rollout.images() == ["any", "any", "any:2", "any:2"]
    rollout.make_all_ready()
    for _ in range(3):
        rollout.step()
    assert rollout.images() == ["any:2", "any:2"]


def test_recreate_ends_the_old_pods_first() -> None:
    rollout = Rollout(strategy={"type": "Recreate"})
    for _ in range(2):
        rollout.step()
    assert rollout.images() == ["any", "any"]
    rollout.new_template()
    rollout.step()
    assert rollout.images() == []
    for _ in range(3):
        rollout.step()
    assert rollout.images() == ["any:2", "any:2"]


def test_a_pod_that_is_gone_is_replaced() -> None:
    rollout = Rollout()
    rollout.step()
    gone = name_of(rollout.registry.list(PODS)[0][0])
    rollout.registry.delete(PODS, NAMESPACE, gone)
    rollout.step()
    remaining = [name_of(pod) for pod in rollout.registry.list(PODS)[0]]
    assert len(remaining) == 2
    assert gone not in remaining


def claim(registry: Registry, name: str, **spec: Any) -> None:
    base = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
    registry.create(CLAIMS, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": base | spec})


def test_a_claim_gets_a_volume_and_keeps_it_while_it_is_used() -> None:
    registry = Registry()
    claim(registry, "data")
    controller = ClaimController(registry)
    controller.reconcile(NAMESPACE, "data")
    bound = registry.get(CLAIMS, NAMESPACE, "data")
    assert (bound["status"]["phase"], bound["status"]["capacity"]) == ("Bound", {"storage": "2Gi"})
    assert registry.get(VOLUMES, "", bound["spec"]["volumeName"])["spec"]["claimRef"]["name"] == "data"
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    registry.create(PODS, a_pod("user", shell("true"), volumes=volumes))
    registry.delete(CLAIMS, NAMESPACE, "data")
    controller.reconcile(NAMESPACE, "data")
    assert registry.find(CLAIMS, NAMESPACE, "data") is not None
    set_status(registry, PODS, "user", {"phase": "Succeeded"})
    controller.reconcile(NAMESPACE, "data")
    assert registry.find(CLAIMS, NAMESPACE, "data") is None
    assert registry.list(VOLUMES)[0] == []


def unbound(name: str, **spec: Any) -> Obj:
    return a_pod(name, shell("true"), nodeName="", **spec)


def test_a_pod_waits_for_its_claim_and_says_so() -> None:
    registry = Registry()
    with_node(registry)
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}]
    registry.create(PODS, unbound("user", volumes=volumes))
    scheduler = Scheduler(registry)
    assert scheduler.reconcile(NAMESPACE, "user") is not None
    assert messages(registry, "FailedScheduling") == ['persistentvolumeclaim "data" not found']
    condition = condition_of(registry.get(PODS, NAMESPACE, "user"), "PodScheduled")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "Unschedulable")
    claim(registry, "data")
    ClaimController(registry).reconcile(NAMESPACE, "data")
    scheduler.reconcile(NAMESPACE, "user")
    assert registry.get(PODS, NAMESPACE, "user")["spec"]["nodeName"] == "devcluster"


def test_a_node_selector_that_fits_nothing_is_unschedulable() -> None:
    registry = Registry()
    with_node(registry, disk="ssd")
    registry.create(PODS, unbound("picky", nodeSelector={"disk": "tape"}))
    registry.create(PODS, unbound("happy", nodeSelector={"disk": "ssd"}))
    for name in ("picky", "happy"):
        Scheduler(registry).reconcile(NAMESPACE, name)
    assert not registry.get(PODS, NAMESPACE, "picky")["spec"].get("nodeName")
    assert registry.get(PODS, NAMESPACE, "happy")["spec"]["nodeName"] == "devcluster"
    expected = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
    assert messages(registry, "FailedScheduling") == [expected]


def test_endpoints_tell_ready_pods_from_others() -> None:
    registry = Registry()
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}], "clusterIP": "None"}
    registry.create(SERVICES, {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec})
    for name, address in (("one", "127.0.0.11"), ("two", "127.0.0.12")):
        registry.create(PODS, a_pod(name, shell("true"), labels={"app": "web"}))
        set_status(registry, PODS, name, {"podIP": address})
    make_ready(registry, "one")
    EndpointsController(registry).reconcile(NAMESPACE, "web")
    subset = registry.get(ENDPOINTS, NAMESPACE, "web")["subsets"][0]
    assert [each["ip"] for each in subset["addresses"]] == ["127.0.0.11"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["127.0.0.12"]
    registry.delete(SERVICES, NAMESPACE, "web")
    EndpointsController(registry).reconcile(NAMESPACE, "web")
    assert registry.find(ENDPOINTS, NAMESPACE, "web") is None


@pytest.mark.asyncio
async def test_all_controllers_work_together() -> None:
    registry = Registry()
    with_node(registry)
    async with anyio.create_task_group() as group:
        group.start_soon(run_controllers, registry)
        template = {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec(shell("true"))}
        spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}
        registry.create(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": NAMESPACE}, "spec": spec})
        await eventually(lambda: any(pod["spec"].get("nodeName") for pod in registry.list(PODS)[0]))
        registry.delete(DEPLOYMENTS, NAMESPACE, "web")
        await eventually(lambda: registry.list(REPLICA_SETS)[0] == [])
        await eventually(
            lambda: all("deletionTimestamp" in pod["metadata"] for pod in registry.list(PODS)[0])
        )
        group.cancel_scope.cancel()
