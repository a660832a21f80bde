"""Kubeconfigs, the files of a pod, and credentials that change."""

from __future__ import annotations

import base64
import json
import os
import ssl
import stat
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controller.kube.config import from_kubeconfig, in_cluster, load_config
from controller.kube.credentials import REREAD_SECONDS, FileCredentials
from controller.kube.errors import ConfigError


def a_certificate(name: str) -> tuple[bytes, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    built = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    built = built.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=9999))
    built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private


def a_kubeconfig(
    path: Path, user: dict[str, Any], *, cluster: dict[str, Any] | None = None, name: str = "one"
) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"http://{name}:8080/", **(cluster or {})}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "mine"}}],
    }
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.mark.asyncio
async def test_a_token_and_its_namespace(tmp_path: Path) -> None:
    config = load_config(str(a_kubeconfig(tmp_path / "k", {"token": "t"})))
    assert (config.server, config.namespace, config.ssl) == ("http://one:8080", "mine", None)
    assert await config.credentials.authorization() == "Bearer t"


@pytest.mark.asyncio
async def test_a_user_and_password(tmp_path: Path) -> None:
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", {"username": "u", "password": "p"})])
    assert await config.credentials.authorization() == "Basic " + base64.b64encode(b"u:p").decode()


@pytest.mark.asyncio
async def test_a_token_file_is_relative_to_its_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from file\n")
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", {"tokenFile": "token"})])
    assert await config.credentials.authorization() == "Bearer from file"


@pytest.mark.asyncio
async def test_certificates_as_files_and_as_data(tmp_path: Path) -> None:
    certificate, key = a_certificate("ca")
    (tmp_path / "ca.crt").write_bytes(certificate)
    user = {
        "client-certificate-data": base64.b64encode(certificate).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    cluster = {"server": "https://one:6443", "certificate-authority": "ca.crt", "tls-server-name": "api"}
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", user, cluster=cluster)])
    assert config.ssl is not None
    assert len(config.ssl.get_ca_certs()) == 1
    assert config.ssl.check_hostname
    assert config.server_hostname == "api"
    assert await config.credentials.authorization() is None


def test_verification_is_off_only_where_it_was_switched_off(tmp_path: Path) -> None:
    cluster = {"server": "https://one:6443", "insecure-skip-tls-verify": True}
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", {}, cluster=cluster)])
    assert config.ssl is not None
    assert not config.ssl.check_hostname


@pytest.mark.asyncio
async def test_several_files_are_merged_and_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_kubeconfig(tmp_path / "1", {"token": "first"})
    second = a_kubeconfig(tmp_path / "2", {"token": "second"}, name="two")
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), str(tmp_path / "missing"), str(second)]))
    assert await load_config().credentials.authorization() == "Bearer first"
    assert load_config(context="two").server == "http://two:8080"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("just text", "is not a kubeconfig"),
        ("{a: [", "cannot read"),
        ("{current-context: x}", "no entry 'x' in contexts"),
    ],
)
def test_a_broken_kubeconfig_is_explained(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "k").write_text(content)
    with pytest.raises(ConfigError, match=words):
        from_kubeconfig([tmp_path / "k"])


def test_no_configuration_at_all_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="no kubeconfig"):
        load_config()


def a_service_account(directory: Path, token: str = "first") -> Path:
    (directory / "token").write_text(token)
    (directory / "ca.crt").write_bytes(a_certificate("ca")[0])
    (directory / "namespace").write_text("mine")
    return directory


@pytest.mark.asyncio
async def test_a_pods_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    config = load_config(service_account_dir=str(a_service_account(tmp_path)))
    assert (config.server, config.namespace) == ("https://[fd00::1]:6443", "mine")
    assert await config.credentials.authorization() == "Bearer first"
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert in_cluster(str(tmp_path)).server == "https://10.0.0.1:6443"


