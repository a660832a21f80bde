"""One run, from the specification to the committed manifest.

Guarantee: nothing expensive starts before the repository has proved to be writable; the manifest is
written last and only when at least one database was saved; a run that is in the repository already is
reported and not repeated; the verdict counts what was stored. Every exception on purpose ends as a
result with its reason.

Non-guarantee: artifacts of a run that was not committed stay in the store, invisible, until swept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar, TypeVarTuple, Unpack

import anyio
import anyio.to_thread
import msgspec

from controller.plan.source import (
    Choice,
    Group,
    Keeper,
    SourcePlan,
    choose_sources,
    next_groups,
    with_keepers_first,
)
from controller.repository import catalogue, layout
from controller.repository.chains import OpenChains, newest_full_by_database, open_chains
from controller.repository.encryption.codec import Encryption
from controller.repository.errors import RepositoryError
from controller.repository.intents import Intents
from controller.repository.manifest import MissingDatabase, RunManifest, StoredArtifact, Verification
from controller.repository.store import Store
from controller.repository.verify import level_of
from controller.runner import report
from controller.runner.aftermath import Aftermath, verify, warned
from controller.runner.causes import reason_of
from controller.runner.dump import GroupWork, Tools, plain_file, release, request_for
from controller.runner.groups import unwrapped
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.session import AgentSession, SessionError
from controller.runner.tally import Tally
from controller.runner.transfer import Persistence
from controller.wire.messages import (
    ReleaseRequest,
    RunResult,
    RunSpec,
    Server,
    TopologyAnswer,
    chain_key,
    encode,
)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
PARALLEL_UPLOADS = 2
_NO_PARENT = (
    "a DIFF backup continues a chain, and the repository holds no backup yet: set options.backupType to "
    "AUTO or FULL"
)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of the world."""

    store: Store
    connect: Callable[[Server], AgentSession]
    log: Log
    tracker: Tracker
    now: Callable[[], datetime]
    encryption: Encryption | None = None
    cold: Store | None = None
    """The same repository for what is archived, where that has a storage class of its own."""
    persistence: Persistence = field(default_factory=Persistence)


