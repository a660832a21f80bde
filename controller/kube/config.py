"""Which API server, and how to prove who we are: kubeconfig files, or the files of a pod.

Guarantee: loading is plain file reading and costs milliseconds; tokens in files are read again at
least every minute and at once after the server refused one, and so is the cluster's CA.
kubernetes-asyncio is imported only when a kubeconfig's user needs a plugin (``exec``, ``auth-provider``),
because importing it costs half a second and 70 MiB.

Non-guarantee: nothing is connected to; a wrong address shows with the first request.
"""

from __future__ import annotations

import base64
import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from controller.kube.credentials import (
    BasicCredentials,
    FileCredentials,
    NoCredentials,
    PluginCredentials,
    load_client_certificate,
)
from controller.kube.errors import ConfigError

SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount"


class Credentials(Protocol):
    """The source of the Authorization header."""

    @property
    def waits(self) -> bool:
        """Whether :meth:`authorization` may have to wait for somebody, and so needs a limit of time."""
        ...

    async def authorization(self) -> str | None:
        """The header's value, fresh; None when the connection itself (client certificate) proves us."""
        ...

    def rejected(self) -> None:
        """The server said 401, or proved itself with an unknown authority: ask the source again next time."""
        ...


@dataclass(frozen=True, slots=True)
class ClusterConfig:
    """One API server and one identity. ``ssl`` is None for plain http."""

    server: str
    ssl: ssl.SSLContext | None
    credentials: Credentials
    namespace: str = "default"
    """The namespace of the context, or of the pod."""
    proxy_url: str | None = None
    server_hostname: str | None = None
    """The name that the server's certificate must carry, where it is not the address's host."""
    user_agent: str = "neo4j-backup-operator"
    """Who the server's audit log says it was; what stands before a slash is the default field manager."""


def load_config(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    service_account_dir: str = SERVICE_ACCOUNT_DIR,
) -> ClusterConfig:
    """An explicit kubeconfig, else ``KUBECONFIG``, else the pod's own files, else ``~/.kube/config``."""
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if named:
        return from_kubeconfig([Path(part) for part in named.split(os.pathsep) if part], context)
    if os.environ.get("KUBERNETES_SERVICE_HOST") and Path(service_account_dir, "token").exists():
        return in_cluster(service_account_dir)
    home = Path.home() / ".kube" / "config"
    if home.exists():
        return from_kubeconfig([home], context)
    raise ConfigError("no kubeconfig is given, KUBECONFIG is not set, and this is not a pod")


def in_cluster(service_account_dir: str = SERVICE_ACCOUNT_DIR) -> ClusterConfig:
    """What every pod with a service account finds in its file system and environment."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    files = Path(service_account_dir)
    tls = _ssl_context()
    return ClusterConfig(
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        ssl=tls,
        credentials=FileCredentials(files / "token", ca_file=files / "ca.crt", tls=tls),
        namespace=(files / "namespace").read_text().strip() if (files / "namespace").exists() else "default",
    )


def from_kubeconfig(paths: list[Path], context: str | None = None) -> ClusterConfig:
    """The named or current context of one kubeconfig, or of several merged as kubectl merges them."""
    merged = _merged([path for path in paths if path.exists()] or paths[:1])
    name = context or merged.get("current-context") or ""
    chosen = _named(merged, "contexts", name)["context"]
    cluster_entry = _named(merged, "clusters", chosen.get("cluster", ""))
    cluster, base = cluster_entry["cluster"], cluster_entry["_dir"]
    user_entry = _named(merged, "users", chosen["user"]) if chosen.get("user") else {"user": {}, "_dir": base}
    server = str(cluster.get("server") or "").rstrip("/")
    tls = _kubeconfig_tls(cluster, base) if server.startswith("https:") else None
    return ClusterConfig(
        server=server,
        ssl=tls,
        credentials=_credentials(merged, name, user_entry, tls),
        namespace=chosen.get("namespace") or "default",
        proxy_url=cluster.get("proxy-url"),
        server_hostname=cluster.get("tls-server-name"),
    )


def _ssl_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python 3.13 asks for RFC 5280 details that the CAs of old clusters lack; client-go does not.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _kubeconfig_tls(cluster: dict[str, Any], base: Path) -> ssl.SSLContext:
    context = _ssl_context()
    authority = _file_or_data(cluster, "certificate-authority", base)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif authority is not None:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    else:
        context.load_default_certs()
    return context


def _credentials(
    merged: dict[str, Any], context: str, entry: dict[str, Any], tls: ssl.SSLContext | None
) -> Credentials:
    user, base = entry["user"] or {}, entry["_dir"]
    certificate = _file_or_data(user, "client-certificate", base)
    key = _file_or_data(user, "client-key", base)
    if tls is not None and certificate is not None and key is not None:
        load_client_certificate(tls, certificate, key)
    if user.get("exec") or user.get("auth-provider"):
        return PluginCredentials(_plugin_document(merged), context, str(base), tls)
    if user.get("tokenFile"):
        return FileCredentials(base / user["tokenFile"])
    if user.get("token"):
        return BasicCredentials(f"Bearer {user['token']}")
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        return BasicCredentials("Basic " + base64.b64encode(pair).decode("ascii"))
    return NoCredentials()


def _file_or_data(section: dict[str, Any], key: str, base: Path) -> bytes | None:
    if section.get(f"{key}-data"):
        return base64.b64decode(section[f"{key}-data"])
    if section.get(key):
        return (base / str(section[key])).read_bytes()
    return None


def _merged(paths: list[Path]) -> dict[str, Any]:
    """The first file that says something wins, and relative paths belong to the file they stand in."""
    result: dict[str, Any] = {"contexts": [], "clusters": [], "users": []}
    for path in paths:
        document = _read_yaml(path)
        result.setdefault("current-context", document.get("current-context") or None)
        result["current-context"] = result["current-context"] or document.get("current-context")
        for section in ("contexts", "clusters", "users"):
            for entry in document.get(section) or []:
                result[section].append({**entry, "_dir": path.absolute().parent})
    return result


def _read_yaml(path: Path) -> dict[str, Any]:
    # A pod has no kubeconfig, and need not load what reads one.
    import yaml

    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read the kubeconfig {path}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{path} is not a kubeconfig")
    return document


def _named(merged: dict[str, Any], section: str, name: str) -> dict[str, Any]:
    for entry in merged[section]:
        if entry.get("name") == name:
            return dict(entry)
    raise ConfigError(f"the kubeconfig has no entry {name!r} in {section}")


def _plugin_document(merged: dict[str, Any]) -> dict[str, Any]:
    """The merged kubeconfig in the form that kubernetes-asyncio's loader takes."""
    sections = ("contexts", "clusters", "users")
    plain = {
        key: [{k: v for k, v in entry.items() if k != "_dir"} for entry in merged[key]] for key in sections
    }
    return {"current-context": merged.get("current-context"), **plain}
