"""What the agent reads from the container around it: programs, Neo4j's configuration, limits, credentials.

Guarantee: children get no password that they do not need, and nothing that would change what a backup
does behind our back. Non-guarantee: a setting that Neo4j computes by running a command (``$(…)``) is
not evaluated, its default is used.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.neo4j.quantity import format_size
from controller.wire.locations import located

DEFAULT_BACKUP_PORT = 6362
DEFAULT_BOLT_PORT = 7687
_LOOPBACK = {"", "0.0.0.0", "::", "127.0.0.1", "localhost"}  # noqa: S104 - compared with, never bound to
_SECRET = re.compile(r"^NEO4J_(AUTH|USERNAME|PASSWORD|AUTH_PATH|AUTH_FILE)$")
_MISLEADING = {"JAVA_OPTS", "NEO4J_DEBUG"}
"""JAVA_OPTS switches HEAP_SIZE off; NEO4J_DEBUG adds a second --verbose, which is a usage error."""
_UNLIMITED = 1 << 60


class NotFound(Exception):
    """A program of Neo4j is not where it should be."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to log in to this pod's own server."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ***)"


def program(name: str, env: Mapping[str, str]) -> str:
    """The path of ``neo4j-admin`` or ``cypher-shell``. Raises :class:`NotFound`."""
    home = env.get("NEO4J_HOME", "/var/lib/neo4j")
    candidate = located(f"{home}/bin/{name}")
    if os.access(candidate, os.X_OK):
        return str(candidate)
    found = shutil.which(name, path=env.get("PATH"))
    if not found:
        raise NotFound(f"{name} is neither in {home}/bin nor on the PATH: is this Neo4j Enterprise's image?")
    return found


def base_env(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of every child, without passwords."""
    kept = {key: value for key, value in env.items() if not _SECRET.match(key) and key not in _MISLEADING}
    return kept | {"TZ": "UTC"}


def admin_env(env: Mapping[str, str], heap: int) -> dict[str, str]:
    return base_env(env) | {"HEAP_SIZE": format_size(heap)}


def shell_env(env: Mapping[str, str], credentials: Credentials) -> dict[str, str]:
    """For cypher-shell: argv would show the password to everybody who can list processes."""
    return base_env(env) | {
        "NEO4J_USERNAME": credentials.username,
        "NEO4J_PASSWORD": credentials.password,
    }


def credentials(env: Mapping[str, str]) -> Credentials | None:
    """From ``NEO4J_AUTH`` (``user/password``), its file forms, or ``NEO4J_USERNAME`` and ``_PASSWORD``."""
    combined = env.get("NEO4J_AUTH", "") or _first_file(env, "NEO4J_AUTH_PATH", "NEO4J_AUTH_FILE")
    if "/" in combined:
        username, _, password = combined.partition("/")
        return Credentials(username, password)
    if combined == "none":
        return Credentials("", "")
    if env.get("NEO4J_PASSWORD"):
        return Credentials(env.get("NEO4J_USERNAME") or "neo4j", env["NEO4J_PASSWORD"])
    return None


def _first_file(env: Mapping[str, str], *names: str) -> str:
    for name in names:
        path = located(env[name]) if env.get(name) else None
        if path and path.is_file():
            return path.read_text().strip()
    return ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """Neo4j's settings: the configuration file, overruled by the image's environment convention."""

    file: Mapping[str, str]
    env: Mapping[str, str]

    def get(self, setting: str) -> str:
        name = "NEO4J_" + setting.replace("_", "__").replace(".", "_")
        value = self.env.get(name) or self.file.get(setting, "")
        return "" if value.startswith("$(") else value.strip()

    def backup_address(self) -> str:
        """Where this pod's own server listens for backups, as its neighbour reaches it."""
        return _reachable(self.get("server.backup.listen_address"), DEFAULT_BACKUP_PORT)

    def bolt_address(self) -> str:
        """The URI for cypher-shell; ``bolt``, not ``neo4j``, so that no other server answers."""
        scheme = "bolt+ssc" if self.get("server.bolt.tls_level").upper() == "REQUIRED" else "bolt"
        return f"{scheme}://{_reachable(self.get('server.bolt.listen_address'), DEFAULT_BOLT_PORT)}"

    def advertised_address(self) -> str:
        """What ``SHOW DATABASES`` calls this server; empty where the configuration does not say."""
        host, port = _split(self.get("server.bolt.advertised_address"))
        host = host or _split(self.get("server.default_advertised_address"))[0]
        return f"{host}:{port or DEFAULT_BOLT_PORT}" if host else ""

    def is_backup_enabled(self) -> bool:
        return self.get("server.backup.enabled").lower() != "false"


def configuration(env: Mapping[str, str]) -> Configuration:
    """Read now, because a configuration that is mounted may change under a running agent."""
    directory = env.get("NEO4J_CONF") or f"{env.get('NEO4J_HOME', '/var/lib/neo4j')}/conf"
    try:
        text = located(f"{directory}/neo4j.conf").read_text(errors="replace")
    except OSError:
        text = ""
    return Configuration(dict(_settings(text)), env)


def _settings(text: str) -> list[tuple[str, str]]:
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return [(key.strip(), value.strip()) for key, _, value in pairs]


def _reachable(address: str, default_port: int) -> str:
    host, port = _split(address)
    name = "localhost" if host in _LOOPBACK else host
    return f"[{name}]:{port or default_port}" if ":" in name else f"{name}:{port or default_port}"


def _split(address: str) -> tuple[str, str]:
    match = re.match(r"^(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^:]*))(?::(?P<port>\d+))?$", address.strip())
    if not match:
        return "", ""
    return match["v6"] or match["host"] or "", match["port"] or ""


def memory_limit() -> int | None:
    """The container's memory limit in bytes, from cgroup v2 or v1."""
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        text = _read(located("/sys/fs/cgroup") / name)
        if text.isdigit() and int(text) < _UNLIMITED:
            return int(text)
    return None


def oom_kills() -> int:
    """How often the kernel killed something in this container for memory; 0 where it does not say."""
    events = _read(located("/sys/fs/cgroup/memory.events"))
    found = re.search(r"^oom_kill (\d+)$", events, re.MULTILINE)
    return int(found[1]) if found else 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