class Run:
    """One run of one backup."""

    def __init__(self, spec: RunSpec, run_id: str, world: Surroundings) -> None:
        self._spec = spec
        self._run_id = run_id
        self._world = world
        self._started = world.now()
        self._sessions = {server.pod: world.connect(server) for server in spec.servers}
        self._committed: RunResult | None = None
        self._chains = OpenChains()
        self._last_fulls: dict[str, StoredArtifact] = {}
        self._reachable: set[str] = set()
        self._tools = Tools(
            store=world.store,
            tracker=world.tracker,
            log=world.log,
            now=world.now,
            uploads=anyio.Semaphore(PARALLEL_UPLOADS),
            # Another pod of the same Job has a note of its own, so that neither forgets the other's keys.
            intents=Intents(world.store, f"{run_id}-{self._started:%Y%m%dT%H%M%S%f}", world.now),
            encryption=world.encryption,
            persistence=world.persistence,
        )

    async def result(self) -> RunResult:
        """Do it, or say why not; raises only for cancellation and for bugs."""
        try:
            return await self._back_up()
        except RepositoryError as error:
            return self.failure(error.reason, str(error))

    def failure(self, reason: str, error: str, missing: tuple[MissingDatabase, ...] = ()) -> RunResult:
        """The result of this run having come to nothing."""
        return report.failed(
            self._run_id,
            self._started,
            self._world.now(),
            reason,
            error,
            repository=self._world.store.location,
            missing=missing,
        )

    def interrupted(self) -> RunResult:
        """The result of this run having been told to stop; what is committed is a backup all the same."""
        if self._committed is None:
            return self.failure("Interrupted", "the pod was told to stop before the run was done")
        return warned(
            self._committed, "the pod was told to stop before retention was seen to: the next run's"
        )

    async def _back_up(self) -> RunResult:
        store, tracker = self._world.store, self._world.tracker
        tracker.enter("Resolving", f"looking at {store.location}")
        before = await _ask(catalogue.find_run, store, self._run_id)
        if before:
            self._world.log.info("already committed", run=self._run_id)
            self._committed = report.committed(before, store.location)
            await self._release(self._sessions, _files_by_server(before.artifacts))
            return await self._settle(self._committed)
        spec = self._spec
        await _ask(catalogue.prepare, store, spec.namespace, spec.backup, spec.backup_uid, self._started)
        found = await _ask(catalogue.read, store)
        self._last_fulls = newest_full_by_database(found.runs)
        if spec.type != "FULL":
            self._chains = await _ask(_open_chains, store, found)
        if spec.type == "DIFF" and not self._chains.open and not self._chains.broken:
            return self.failure("NoParentBackup", _NO_PARENT)
        tracker.enter("Resolving", "asking the agents which server holds what")
        tally = Tally()
        plan = await self._choose(tally)
        try:
            await self._save(plan.choices, tally)
            result = await self._conclude(plan, tally)
        finally:
            await self._release_after(plan, tally, committed=self._committed is not None)
        return await self._settle(result) if self._committed else result

    async def _settle(self, result: RunResult) -> RunResult:
        world = self._world
        aftermath = Aftermath(world.store, world.tracker, world.log, world.now, world.cold)
        return await aftermath.settle(result, self._spec.retention)

    async def _release_after(self, plan: SourcePlan, tally: Tally, *, committed: bool) -> None:
        """Only now: what was dumped continues a chain when the repository has it, and never before."""
        staged = {pod for pods in tally.tried.values() for pod in pods}
        if not committed:
            await self._release(staged, {})
            return
        files = _files_by_server(tally.saved.values())
        # Every agent hears which chains go on there, so that none keeps what nobody will ever continue.
        are_known = not any(choice.is_everything for choice in plan.choices)
        names = {choice.database for choice in plan.choices}
        names |= {refusal.database for refusal in (*plan.refused, *plan.skipped)}
        elsewhere = {
            pod: {name for name, one in tally.saved.items() if one.server != pod or self._spec.type == "FULL"}
            for pod in self._reachable
        }
        chains = {pod: names - gone for pod, gone in elsewhere.items()} if are_known else {}
        await self._release(staged | chains.keys(), files, chains)

    async def _release(
        self,
        pods: Iterable[str],
        files: Mapping[str, list[str]],
        chains: Mapping[str, set[str]] | None = None,
    ) -> None:
        async with anyio.create_task_group() as tasks:
            for pod in sorted(pods):
                kept = (chains or {}).get(pod)
                request = ReleaseRequest(
                    run_id=self._run_id,
                    committed=tuple(sorted(files.get(pod, ()))),
                    chain="" if kept is None else chain_key(self._spec.namespace, self._spec.backup),
                    open=tuple(sorted(kept or ())),
                )
                tasks.start_soon(release, self._sessions[pod], request, self._world.log)

    async def _choose(self, tally: Tally) -> SourcePlan:
        answers: dict[str, TopologyAnswer] = {}
        unreachable: dict[str, str] = {}

        async def ask(session: AgentSession) -> None:
            try:
                answers[session.name] = await session.topology()
            except SessionError as error:
                unreachable[session.name] = str(error)

        with unwrapped():
            async with anyio.create_task_group() as tasks:
                for session in self._sessions.values():
                    tasks.start_soon(ask, session)
        self._reachable = set(answers)
        plan = choose_sources(self._spec.databases, self._spec.servers, answers, unreachable)
        plan = with_keepers_first(plan, self._keepers())
        self._explain(plan, answers, unreachable)
        for refusal in plan.refused:
            tally.reasons[refusal.database] = [refusal.reason]
        tally.warnings += plan.warnings
        tally.neo4j_version = max((answer.neo4j_version for answer in answers.values()), default="")
        return plan

    def _keepers(self) -> dict[str, Keeper]:
        """Of the chains that are going to be continued: one that is long enough binds nobody."""
        longest = self._spec.max_chain_length if self._spec.type == "AUTO" else 0
        return {
            name: Keeper(one.parent.server, one.parent.highest_tx)
            for name, one in self._chains.open.items()
            if not longest or one.length < longest
        }

    def _explain(
        self, plan: SourcePlan, answers: dict[str, TopologyAnswer], unreachable: dict[str, str]
    ) -> None:
        log = self._world.log
        for pod, reason in sorted(unreachable.items()):
            log.warning("agent does not answer", server=pod, reason=reason)
        for pod, answer in sorted(answers.items()):
            if answer.error:
                log.warning("topology unknown", server=pod, reason=answer.error)
        for choice in plan.choices:
            best = choice.candidates[0]
            log.info("source", database=choice.database, server=best.pod, role=best.role, why=best.why)
        for refusal in plan.refused:
            log.error("cannot be saved", database=refusal.database, reason=refusal.reason)
        for skip in plan.skipped:
            log.info("skipped", database=skip.database, reason=skip.reason)

    async def _save(self, choices: tuple[Choice, ...], tally: Tally) -> None:
        """Round by round: what failed on one server is tried on the next that holds it."""
        tracker = self._world.tracker
        tracker.databases_total = len(choices)
        while True:
            pending = [choice for choice in choices if self._is_pending(choice, tally)]
            groups = next_groups(pending, tally.tried)
            if not groups:
                return
            with unwrapped():
                async with anyio.create_task_group() as tasks:
                    for group in groups:
                        tasks.start_soon(self._work_off, group, choices, tally)

    async def _work_off(self, group: Group, choices: Iterable[Choice], tally: Tally) -> None:
        roles = {
            choice.database: candidate.role
            for choice in choices
            for candidate in choice.candidates
            if candidate.pod == group.pod
        }
        session = self._sessions[group.pod]
        work = GroupWork(group, roles, session, self._run_id, self._tools, self._chains)
        request = request_for(self._spec, group.databases, self._run_id, self._chains, self._last_fulls)
        for name in group.databases:
            tally.tried.setdefault(name, set()).add(group.pod)
        tally.add(await work.work_off(request))

    def _is_pending(self, choice: Choice, tally: Tally) -> bool:
        # The choice of everything has no artifact of its own name: it is done once something was saved.
        return choice.database not in tally.saved and not (choice.is_everything and tally.saved)

    async def _conclude(self, plan: SourcePlan, tally: Tally) -> RunResult:
        lost = await self._verify(tally)
        missing = tally.missing()
        artifacts = tuple(sorted(tally.saved.values(), key=lambda one: one.database))
        if not artifacts:
            if plan.blocked:
                return self.failure("AgentUnreachable", plan.blocked, missing)
            reason = (
                report.VERIFICATION_FAILED if lost else reason_of(missing) if missing else "NothingToSave"
            )
            wanted = len(plan.choices) + len(plan.refused)
            error = report.missing_error(missing, wanted) or "the deployment has no database to save"
            failure = self.failure(reason, error, missing)
            return msgspec.structs.replace(failure, verified=False) if lost else failure
        self._world.tracker.enter("Committing")
        return await self._commit(self._manifest(artifacts, missing, tally, lost))

    async def _verify(self, tally: Tally) -> tuple[str, ...]:
        """Take what does not stand the check out of the tally; which databases that is."""
        if not self._spec.verify:
            return ()
        world = self._world
        problems = await verify(world.store, tuple(tally.saved.values()), world.tracker, world.log)
        for name, problem in problems.items():
            del tally.saved[name]
            tally.reasons.setdefault(name, []).append(f"verification failed: {problem}")
        for name, artifact in tally.saved.items():
            tally.saved[name] = msgspec.structs.replace(artifact, verified=True)
        healed = {name: reason for name, reason in tally.unsound.items() if name in tally.saved}
        tally.warnings += [
            f"{name} is from {tally.saved[name].server}, for that of {reason}"
            for name, reason in healed.items()
        ]
        return tuple(sorted(problems.keys() | (tally.unsound.keys() - healed.keys())))

    async def _commit(self, manifest: RunManifest) -> RunResult:
        store = self._world.store
        written = await anyio.to_thread.run_sync(catalogue.commit, store, manifest)
        # Before anything can be cancelled: from here on it is a backup, whatever becomes of this process.
        self._committed = report.committed(written, store.location)
        try:
            keys = [one.key for one in written.artifacts]
            await anyio.to_thread.run_sync(self._tools.intents.settle, keys)
        except RepositoryError as error:
            # The run is committed; a note too many is removed by the next run.
            self._world.log.warning("note not removed", error=error)
        return self._committed

    def _verification(
        self, artifacts: Iterable[StoredArtifact], lost: tuple[str, ...]
    ) -> Verification | None:
        if not self._spec.verify:
            return None
        return Verification(level=level_of(artifacts), finished=self._world.now(), failed=lost)

    def _manifest(
        self, artifacts: tuple[StoredArtifact, ...], missing: tuple[MissingDatabase, ...], tally: Tally,
        lost: tuple[str, ...],
    ) -> RunManifest:  # fmt: skip
        spec = self._spec
        warnings = list(dict.fromkeys(tally.warnings))
        checked = self._verification(artifacts, lost)
        return RunManifest(
            run_id=self._run_id,
            namespace=spec.namespace,
            backup=spec.backup,
            backup_uid=spec.backup_uid,
            generation=spec.generation,
            spec_digest=hashlib.sha256(encode(spec)).hexdigest(),
            deployment=spec.deployment,
            outcome=report.verdict(artifacts, missing, warnings),
            started=self._started,
            finished=self._world.now(),
            requested_type=spec.type,
            neo4j_version=tally.neo4j_version,
            transport=tally.transport,
            databases=tuple(sorted([one.database for one in artifacts] + [one.database for one in missing])),
            artifacts=artifacts,
            missing=missing,
            verification=checked,
            warnings=tuple(warnings),
        )


async def _ask(question: Callable[[Unpack[Ts]], T], *arguments: *Ts) -> T:
    """In a thread, which a pod that is told to stop does not wait for: the server may say nothing."""
    return await anyio.to_thread.run_sync(question, *arguments, abandon_on_cancel=True)


def _open_chains(store: Store, found: catalogue.Catalogue) -> OpenChains:
    return open_chains(found.runs, {one.key: one.size for one in store.list(layout.DATABASES)})


def _files_by_server(artifacts: Iterable[StoredArtifact]) -> dict[str, list[str]]:
    files: dict[str, list[str]] = {}
    for one in artifacts:
        files.setdefault(one.server, []).append(plain_file(one))
    return files
