"""The promise: an operator that is told its namespaces serves them without one right outside of them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

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


def test_with_plain_roles_instead_of_a_cluster_role(served: Space, kubectl: Kubectl) -> None:
    served.run("delete", "rolebinding", NAME)
    kubectl("delete", "clusterrole", NAME)
    files = installation.CHECKOUT / "manifests" / "operator" / "common" / "rbac.yaml"
    (copied,) = (item for item in yaml.safe_load_all(files.read_text()) if item["kind"] == "ClusterRole")
    served.apply({**copied, "kind": "Role"}, _binding())
    installation.restart(kubectl)
    served.backup("plain", a_backup({"name": "single"}))
    served.wait_phase("plain", "Completed")


def _binding() -> Json:
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": NAME},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": installation.NAMESPACE}],
    }
