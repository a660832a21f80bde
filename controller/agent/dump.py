"""One dump: from a request to a status, with ``neo4j-admin`` doing the work.

Guarantee: every way out is an :class:`AgentStatus` with its cause, except being asked to stop
(:class:`Interrupted`) and a sidecar that stays busy (:class:`Busy`), which the daemon records; at most
one JVM of ours runs at a time; a failed run leaves no staging behind unless some of its databases have
a good artifact. Non-guarantee: a destination that a person named keeps whatever Neo4j wrote there.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from controller.agent import chains, continuing, space
from controller.agent.checking import Checker
from controller.agent.clock import now_text
from controller.agent.continuing import Continuation
from controller.agent.destination import Refused, container_path, prepare, prepare_temporary
from controller.agent.lock import JVM_LOCK, Busy, Held, held
from controller.agent.meter import Meter
from controller.agent.places import remove_tree
from controller.agent.process import Interrupted, Launch, stream
from controller.agent.surroundings import (
    NotFound,
    admin_env,
    configuration,
    memory_limit,
    oom_kills,
    program,
)
from controller.agent.verdict import Call, Evidence, Verdict, judge
from controller.agent.workshop import Workshop, neo4j_version
from controller.neo4j import commands, names
from controller.neo4j.arguments import Extra, parse_arguments
from controller.neo4j.inspect import Inspected, parse_inspect
from controller.neo4j.memory import MemoryPlan, plan_memory
from controller.neo4j.names import ALL
from controller.neo4j.output import last_error
from controller.neo4j.quantity import BadSize, human, parse_size
from controller.neo4j.versions import Version
from controller.wire.messages import AgentStatus, BackupRequest, RunState

__all__ = ["Busy", "Interrupted", "perform"]

LOCK_PATIENCE_SECONDS = 300.0
"""A topology question may hold the JVM lock when a dump's turn comes."""
_ADDRESS = re.compile(r"[A-Za-z0-9._\[\]:-]+")


@dataclass(frozen=True, slots=True)
class _Job:
    """A request that was checked, with everything decided that can be decided before the dump."""

    request: BackupRequest
    databases: tuple[str, ...]
    version: Version
    extra: Extra
    memory: MemoryPlan
    addresses: tuple[str, ...]
    destination: Path
    temporary: Path

    chains: Continuation
    whole_stores: Mapping[str, int]
    """Bytes of the stores that are copied whole, as far as they can be seen."""

    def calls(self) -> list[commands.Backup]:
        """In one go: what has the same type, ``system`` apart."""
        return [
            self._command(type_, names)
            for type_, databases in self.chains.groups(self.databases)
            for names in commands.split_calls(databases)
        ]

    def _command(self, type_: commands.BackupType, databases: tuple[str, ...]) -> commands.Backup:
        return commands.Backup(
            databases=databases,
            to_path=str(self.destination),
            temp_path=str(self.temporary),
            type=type_,
            from_addresses=self.addresses,
            compress=self.request.compress,
            page_cache=self.memory.page_cache,
            include_metadata=self.extra.include_metadata,
            extra=self.extra.flags,
        )


@dataclass(frozen=True, slots=True)
class _Bench:
    """One dump's tools."""

    workshop: Workshop
    admin: str
    launch: Launch
    meter: Meter