@pytest.mark.asyncio
async def test_a_rotated_token_and_authority_are_in_use_within_a_minute(tmp_path: Path) -> None:
    import ssl

    now = [0.0]
    a_service_account(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    credentials = FileCredentials(
        tmp_path / "token", ca_file=tmp_path / "ca.crt", tls=tls, clock=lambda: now[0]
    )
    a_service_account(tmp_path, "second")
    now[0] = REREAD_SECONDS - 1.0
    assert await credentials.authorization() == "Bearer first"
    now[0] = REREAD_SECONDS
    assert await credentials.authorization() == "Bearer second"
    assert len(tls.get_ca_certs()) == 2
    (tmp_path / "token").write_text("third")
    credentials.rejected()
    assert await credentials.authorization() == "Bearer third"


@pytest.mark.asyncio
async def test_a_token_file_that_vanishes_for_a_moment_keeps_the_last_token(tmp_path: Path) -> None:
    now = [0.0]
    credentials = FileCredentials(a_service_account(tmp_path) / "token", clock=lambda: now[0])
    (tmp_path / "token").unlink()
    now[0] = 3600.0
    assert await credentials.authorization() == "Bearer first"
    credentials.rejected()
    with pytest.raises(ConfigError):
        await credentials.authorization()


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nMII", b"\xff\xfe", None])
async def test_an_authority_that_cannot_be_read_for_a_moment_does_not_keep_the_new_token_out(
    tmp_path: Path, content: bytes | None
) -> None:
    a_service_account(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    credentials = FileCredentials(tmp_path / "token", ca_file=tmp_path / "ca.crt", tls=tls)
    (tmp_path / "token").write_text("second")
    if content is None:
        (tmp_path / "ca.crt").unlink()
    else:
        (tmp_path / "ca.crt").write_bytes(content)
    credentials.rejected()
    assert await credentials.authorization() == "Bearer second"
    assert len(tls.get_ca_certs()) == 1
    a_service_account(tmp_path, "third")
    credentials.rejected()
    assert await credentials.authorization() == "Bearer third"
    assert len(tls.get_ca_certs()) == 2, "and is read when it is there"


@pytest.mark.parametrize("content", [b"no certificate", b"\xff\xfe"])
def test_an_authority_that_never_was_one_is_named(tmp_path: Path, content: bytes) -> None:
    a_service_account(tmp_path)
    (tmp_path / "ca.crt").write_bytes(content)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(ConfigError, match=r"ca\.crt"):
        FileCredentials(tmp_path / "token", ca_file=tmp_path / "ca.crt", tls=tls)


def a_plugin(path: Path, **answer: str) -> dict[str, Any]:
    """A credential plugin that counts how often it was asked."""
    status = json.dumps(answer)
    path.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib\n"
        f"asked = pathlib.Path({str(path)!r} + '.asked')\n"
        "count = int(asked.read_text()) + 1 if asked.exists() else 1\n"
        "asked.write_text(str(count))\n"
        f"status = {{**{status}, 'token': f'token-{{count}}'}}\n"
        "print(json.dumps({'apiVersion': 'client.authentication.k8s.io/v1', 'kind': 'ExecCredential',"
        " 'status': status}))\n"
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(path), "args": []}}


@pytest.mark.asyncio
async def test_a_plugin_is_asked_once_until_its_token_is_refused(tmp_path: Path) -> None:
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", a_plugin(tmp_path / "plugin"))])
    assert await config.credentials.authorization() == "Bearer token-1"
    assert await config.credentials.authorization() == "Bearer token-1"
    config.credentials.rejected()
    assert await config.credentials.authorization() == "Bearer token-2"


@pytest.mark.asyncio
async def test_a_plugins_expired_answer_is_asked_for_again(tmp_path: Path) -> None:
    user = a_plugin(tmp_path / "plugin", expirationTimestamp="2020-01-01T00:00:00Z")
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", user)])
    assert await config.credentials.authorization() == "Bearer token-1"
    assert await config.credentials.authorization() == "Bearer token-2"


@pytest.mark.asyncio
async def test_a_plugin_that_fails_is_named_by_its_context(tmp_path: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(tmp_path / "none")}}
    config = from_kubeconfig([a_kubeconfig(tmp_path / "k", user)])
    with pytest.raises(ConfigError, match="'one'"):
        await config.credentials.authorization()


def test_the_heavy_client_is_not_imported_without_a_plugin() -> None:
    code = "import sys, controller.kube.client, controller.kube.informer, controller.kube.leader\n"
    code += "assert not [name for name in sys.modules if name.startswith('kubernetes_asyncio')]"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
