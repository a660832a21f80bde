"""The promise: an operator that is told its namespaces serves them without one right outside of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from functools import partial

import pytest
import yaml

from tests.e2e import installation
from tests.e2e.space import Space, space
from tests.e2e.world import Images, Json, Kubectl, eventually

NAME = "neo4j-backup-operator"
ACCOUNT = f"system:serviceaccount:{installation.NAMESPACE}:{NAME}"


@pytest.fixture(scope="module")
def served(
    room: Space, kubectl: Kubectl, images: Images, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Space]:
    """A namespace with a standalone, and the only one that the operator may look into."""
    scratch = tmp_path_factory.mktemp("some-namespaces")
    kubectl("delete", "clusterrolebinding", NAME)
    installation.install(kubectl, images, scratch, only=room.name)
    room.deploy(room.sample("single"), standalone=True)
    yield room
    installation.install(kubectl, images, scratch)


@pytest.fixture(scope="module")
def elsewhere(kubectl: Kubectl, images: Images) -> Iterator[Space]:
    with space(kubectl, images, f"e2e-{secrets.token_hex(3)}") as made:
        yield made


def a_backup(target: Json) -> Json:
    return {"target": {"kind": "Cluster", **target}, "storage": {"type": "pvc", "pvc": {"size": "1Gi"}}}


def may(kubectl: Kubectl, verb: str, what: str, namespace: str) -> bool:
    asked = kubectl.run("auth", "can-i", verb, what, "-n", namespace, f"--as={ACCOUNT}")
    assert asked.stdout.strip() in ("yes", "no"), asked
    return asked.stdout.strip() == "yes"


def test_rights_reach_no_further_than_the_namespace(
    served: Space, elsewhere: Space, kubectl: Kubectl
) -> None:
    for verb, what in (("list", "pods"), ("patch", "statefulsets.apps"), ("delete", "jobs.batch")):
        assert may(kubectl, verb, what, served.name)
        assert not may(kubectl, verb, what, elsewhere.name)


def test_a_backup_in_the_namespace_completes(served: Space) -> None:
    served.backup("near", a_backup({"name": "single"}))
    served.wait_phase("near", "Completed")


def test_a_target_in_another_namespace_is_not_looked_for_and_it_is_said(
    served: Space, elsewhere: Space
) -> None:
    served.backup("far", a_backup({"name": "single", "namespace": elsewhere.name}))
    told = eventually(lambda: served.status("far").get("message"), "a message")
    assert elsewhere.name in told
    assert "WATCH_NAMESPACES" in told
    assert served.status("far")["phase"] == "Pending"


def test_a_right_that_was_forgotten_is_named_and_taken_up_when_it_comes(
    served: Space, kubectl: Kubectl
) -> None:
    """With plain Roles, as somebody copies the rules who may not create a ClusterRole."""
    served.run("delete", "rolebinding", NAME)
    kubectl("delete", "clusterrole", NAME)
    served.apply(_role(without="cronjobs"), _binding())
    kubectl("rollout", "restart", f"deployment/{NAME}", "-n", installation.NAMESPACE)
    eventually(partial(_is_told, kubectl, 'cannot list resource \\"cronjobs\\"'), "the log names the right")

    served.apply(_role())
    installation.rolled_out(kubectl)
    served.backup("plain", a_backup({"name": "single"}))
    served.wait_phase("plain", "Completed")


def _is_told(kubectl: Kubectl, words: str) -> bool:
    pods = ("-l", f"app.kubernetes.io/name={NAME}", "-n", installation.NAMESPACE)
    return words in kubectl.run("logs", *pods, "--tail=-1").stdout


def _role(without: str = "") -> Json:
    file = installation.CHECKOUT / "manifests" / "operator" / "common" / "rbac.yaml"
    (copied,) = (item for item in yaml.safe_load_all(file.read_text()) if item["kind"] == "ClusterRole")
    for rule in copied["rules"]:
        rule["resources"] = [resource for resource in rule["resources"] if resource != without]
    return {**copied, "kind": "Role"}


def _binding() -> Json:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": installation.NAMESPACE}],
    }
