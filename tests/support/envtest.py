"""A real kube-apiserver on a real etcd, and nothing else, in the way of controller-runtime's envtest."""

from __future__ import annotations

import json
import secrets
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hack.devcluster.certificates import make_identity, write_kubeconfig

_START_SECONDS = 60.0


class CannotStart(Exception):
    """The programs are missing or did not come up."""


@contextmanager
def envtest(assets: Path, directory: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """The kubeconfig of an administrator, and how to compact the history. Raises CannotStart."""
    for program in ("etcd", "kube-apiserver"):
        if not (assets / program).is_file():
            raise CannotStart(f"{assets / program} does not exist (set KUBEBUILDER_ASSETS)")
    client_port, peer_port, port = _free_ports(3)
    etcd = f"http://127.0.0.1:{client_port}"
    with (
        _running(_etcd(assets, directory, etcd, f"http://127.0.0.1:{peer_port}"), directory / "etcd.log"),
        _api_server(assets, directory, etcd, port) as kubeconfig,
    ):
        yield kubeconfig, partial(_compact, etcd)


def _compact(etcd: str, version: int) -> None:
    body = json.dumps({"revision": str(version), "physical": True}).encode()
    with urllib.request.urlopen(f"{etcd}/v3/kv/compaction", data=body, timeout=30):
        pass


def _etcd(assets: Path, directory: Path, client: str, peer: str) -> list[str]:
    return [
        str(assets / "etcd"),
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


@contextmanager
def _api_server(assets: Path, directory: Path, etcd: str, port: int) -> Iterator[Path]:
    identity = make_identity(datetime.now(UTC))
    token = secrets.token_urlsafe(32)
    files = {
        "server.crt": identity.certificate,
        "server.key": identity.key,
        "accounts.key": _account_key(),
        "tokens.csv": f'{token},admin,admin,"system:masters"\n',
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="ascii")
    command = [
        str(assets / "kube-apiserver"),
        f"--etcd-servers={etcd}",
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--tls-cert-file={directory / 'server.crt'}",
        f"--tls-private-key-file={directory / 'server.key'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        f"--service-account-key-file={directory / 'accounts.key'}",
        f"--service-account-signing-key-file={directory / 'accounts.key'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--authorization-mode=RBAC",
        "--disable-admission-plugins=ServiceAccount",
        "--allow-privileged=true",
    ]
    server = f"https://127.0.0.1:{port}"
    kubeconfig = directory / "kubeconfig"
    write_kubeconfig(kubeconfig, server, identity.ca, token)
    with _running(command, directory / "apiserver.log") as process:
        _wait_ready(process, server, identity.ca, directory / "apiserver.log")
        yield kubeconfig


def _account_key() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _wait_ready(process: subprocess.Popen[bytes], server: str, ca: str, log: Path) -> None:
    context = ssl.create_default_context(cadata=ca)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{server}/readyz", context=context, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise CannotStart(f"kube-apiserver did not become ready:\n{log.read_text()[-2000:]}")


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_ports(count: int) -> list[int]:
    """Free now; all are held at once, so that they differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
