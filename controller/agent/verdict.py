"""Whether a dump is good: a pure function of what was asked for, what was printed and what can be read.

Guarantee: a database counts as backed up only when this run made an artifact of it that Neo4j itself
reads back. An exit code of 0 proves nothing without artifacts; 1 with every artifact in place is a
warning, because Neo4j says 1 for "succeeded with problems" too; any other code is a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.neo4j.inspect import Inspected
from controller.neo4j.names import ALL, normalise, parse_artifact
from controller.neo4j.output import Event, failures, fallbacks
from controller.wire.messages import Artifact, DatabaseFailure

_MEANING = {
    64: "neo4j-admin did not accept its command line",
    137: "killed (SIGKILL), usually because the container ran out of memory",
    143: "terminated (SIGTERM)",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One finished call of ``neo4j-admin database backup``."""

    databases: tuple[str, ...]
    exit_code: int
    events: tuple[Event, ...] = ()
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the dump left behind."""

    requested: tuple[str, ...]
    """Exact names, or ``*`` alone."""
    calls: tuple[Call, ...]
    inspected: tuple[Inspected, ...]
    files: Mapping[str, int]
    """Size of each file that this run added to its destination."""
    store_sizes: Mapping[str, int] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    """Databases that were not dumped at all, and why."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """``error`` is empty when, and only when, the run succeeded."""

    artifacts: tuple[Artifact, ...]
    failures: tuple[DatabaseFailure, ...]
    warnings: tuple[str, ...]
    error: str
    exit_code: int


def judge(evidence: Evidence) -> Verdict:
    artifacts = _readable(evidence)
    failed = _failed(evidence, {artifact.database for artifact in artifacts})
    exit_code = max((call.exit_code for call in evidence.calls), default=0)
    error = _error(evidence, artifacts, failed)
    return Verdict(
        artifacts=artifacts,
        failures=failed,
        warnings=() if error else _warnings(evidence),
        error=error,
        exit_code=exit_code,
    )


def explain_exit(code: int) -> str:
    meaning = _MEANING.get(code, "")
    return f"exit code {code}" + (f", {meaning}" if meaning else "")


def _readable(evidence: Evidence) -> tuple[Artifact, ...]:
    headers = {row.file: row for row in evidence.inspected}
    names = sorted(name for name, size in evidence.files.items() if parse_artifact(name) and size > 0)
    return tuple(_artifact(headers[name], evidence) for name in names if name in headers)


def _artifact(header: Inspected, evidence: Evidence) -> Artifact:
    database = normalise(header.database)
    return Artifact(
        database=database,
        file=header.file,
        size=evidence.files[header.file],
        database_id=header.database_id,
        time=header.time,
        full=header.full,
        compressed=header.compressed,
        lowest_tx=header.lowest_tx,
        highest_tx=header.highest_tx,
        recovered=header.recovered,
        store_size=evidence.store_sizes.get(database, 0),
    )


def _failed(evidence: Evidence, saved: set[str]) -> tuple[DatabaseFailure, ...]:
    told = failures(event for call in evidence.calls for event in call.events)
    missing = [name for name in _expected(evidence, told) if name not in saved]
    return tuple(DatabaseFailure(database=name, reason=_reason(name, evidence, told)) for name in missing)


def _expected(evidence: Evidence, told: Mapping[str, str]) -> list[str]:
    """For ``*`` every database that the output speaks of: nothing else says what was to be expected."""
    if evidence.requested != (ALL,):
        return list(evidence.requested)
    mentioned = (event.database for call in evidence.calls for event in call.events)
    return list(dict.fromkeys([*mentioned, *told]))


def _reason(name: str, evidence: Evidence, told: Mapping[str, str]) -> str:
    if name in evidence.refused:
        return evidence.refused[name]
    unread = [file for file in evidence.files if (found := parse_artifact(file)) and found.database == name]
    if unread:
        return f"{unread[0]} was written, but neo4j-admin backup inspect does not read it back"
    if name in told:
        return told[name]
    call = next((call for call in evidence.calls if name in call.databases or ALL in call.databases), None)
    if call is None:
        return "the run ended before its turn"
    return call.last_error if call.exit_code == 1 and call.last_error else _without_artifact(call)


def _without_artifact(call: Call) -> str:
    said = f": {call.last_error}" if call.last_error else ""
    return f"no artifact was written ({explain_exit(call.exit_code)}){said}"


def _error(evidence: Evidence, artifacts: Sequence[Artifact], failed: Sequence[DatabaseFailure]) -> str:
    if failed:
        first = f"{failed[0].database}: {failed[0].reason}"
        return first if len(failed) == 1 else f"{len(failed)} databases failed, the first is {first}"
    for call in evidence.calls:
        # behind `*` a database may be missing that the output never spoke of, so there 1 is a failure
        if call.exit_code not in {0, 1} or (call.exit_code == 1 and call.databases == (ALL,)):
            return f"{explain_exit(call.exit_code)}: {call.last_error or 'neo4j-admin said nothing'}"
    return "" if artifacts else "neo4j-admin wrote no artifact"


def _warnings(evidence: Evidence) -> tuple[str, ...]:
    problems = tuple(
        f"neo4j-admin ended with exit code 1 although every artifact is there: {call.last_error}"
        for call in evidence.calls
        if call.exit_code == 1
    )
    events = [event for call in evidence.calls for event in call.events]
    instead = tuple(f"{name}: {fell_back(reason)}" for name, reason in fallbacks(events).items())
    return problems + instead


def fell_back(reason: str) -> str:
    """Why a FULL backup was made instead of a differential one, and what may help."""
    return (
        f"a differential was not possible, a FULL backup was made: {reason}; if the transaction logs do not "
        "reach back far enough, raise db.tx_log.rotation.retention_policy or back up more often"
    )