def perform(request: BackupRequest, workshop: Workshop) -> AgentStatus:
    """Dump what ``request`` asks for. Raises :class:`Interrupted`, :class:`Busy`."""
    started = AgentStatus(
        run_id=request.run_id,
        state=RunState.RUNNING,
        started=now_text(),
        type=request.type,
        path=container_path(request),
    )
    try:
        status = _perform(request, workshop, started)
    except (Refused, NotFound) as refused:
        status = _failed(started, str(refused))
    except subprocess.TimeoutExpired as late:
        status = _failed(started, f"{Path(late.cmd[0]).name} gave no answer within {late.timeout:.0f}s")
    except OSError as error:
        status = _failed(started, f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    finally:
        remove_tree(workshop.places.temporary(request.run_id))
    if not status.artifacts or request.path:
        remove_tree(workshop.places.run_directory(request.run_id))
    return status


def requested_databases(request: BackupRequest) -> tuple[str, ...]:
    """Normalised exact names, or ``*`` alone. Raises :class:`Refused`."""
    asked = request.databases or ((request.database,) if request.database else (ALL,))
    refusals = [reason for reason in map(names.refusal, asked) if reason]
    if refusals:
        raise Refused("; ".join(refusals))
    normalised = tuple(dict.fromkeys(map(names.normalise, asked)))
    return (ALL,) if ALL in normalised else normalised


def _perform(request: BackupRequest, workshop: Workshop, started: AgentStatus) -> AgentStatus:
    databases = requested_databases(request)
    admin = program("neo4j-admin", workshop.env)
    with held(workshop.journal.directory / JVM_LOCK, LOCK_PATIENCE_SECONDS, workshop.should_stop) as lock:
        version = neo4j_version(workshop, admin, lock)
        extra = _extra(request, version)
        temporary = prepare_temporary(request, workshop.places, extra.temp_path)
        try:
            job = _decide(request, workshop, (databases, version, extra), temporary)
            verdict = _run(job, _bench(job, workshop, admin, lock))
        finally:
            remove_tree(temporary)
    notes = (job.memory.note,) if job.memory.note else ()
    return _conclude(msgspec.structs.replace(started, neo4j_version=str(version), warnings=notes), verdict)


def _extra(request: BackupRequest, version: Version) -> Extra:
    arguments = list(request.additional_args)
    if not any(argument.startswith("--include-metadata") for argument in arguments):
        arguments.append(f"--include-metadata={request.include_metadata}")
    extra = parse_arguments(arguments, version)
    if extra.refusals:
        raise Refused("; ".join(extra.refusals))
    return extra


def _decide(
    request: BackupRequest,
    workshop: Workshop,
    asked: tuple[tuple[str, ...], Version, Extra],
    temporary: Path,
) -> _Job:
    databases, version, extra = asked
    memory = plan_memory(memory_limit(), _page_cache(request.page_cache))
    if memory.refusal:
        raise Refused(memory.refusal)
    found = continuing.decide(request, databases, version, workshop)
    destination = prepare(request, workshop.places)
    chains = continuing.lay_out(found, request, databases, workshop, destination)
    stores = space.store_sizes(workshop.places)
    fulls = [name for name in databases if name not in chains.lent and name not in chains.refused]
    artifacts = space.forecast(stores, request.last_fulls, request.compress)
    space.check(stores, artifacts, fulls, destination, temporary)
    return _Job(
        request=request,
        databases=databases,
        version=version,
        extra=extra,
        memory=memory,
        addresses=_addresses(request, workshop),
        destination=destination,
        temporary=temporary,
        chains=chains,
        whole_stores={name: size for name, size in stores.items() if fulls == [ALL] or name in fulls},
    )


def _page_cache(text: str) -> int | None:
    try:
        return parse_size(text) if text else None
    except BadSize as error:
        raise Refused(f"pageCache: {error}") from None


def _addresses(request: BackupRequest, workshop: Workshop) -> tuple[str, ...]:
    """This pod's own server: one unreachable server more would turn the exit code into 1."""
    for address in request.from_addresses:
        if not _ADDRESS.fullmatch(address):
            raise Refused(f"{address!r} is no address of a backup listener: write host:port")
    settings = configuration(workshop.env)
    if not request.from_addresses and not settings.is_backup_enabled():
        raise Refused("server.backup.enabled is false on this server: set it to true to back it up")
    return request.from_addresses or (settings.backup_address(),)


def _bench(job: _Job, workshop: Workshop, admin: str, lock: Held) -> _Bench:
    total = 0 if job.databases == (ALL,) else len(job.databases)
    directories = (job.destination, job.temporary)
    meter = Meter(workshop, job.request.run_id, directories, total, job.whole_stores)
    meter.baseline = meter.measure()
    workplace = workshop.places.run_directory(job.request.run_id)
    workplace.mkdir(parents=True, exist_ok=True)
    return _Bench(workshop, admin, Launch(admin_env(workshop.env, job.memory.heap), workplace, lock), meter)


def _run(job: _Job, bench: _Bench) -> Verdict:
    before = _files(job.destination)
    try:
        calls = [_call(job, bench, command) for command in job.calls()]
        job, more = _begin_anew(job, bench, calls, before)
    except space.Filling:
        # also where a person named the destination: what is half written is of no use and takes the room
        for name in _added(job, before):
            remove_tree(job.destination / name)
        raise
    bench.meter.write("inspecting")
    added = _added(job, before)
    evidence = Evidence(
        requested=job.databases,
        calls=(*calls, *more),
        inspected=_inspect(job, bench, added) if added else (),
        files=added,
        store_sizes=space.store_sizes(bench.workshop.places),
        refused=job.chains.refused,
    )
    verdict = _verified(judge(evidence), job, bench, evidence.inspected)
    events = [event for call in evidence.calls for event in call.events]
    artifacts = (continuing.explained(one, job.request, job.chains, events) for one in verdict.artifacts)
    return replace(verdict, artifacts=tuple(artifacts))


def _verified(verdict: Verdict, job: _Job, bench: _Bench, rows: Sequence[Inspected]) -> Verdict:
    if not job.request.verify or not verdict.artifacts:
        return verdict
    places, chain = bench.workshop.places, job.request.chain
    workplace = places.run_directory(job.request.run_id) / "check"
    checker = Checker(
        bench.admin,
        job.version,
        bench.launch,
        bench.meter,
        job.memory,
        job.destination,
        workplace,
        job.temporary,
    )
    parents = {
        name: [link.file for link in chains.load(places, chain, name).links] for name in job.chains.lent
    }
    found = checker.verify(verdict, rows, parents)
    for failure in found.failures:
        if failure.unsound and failure.database in job.chains.lent:
            # What is wrong with it may be in any of its parts: it is not made longer.
            chains.forget(places, chain, failure.database)
    return found


def _begin_anew(
    job: _Job, bench: _Bench, calls: Sequence[Call], before: Mapping[str, int]
) -> tuple[_Job, list[Call]]:
    """AUTO takes a FULL where the differential failed: Neo4j itself does so for missing logs only, and a
    chain that was damaged on this disk would fail for ever."""
    saved = {found.database for name in _added(job, before) if (found := names.parse_artifact(name))}
    failed = tuple(name for name in job.chains.lent if name not in saved)
    if job.request.type != "AUTO" or not failed:
        return job, []
    said = next((call.last_error for call in calls if failed[0] in call.databases), "")
    anew = job.chains.given_up(failed, f"the differential backup failed: {said or 'no reason given'}")
    again = replace(job, databases=failed, chains=anew)
    return replace(job, chains=anew), [_call(again, bench, command) for command in again.calls()]


def _added(job: _Job, before: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in _files(job.destination).items() if name not in before}


def _call(job: _Job, bench: _Bench, backup: commands.Backup) -> Call:
    command = backup.argv(bench.admin)
    bench.workshop.say(f"{' '.join(command)} (HEAP_SIZE={bench.launch.env['HEAP_SIZE']})")
    bench.meter.start_call()
    kills = oom_kills()
    code = stream(bench.launch, command, bench.meter.line, bench.meter.tick)
    error = last_error(bench.meter.lines) if code else ""
    if code and oom_kills() > kills:
        error = _out_of_memory(job.memory)
    for leftover in job.temporary.iterdir():
        # the next call insists on an empty directory
        remove_tree(leftover)
    return Call(backup.databases, code, tuple(bench.meter.events), error)


def _out_of_memory(memory: MemoryPlan) -> str:
    limit = memory_limit()
    return (
        f"the kernel killed it for memory: heap {human(memory.heap)}, page cache {human(memory.page_cache)}, "
        f"container limit {human(limit) if limit else 'none'}; raise the sidecar's memory limit"
    )


def _inspect(job: _Job, bench: _Bench, added: Mapping[str, int]) -> tuple[Inspected, ...]:
    """All of the destination in one call; a file that spoils that for the others is left out."""
    rows = _inspect_path(job, bench, job.destination)
    unread = sorted(added.keys() - {row.file for row in rows})
    if len(_files(job.destination)) > 1:
        for name in unread:
            rows += _inspect_path(job, bench, job.destination / name)
    return rows


def _inspect_path(job: _Job, bench: _Bench, path: Path) -> tuple[Inspected, ...]:
    lines: list[str] = []
    command = commands.inspect(bench.admin, job.version, str(path))
    code = stream(bench.launch, command, lines.append, bench.meter.tick)
    if code:
        bench.workshop.say(f"backup inspect ended with exit code {code}: {last_error(lines)}")
    return tuple(parse_inspect("\n".join(lines)))


def _files(directory: Path) -> dict[str, int]:
    return {entry.name: entry.stat().st_size for entry in directory.iterdir() if entry.is_file()}


def _conclude(status: AgentStatus, verdict: Verdict) -> AgentStatus:
    return msgspec.structs.replace(
        status,
        state=RunState.FAILED if verdict.error else RunState.SUCCEEDED,
        finished=now_text(),
        exit_code=verdict.exit_code,
        artifacts=verdict.artifacts,
        failures=verdict.failures,
        warnings=status.warnings + verdict.warnings,
        error=verdict.error,
    )


def _failed(status: AgentStatus, error: str) -> AgentStatus:
    return msgspec.structs.replace(status, state=RunState.FAILED, finished=now_text(), error=error)
