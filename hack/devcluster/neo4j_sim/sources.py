"""The servers that a backup is taken from.

Guarantee: addresses are tried in the order given; one that does not answer is remembered as a problem and
skipped; nothing else than what a server says it hosts can be backed up from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hack.devcluster.neo4j_sim import names, protocol
from hack.devcluster.neo4j_sim.errors import CommandFailed, ServerError
from hack.devcluster.neo4j_sim.protocol import BACKUP_PORT, Connection, Json

CONNECT_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    return Address(*protocol.split_address(text, BACKUP_PORT))


def checked(answer: Json) -> Json:
    if "error" in answer:
        raise ServerError(answer["error"], answer["message"])
    return answer


def open_backup(address: Address, request: Json) -> tuple[Connection, Json]:
    """Raises OSError, ServerError."""
    connection = protocol.connect(address.host, address.port, CONNECT_TIMEOUT)
    try:
        return connection, checked(connection.ask(request))
    except BaseException:
        connection.close()
        raise


@dataclass(slots=True)
class Sources:
    """What the listed servers answered."""

    reachable: list[tuple[Address, Json]] = field(default_factory=list)
    unreachable: list[tuple[Address, str]] = field(default_factory=list)

    def databases(self) -> list[str]:
        """The union, in the order of the servers."""
        seen: dict[str, Any] = {}
        for _, answer in self.reachable:
            seen.update(dict.fromkeys(item["name"] for item in answer["databases"] if _available(item)))
        return list(seen)

    def for_database(self, name: str, remote_resolution: bool) -> list[Address]:
        if remote_resolution:
            return self._resolved(name)
        return [
            address
            for address, answer in self.reachable
            if any(item["name"] == name and _available(item) for item in answer["databases"])
        ]

    def _resolved(self, name: str) -> list[Address]:
        routes = next((answer["routes"].get(name) for _, answer in self.reachable), None)
        return [parse_address(text) for text in routes or ()]

    def everywhere(self) -> list[str]:
        """With remote resolution, the databases of the whole DBMS."""
        return list(dict.fromkeys(name for _, answer in self.reachable for name in answer["routes"]))


def _available(item: Json) -> bool:
    return bool(item["status"] == "online" and item["type"] in ("standard", "system"))


def look(addresses: Sequence[Address], client_version: str) -> Sources:
    sources = Sources()
    for address in addresses:
        try:
            connection, answer = open_backup(address, {"op": "list", "clientVersion": client_version})
            connection.close()
            sources.reachable.append((address, answer))
        except (OSError, ServerError) as error:
            sources.unreachable.append((address, str(error)))
    return sources


def select(wanted: Sequence[str], available: Sequence[str]) -> tuple[list[str], list[str]]:
    """Databases to back up, and the exact names that no server offers."""
    chosen: dict[str, None] = {}
    missing: list[str] = []
    for pattern in wanted:
        if names.is_pattern(pattern):
            chosen.update(dict.fromkeys(names.matching(pattern, available)))
        elif pattern in available:
            chosen[pattern] = None
        else:
            missing.append(pattern)
    return list(chosen), missing


def not_found(name: str) -> CommandFailed:
    return CommandFailed(f"Execution of backup failed. Database '{name}' was not found or not running")
