"""The StatefulSet controller, step by step; the test is the node."""

from __future__ import annotations

from typing import Any

import pytest

from hack.devcluster.controllers.statefulset import StatefulSetController, revision_of
from hack.devcluster.objects import Obj, copy
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CLAIMS, PODS, STATEFUL_SETS, labels_of, name_of
from tests.unit.devcluster.cluster import NAMESPACE, make_ready, pod_spec, set_status, shell

SET = "db"


class Steps:
    """A StatefulSet and its controller."""

    def __init__(self, **spec: Any) -> None:
        self.registry = Registry()
        self._controller = StatefulSetController(self.registry)
        template = {"metadata": {"labels": {"app": SET}}, "spec": pod_spec(shell("true"))}
        base = {"replicas": 3, "serviceName": "db-headless", "selector": {"matchLabels": {"app": SET}}}
        metadata = {"name": SET, "namespace": NAMESPACE}
        self.registry.create(
            STATEFUL_SETS, {"metadata": metadata, "spec": base | {"template": template} | spec}
        )

    def step(self) -> list[str]:
        """Reconcile once; the pods there are."""
        self._controller.reconcile(NAMESPACE, SET)
        return [name_of(pod) for pod in self.registry.list(PODS)[0]]

    def settle(self) -> None:
        """Make whatever is wanted ready until nothing changes any more."""
        while True:
            version = self.registry.version
            for name in self.step():
                make_ready(self.registry, name)
            if self.registry.version == version:
                return

    def change(self, **spec: Any) -> None:
        self.registry.modify(STATEFUL_SETS, (NAMESPACE, SET), lambda obj: obj | {"spec": obj["spec"] | spec})

    def new_template(self, image: str = "any:2") -> None:
        template = copy(self.registry.get(STATEFUL_SETS, NAMESPACE, SET)["spec"]["template"])
        template["spec"]["containers"][0]["image"] = image
        self.change(template=template)

    def images(self) -> dict[str, str]:
        return {name_of(pod): pod["spec"]["containers"][0]["image"] for pod in self.registry.list(PODS)[0]}

    @property
    def status(self) -> Obj:
        status: Obj = self.registry.get(STATEFUL_SETS, NAMESPACE, SET)["status"]
        return status


def test_each_pod_waits_for_the_one_before() -> None:
    steps = Steps()
    assert steps.step() == ["db-0"]
    assert steps.step() == ["db-0"]
    make_ready(steps.registry, "db-0")
    assert steps.step() == ["db-0", "db-1"]


def test_parallel_sets_do_not_wait() -> None:
    assert Steps(podManagementPolicy="Parallel").step() == ["db-0", "db-1", "db-2"]


def test_a_pod_knows_its_name_its_revision_and_its_claim() -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    steps = Steps(volumeClaimTemplates=[claim])
    steps.step()
    pod = steps.registry.get(PODS, NAMESPACE, "db-0")
    assert labels_of(pod)["statefulset.kubernetes.io/pod-name"] == "db-0"
    assert revision_of(pod) == steps.status["updateRevision"]
    assert (pod["spec"]["hostname"], pod["spec"]["subdomain"]) == ("db-0", "db-headless")
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}} in pod["spec"]["volumes"]
    assert steps.registry.get(CLAIMS, NAMESPACE, "data-db-0")["metadata"]["labels"] == {"app": SET}


def test_an_update_goes_from_the_highest_ordinal_and_waits_for_ready() -> None:
    steps = Steps()
    steps.settle()
    old = steps.status["currentRevision"]
    steps.new_template()
    assert steps.step() == ["db-0", "db-1"]
    assert steps.step() == ["db-0", "db-1", "db-2"]
    assert steps.images() == {"db-0": "any", "db-1": "any", "db-2": "any:2"}
    assert steps.step() == ["db-0", "db-1", "db-2"]
    assert (steps.status["updatedReplicas"], steps.status["currentRevision"]) == (1, old)
    make_ready(steps.registry, "db-2")
    assert steps.step() == ["db-0", "db-2"]


def test_an_update_that_is_over_is_the_current_revision() -> None:
    steps = Steps()
    steps.settle()
    steps.new_template()
    steps.settle()
    assert set(steps.images().values()) == {"any:2"}
    assert steps.status["currentRevision"] == steps.status["updateRevision"]
    assert (steps.status["readyReplicas"], steps.status["updatedReplicas"]) == (3, 3)
    assert steps.status["observedGeneration"] == 2


def test_below_the_partition_pods_keep_and_get_the_old_revision() -> None:
    steps = Steps()
    steps.settle()
    steps.change(updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"partition": 2}})
    steps.new_template()
    steps.settle()
    assert steps.images() == {"db-0": "any", "db-1": "any", "db-2": "any:2"}
    steps.registry.delete(PODS, NAMESPACE, "db-0")
    steps.settle()
    assert steps.images()["db-0"] == "any"


def test_on_delete_leaves_the_pods_to_their_owner() -> None:
    steps = Steps(updateStrategy={"type": "OnDelete"})
    steps.settle()
    steps.new_template()
    steps.settle()
    assert set(steps.images().values()) == {"any"}
    steps.registry.delete(PODS, NAMESPACE, "db-1")
    steps.settle()
    assert steps.images() == {"db-0": "any", "db-1": "any:2", "db-2": "any"}


def test_scaling_down_takes_the_highest_and_keeps_its_claim() -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    steps = Steps(volumeClaimTemplates=[claim])
    steps.settle()
    steps.change(replicas=1)
    assert steps.step() == ["db-0", "db-1"]
    assert steps.step() == ["db-0"]
    assert [name_of(each) for each in steps.registry.list(CLAIMS)[0]] == [
        "data-db-0",
        "data-db-1",
        "data-db-2",
    ]


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_ended_is_made_again(phase: str) -> None:
    steps = Steps(replicas=1)
    steps.settle()
    uid = steps.registry.get(PODS, NAMESPACE, "db-0")["metadata"]["uid"]
    set_status(steps.registry, PODS, "db-0", {"phase": phase, "conditions": []})
    steps.settle()
    assert steps.registry.get(PODS, NAMESPACE, "db-0")["metadata"]["uid"] != uid


def test_no_step_is_taken_while_an_unready_pod_is_in_the_way() -> None:
    steps = Steps()
    steps.settle()
    set_status(steps.registry, PODS, "db-1", {"conditions": []})
    steps.new_template()
    assert steps.step() == ["db-0", "db-1", "db-2"]
    assert set(steps.images().values()) == {"any"}
