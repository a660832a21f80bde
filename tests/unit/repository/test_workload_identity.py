"""Without a key in a Secret: the pod proves who it is, as EKS, GKE and AKS set its environment up.

What no test here can know is whether a cloud's own webhook and trust policy are set up; what is tried is
that a pod with the environment that they make gets in, with nothing from us but the annotations.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.repository.errors import AccessDenied
from controller.repository.opening import open_store
from controller.repository.store import Store
from controller.wire.messages import RunSpec, StorageTarget
from tests.support import cloud_identity
from tests.support.cloud_identity import POD_TOKEN, Cloud
from tests.support.tls import Authority, make_authority

ROLE = "arn:aws:iam::123456789012:role/neo4j-backup"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with cloud_identity.cloud() as running:
        yield running


@pytest.fixture
def token(tmp_path: Path) -> Path:
    """What the kubelet projects into the pod."""
    file = tmp_path / "token"
    file.write_text(POD_TOKEN)
    return file


def store_of(target: StorageTarget, secret: Path) -> Store:
    spec = RunSpec(
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=1,
        deployment="graph",
        servers=(),
        storage=target,
    )
    return open_store(spec, volume=secret, credentials=secret)


def test_irsa(authority: Authority, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "ca.crt").write_bytes(authority.ca)
    with cloud_identity.cloud(authority.server_context()) as cloud:
        monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
        monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", cloud.endpoint)
        target = StorageTarget(type="s3", bucket="bucket", endpoint=cloud.endpoint)
        store_of(target, tmp_path / "secret").put_if_absent("probe.json", b"{}")
    assert cloud.stored == {"/bucket/ns/nightly/probe.json": b"{}"}
    assert cloud.seen == [f"sts {ROLE}"]


def test_eks_pod_identity(cloud: Cloud, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.endpoint}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    target = StorageTarget(type="s3", bucket="bucket", endpoint=cloud.endpoint)
    store_of(target, tmp_path / "none").put_if_absent("probe.json", b"{}")
    assert cloud.stored == {"/bucket/ns/nightly/probe.json": b"{}"}
    assert cloud.seen == ["eks"]


def test_gke(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = cloud.endpoint.removeprefix("http://")
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    monkeypatch.setenv("GCE_METADATA_ROOT", host)
    monkeypatch.setenv("GCE_METADATA_IP", host)
    target = StorageTarget(type="gcs", bucket="bucket", endpoint=cloud.endpoint)
    store_of(target, tmp_path / "none").put_if_absent("probe.json", b"{}")
    assert cloud.stored == {"/bucket/ns/nightly/probe.json": b"{}"}
    assert set(cloud.seen) == {"gke"}


def test_azure(authority: Authority, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "ca.crt").write_bytes(authority.ca)
    (tmp_path / "secret" / "AZURE_STORAGE_ACCOUNT").write_text("acct")
    with cloud_identity.cloud(authority.server_context()) as cloud:
        monkeypatch.setenv("AZURE_CLIENT_ID", "the-client")
        monkeypatch.setenv("AZURE_TENANT_ID", "the-tenant")
        monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(token))
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", cloud.endpoint)
        target = StorageTarget(type="azure", bucket="container", endpoint=f"{cloud.endpoint}/acct")
        store_of(target, tmp_path / "secret").put_if_absent("probe.json", b"{}")
    assert list(cloud.stored.values()) == [b"{}"]
    assert cloud.seen == ["entra the-tenant the-client"]


def test_a_pod_that_is_not_trusted_is_denied(
    cloud: Cloud, token: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token.write_text("of somebody else")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{cloud.endpoint}/v1/credentials")
    monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
    target = StorageTarget(type="s3", bucket="bucket", endpoint=cloud.endpoint)
    with pytest.raises(AccessDenied):
        store_of(target, tmp_path / "none").put_if_absent("probe.json", b"{}")
    assert cloud.stored == {}
