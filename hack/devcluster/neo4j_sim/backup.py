"""``neo4j-admin database backup``.

Guarantee: exit code 0 only when every listed server answered and every database has its artifact; a failed
database leaves no artifact and does not keep the others from being tried; an artifact's name is the local
time at which it was made, its header UTC.
Non-guarantee: cloud URIs are refused, as if no credentials were found.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from hack.devcluster.neo4j_sim import artifact, chain, inspecting, names, sources, transfer
from hack.devcluster.neo4j_sim.artifact import Header
from hack.devcluster.neo4j_sim.chain import Artifact
from hack.devcluster.neo4j_sim.console import Console
from hack.devcluster.neo4j_sim.errors import CommandFailed, ServerError
from hack.devcluster.neo4j_sim.picocli import UsageError
from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.sources import Address, Sources
from hack.devcluster.neo4j_sim.versions import at_least

CLOUD_SCHEMES = ("s3://", "gs://", "azb://")
Mode = Literal["full", "differential"]


class DatabaseFailed(Exception):
    """One database could not be backed up."""


class NoParent(DatabaseFailed):
    """A DIFF that cannot be; AUTO makes a FULL instead."""


def refuse_cloud(path: str) -> None:
    if path.startswith(CLOUD_SCHEMES):
        if not path.endswith("/"):
            raise CommandFailed(
                f"The path '{path}' is not a directory - please add a terminal '/' to your path"
            )
        raise CommandFailed(f"Unable to access '{path}': unable to load credentials from any provider")


def run(console: Console) -> int:
    """Raises UsageError, CommandFailed."""
    parsed = console.parsed
    if parsed.value("--inspect-path"):
        return inspecting.legacy(console, Path(parsed.value("--inspect-path")))
    if not parsed.value("--to-path"):
        raise UsageError("Missing required option: '--to-path=<path>'")
    refuse_cloud(parsed.value("--to-path"))
    target = Path(parsed.value("--to-path"))
    if not target.is_dir():
        raise CommandFailed(f"The directory '{target}' does not exist.")
    with transfer.staging_directory(parsed.value("--temp-path")) as staging:
        return _Run(console, target, staging).run()


@dataclass(slots=True)
class _Run:
    console: Console
    target: Path
    staging: Path
    problems: list[str] = field(default_factory=list)
    exit_code: int = 1

    def run(self) -> int:
        parsed = self.console.parsed
        addresses = [sources.parse_address(text) for text in parsed.many("--from") or ["localhost:6362"]]
        found = sources.look(addresses, self.console.installation.version_text)
        for address, reason in found.unreachable:
            self.console.log(f"Could not connect to remote server {address}: {reason}", "WARN")
            self.problems.append(f"Server {address} could not be reached: {reason}")
        if not found.reachable:
            raise CommandFailed(f"Execution of backup failed. {'; '.join(self.problems)}")
        time.sleep(self.console.faults.hang_seconds)
        self._databases(found)
        if self.problems:
            raise CommandFailed("Execution of backup failed. " + "; ".join(self.problems), self.exit_code)
        if self.console.faults.exit_one_with_artifacts:
            raise CommandFailed("Execution of backup failed. Not all servers could be contacted.")
        self.console.log("Backup command completed.")
        return 0

    def _databases(self, found: Sources) -> None:
        remote = self.console.parsed.flag("--remote-address-resolution")
        wanted = [names.normalized(text) for text in self.console.parsed.positionals or ["neo4j"]]
        chosen, missing = sources.select(wanted, found.everywhere() if remote else found.databases())
        for name in missing:
            self._failed(str(sources.not_found(name)).removeprefix("Execution of backup failed. "))
        if not chosen and not missing:
            self._failed(f"No database matches {', '.join(wanted)}")
        for name in chosen:
            servers = found.for_database(name, remote)
            listed = ", ".join(map(str, servers))
            self.console.log(f"Starting backup of database '{name}' from servers: [{listed}]")
            try:
                _DatabaseBackup(self, name, servers).run()
            except (DatabaseFailed, OSError) as error:
                self._failed(f"Backup of database '{name}' failed: {_java(error)}")

    def _failed(self, reason: str) -> None:
        self.console.log(reason, "ERROR")
        self.problems.append(reason)


def _java(error: Exception) -> str:
    return f"java.io.IOException: {error.strerror}" if isinstance(error, OSError) else str(error)


@dataclass(slots=True)
class _DatabaseBackup:
    """One database; the servers are tried in order."""

    owner: _Run
    name: str
    servers: Sequence[Address]

    @property
    def console(self) -> Console:
        return self.owner.console

    def run(self) -> None:
        fault = self.console.faults.for_database("backup", self.name)
        self.console.log(f"Start backup of database '{self.name}'.")
        last: Exception = DatabaseFailed(f"Database '{self.name}' was not found or not running")
        for server in self.servers:
            self.console.log(f"Using remote server {server} for backup of database '{self.name}'.")
            if fault:
                self.owner.exit_code = int(fault.get("exit", 1))
                raise DatabaseFailed(fault.get("message", "ordered to fail"))
            try:
                return self._from(server)
            except (ConnectionError, TimeoutError, ServerError) as error:
                self.console.log(f"Lost connection to {server}: {error}", "WARN")
                last = DatabaseFailed(str(error))
        raise last

    def _from(self, server: Address) -> None:
        wanted = self.console.parsed.value("--type", "AUTO").upper()
        if wanted == "FULL":
            return self._full(server)
        try:
            return self._differential(server)
        except NoParent as reason:
            self.console.log(
                f"Differential backup of database '{self.name}' failed. Reason: {reason}", "WARN"
            )
            if wanted == "DIFF":
                raise
        self.console.log(f"Falling back to full backup of database '{self.name}'.")
        return self._full(server)

    def _differential(self, server: Address) -> None:
        self.console.log(f"Start differential backup of database '{self.name}'.")
        parent = self._parent(server)
        try:
            self._take(server, "differential", parent.header.highest + 1, self._reach(parent.header))
        except ServerError as error:
            if error.code != "LogsPruned":
                raise
            raise NoParent(error.message) from error

    def _reach(self, parent: Header) -> int:
        """How many transactions of its FULL the first differential repeats."""
        may_reach = parent.full and at_least(self.console.installation.version, 2026, 2)
        return self.console.faults.diff_overlap if may_reach else 0

    def _parent(self, server: Address) -> Artifact:
        connection, answer = sources.open_backup(server, self._request("identify", None))
        connection.close()
        parent = chain.parent_for_diff(
            answer["id"],
            chain.scan(self.owner.target),
            self.console.installation.version,
            self.console.parsed.flag("--prefer-diff-as-parent"),
        )
        if parent is None:
            raise NoParent(
                "Differential backups require that a full backup of the same database exists in the folder "
                f"defined in --to-path. No existing backup found here: {self.owner.target}"
            )
        return parent

    def _full(self, server: Address) -> None:
        self.console.log(f"Start full backup of database '{self.name}'.")
        self._take(server, "full", 1)

    def _request(self, operation: str, lowest: int | None) -> Json:
        version = self.console.installation.version_text
        return {"op": operation, "database": self.name, "lowest": lowest, "clientVersion": version}

    def _take(self, server: Address, mode: Mode, lowest: int, reach: int = 0) -> None:
        started = time.monotonic()
        request = self._request("backup", lowest) | {"reach": reach}
        connection, answer = sources.open_backup(server, request)
        staged = self.owner.staging / f"{self.name}.store"
        try:
            if answer["length"] == 0:
                self.console.log(
                    f"The remote server ({server}) has not any recent data for database "
                    f"'DatabaseId{{{answer['id'][:8]}[{self.name}]}}'."
                )
            self.console.log(f"Start receiving store files for database '{self.name}'.")
            transfer.stage(connection, answer["length"], staged, self.console.faults)
            took = int((time.monotonic() - started) * 1000)
            self.console.log(f"Finished receiving store files for database '{self.name}', took {took}ms.")
            self._finish(mode, answer, staged)
        except OSError:
            self._keep_failed(staged)
            raise
        finally:
            connection.close()
            staged.unlink(missing_ok=True)

    def _keep_failed(self, staged: Path) -> None:
        if self.console.parsed.flag("--keep-failed") and staged.exists():
            kept = self.owner.target / f"{self.name}-failed-{int(time.time())}"
            kept.mkdir(exist_ok=True)
            shutil.copy(staged, kept)

    def _finish(self, mode: Mode, answer: Json, staged: Path) -> None:
        first = -1 if mode == "full" else answer["lowest"]
        self.console.log(
            f"Finished {mode} backup of database '{self.name}'. "
            f"Downloaded from tx {first} to tx {answer['highest']}."
        )
        started = time.monotonic()
        path = self._write(mode, answer, staged)
        if self.console.faults.corrupt_artifact:
            _flip_a_bit(path)
        took = int((time.monotonic() - started) * 1000)
        self.console.log(
            f"Finished artifact creation '{path.name}' for database '{self.name}', took {took}ms."
        )

    def _write(self, mode: Mode, answer: Json, staged: Path) -> Path:
        path, moment = free_name(self.owner.target, self.name)
        header = self._header(mode, answer, moment)
        try:
            artifact.write(path, header, transfer.read_chunks(staged))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def _header(self, mode: Mode, answer: Json, moment: datetime) -> Header:
        full = mode == "full"
        parsed = self.console.parsed
        metadata = "" if self.name == "system" else parsed.value("--include-metadata", "all").lower()
        return Header(
            name=self.name,
            id=answer["id"],
            store_id=answer["storeId"],
            time=f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
            full=full,
            compressed=parsed.flag("--compress", True),
            lowest=answer["lowest"] if answer["length"] else 0,
            highest=answer["highest"] if answer["length"] else 0,
            recovered=full and not parsed.flag("--skip-recovery"),
            version=self.console.installation.version_text,
            store_size=answer["storeSize"],
            metadata=answer["metadata"] if metadata not in ("", "none") else "",
        )


def free_name(folder: Path, database: str) -> tuple[Path, datetime]:
    """A name with the present second, or the next free one: what the real tool does then is unknown."""
    while True:
        moment = datetime.now().astimezone()
        path = folder / f"{database}-{moment:%Y-%m-%dT%H-%M-%S}.backup"
        if not path.exists():
            return path, moment
        time.sleep(0.05)


def _flip_a_bit(path: Path) -> None:
    middle = path.stat().st_size * 2 // 3
    with path.open("r+b") as file:
        file.seek(middle)
        byte = file.read(1)[0]
        file.seek(middle)
        file.write(bytes([byte ^ 1]))
        os.fsync(file.fileno())
