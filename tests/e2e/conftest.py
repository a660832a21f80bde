"""One control plane, one installed operator and one Neo4j cluster for the end-to-end tests of a process."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack import kubectl as kubectl_binary
from tests.e2e import installation
from tests.e2e.space import Space, space
from tests.e2e.world import Images, Kubectl
from tests.support.control_plane import ControlPlane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def images() -> Images:
    default = Images()
    return Images(
        operator=os.environ.get("E2E_OPERATOR_IMAGE", default.operator),
        neo4j=os.environ.get("E2E_NEO4J_IMAGE", default.neo4j),
        s3=os.environ.get("E2E_S3_IMAGE", default.s3),
    )


@pytest.fixture(scope="session")
def kubectl(control_plane: ControlPlane) -> Kubectl:
    if not control_plane.runs_pods:
        pytest.skip(f"the control plane '{control_plane.kind}' has no node to run pods on")
    path = kubectl_binary.find()
    bare = Kubectl(path, str(control_plane.kubeconfig), 0)
    minor = json.loads(bare("version", "-o", "json"))["serverVersion"]["minor"]
    return Kubectl(path, str(control_plane.kubeconfig), int(minor.rstrip("+")))


@pytest.fixture(scope="session")
def operator(kubectl: Kubectl, images: Images, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Installed and ready; the value is its namespace."""
    installation.install(kubectl, images, tmp_path_factory.mktemp("operator"))
    return installation.NAMESPACE


@pytest.fixture(scope="module")
def room(kubectl: Kubectl, images: Images, operator: str) -> Iterator[Space]:
    """A namespace for the tests of one module."""
    with space(kubectl, images, f"e2e-{secrets.token_hex(3)}") as made:
        yield made
