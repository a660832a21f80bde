"""A service account's token and the cluster's authority change under two running operators. Virtual time.

They run with the rights of ``manifests/operator``, so these are tried too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml

from controller.app import main
from controller.kube.client import Client
from controller.kube.config import ClusterConfig, in_cluster, load_config
from controller.kube.lease import LeaseTimes
from controller.kube.resource import Resource
from tests.recovery.fleet import Fleet, a_fleet, until
from tests.recovery.pods import OPERATORS, Pod, peak
from tests.unit.kube.virtual import virtual
from tests.unit.reconcile.bench import NAMESPACE

COMMON = Path(__file__).parents[2] / "manifests" / "operator" / "common"
ACCOUNT = "neo4j-backup-operator"
RBAC = "rbac.authorization.k8s.io"
KINDS = {
    "ServiceAccount": Resource("", "v1", "serviceaccounts", "ServiceAccount"),
    "ClusterRole": Resource(RBAC, "v1", "clusterroles", "ClusterRole", False),
    "ClusterRoleBinding": Resource(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    "Role": Resource(RBAC, "v1", "roles", "Role"),
    "RoleBinding": Resource(RBAC, "v1", "rolebindings", "RoleBinding"),
}
LATE_SECONDS = 5.0
"""How long the files are behind the server: the lease survives it."""
PEAK_PER_MINUTE = 300

Record = Callable[[str, object], None]


class Account:
    """The files that a kubelet keeps in a pod."""

    def __init__(self, directory: Path, fleet: Fleet) -> None:
        self.directory, self._fleet = directory, fleet
        directory.mkdir()
        (directory / "namespace").write_text(NAMESPACE)
        self.new_token()
        self.trust(fleet.cluster.ca_pem)

    def new_token(self) -> None:
        self._write("token", self._fleet.cluster.mint_token(NAMESPACE, ACCOUNT))

    def trust(self, authorities: str) -> None:
        self._write("ca.crt", authorities)

    def _write(self, name: str, content: str) -> None:
        (self.directory / "..new").write_text(content)
        (self.directory / "..new").rename(self.directory / name)

    def config(self, *_: object) -> ClusterConfig:
        return in_cluster(str(self.directory))


@asynccontextmanager
async def two_pods(
    directory: Path, patch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Fleet, Account, list[Pod]]]:
    """With the rights of the manifests, in a namespace of the tests'."""
    async with a_fleet(directory / "cluster", machine=False) as fleet, anyio.create_task_group() as group:
        for document in [*_documents("rbac.yaml"), *_documents("leader-election.yaml")]:
            await fleet.client.create(KINDS[document["kind"]], document)
        account = Account(directory / "account", fleet)
        host, _, port = fleet.cluster.server.removeprefix("https://").partition(":")
        patch.setenv("KUBERNETES_SERVICE_HOST", host)
        patch.setenv("KUBERNETES_SERVICE_PORT", port)
        patch.setattr(main, "load_config", account.config)
        pods = [Pod(name, fleet, in_cluster=True) for name in ("first", "second")]
        for pod in pods:
            group.start_soon(pod.run)
        await fleet.backups(3)
        await until(lambda: bool(_work(fleet)), step=1.0)
        await anyio.sleep(20.0)
        yield fleet, account, pods
        group.cancel_scope.cancel()


def _documents(name: str) -> list[dict[str, Any]]:
    documents: list[dict[str, Any]] = [*yaml.safe_load_all((COMMON / name).read_text())]
    for document in documents:
        if not document["kind"].startswith("Cluster"):
            document["metadata"]["namespace"] = NAMESPACE
        for subject in document.get("subjects", []):
            subject["namespace"] = NAMESPACE
    return documents


def _work(fleet: Fleet) -> list[str]:
    return [entry.path for name in ("first", "second") for entry in fleet.work(name)]


async def _recovery(fleet: Fleet, start: float, record: Record) -> None:
    """A backup is made now; told is how long it takes to be seen, and what was asked for since ``start``."""
    now, path = anyio.current_time(), f"/{await fleet.backup()}/status"
    await until(lambda: any(done.endswith(path) for done in _work(fleet)), step=0.1)
    took = anyio.current_time() - now
    replicas = [[e for e in fleet.requests(name) if e.at >= start] for name in ("first", "second")]
    worst = max(peak(entries) for entries in replicas)
    refused = sum(entry.code == 401 for entries in replicas for entry in entries)
    record("seconds until the work went on, once the files were new", took)
    record("requests of a replica in its worst minute", worst)
    record("of all requests refused with 401", refused)
    assert worst <= PEAK_PER_MINUTE
    assert took <= 60.0


@virtual
async def test_a_rotated_token_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    async with two_pods(tmp_path, monkeypatch) as (fleet, account, pods):
        start = anyio.current_time()
        fleet.cluster.tokens.revoke(NAMESPACE, ACCOUNT)
        fleet.cluster.faults.cut_open(OPERATORS)
        await anyio.sleep(LATE_SECONDS)
        account.new_token()
        await _recovery(fleet, start, record_property)
        await anyio.sleep(60.0)
        assert [pod.ends for pod in pods] == [[], []]


@virtual
async def test_a_rotated_authority_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    async with two_pods(tmp_path, monkeypatch) as (fleet, account, pods):
        old, start = fleet.cluster.ca_pem, anyio.current_time()
        fleet.cluster.rotate_authority()
        fleet.cluster.faults.cut_open(OPERATORS)
        await anyio.sleep(LATE_SECONDS)
        account.trust(old + fleet.cluster.ca_pem)
        async with Client(load_config(str(fleet.cluster.kubeconfig))) as fleet.client:
            await _recovery(fleet, start, record_property)
            account.trust(fleet.cluster.ca_pem)
            await anyio.sleep(60.0)
        assert [pod.ends for pod in pods] == [[], []]


def test_the_lease_outlives_what_the_files_are_late_by() -> None:
    times = LeaseTimes()
    assert LATE_SECONDS + times.retry < times.renew_deadline
