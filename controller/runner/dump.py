"""One server's part of a run: dump some databases there, carry the artifacts, leave nothing behind.

Guarantee: every database of the group ends as a stored artifact or with the reason why not; an
unsolicited artifact is not stored. The same request always has the same id on the agent, so that a
runner that was replaced joins the dump that is going on. The staging is left to whoever commits the run,
to be released with what was committed.

Non-guarantee: an agent that cannot be reached for the release removes the staging by its own rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import anyio
import anyio.to_thread
import msgspec

from controller.neo4j.chains import Link, continues
from controller.neo4j.names import is_shard
from controller.neo4j.versions import Version, capabilities, parse_version
from controller.plan.source import EVERYTHING, SHARDED, Group
from controller.repository import layout
from controller.repository.chains import OpenChains
from controller.repository.encryption.codec import Encryption, plain_name
from controller.repository.errors import StoreError
from controller.repository.intents import Intents
from controller.repository.manifest import MissingDatabase, StoredArtifact
from controller.repository.store import Store
from controller.runner.channel import Channel
from controller.runner.download import TransferFailed
from controller.runner.groups import unwrapped
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.session import AgentSession, SessionError
from controller.runner.transfer import Line, Persistence, carry, open_line
from controller.wire.messages import (
    AgentStatus,
    Artifact,
    BackupRequest,
    ChainParent,
    LastFull,
    ReleaseRequest,
    RunSpec,
    RunState,
    chain_key,
    encode,
)

RELEASE_SECONDS = 15.0
"""With the end of an upload (``transfer.PARTING_SECONDS``) within what a pod is given to stop."""
TICK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What the parts of a run share."""

    store: Store
    tracker: Tracker
    log: Log
    now: Callable[[], datetime]
    uploads: anyio.Semaphore
    """How many artifacts are carried at once, whatever the number of servers: memory stays flat."""
    intents: Intents
    """Where a key is noted before it is written."""
    encryption: Encryption | None = None
    persistence: Persistence = field(default_factory=Persistence)


@dataclass(slots=True)
class Harvest:
    """What came of a group."""

    saved: list[StoredArtifact] = field(default_factory=list)
    missing: list[MissingDatabase] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unsound: dict[str, str] = field(default_factory=dict)
    """Databases whose artifact did not stand the agent's verification, and why."""
    neo4j_version: str = ""
    transport: str = "tls"

    @property
    def accounted(self) -> set[str]:
        return {one.database for one in self.saved} | {one.database for one in self.missing}

    def miss(self, database: str, reason: str) -> None:
        self.missing.append(MissingDatabase(database=database, reason=reason))


def request_for(
    spec: RunSpec, databases: tuple[str, ...], run_id: str, chains: OpenChains,
    last_fulls: Mapping[str, StoredArtifact],
) -> BackupRequest:  # fmt: skip
    """The request and its id, which is derived from all that it asks for."""
    request = BackupRequest(
        type=spec.type,
        databases=() if EVERYTHING in databases else databases,
        compress=spec.compress,
        page_cache=spec.page_cache,
        additional_args=spec.additional_args,
        # A backup that is always FULL needs no copy of its chain on the database's own volume.
        chain="" if spec.type == "FULL" else chain_key(spec.namespace, spec.backup),
        parents=tuple(_parent(chains.open[name].parent) for name in databases if name in chains.open),
        broken={name: chains.broken[name] for name in databases if name in chains.broken},
        max_chain_length=spec.max_chain_length,
        verify=spec.verify,
    )
    digest = hashlib.sha256(encode(request)).hexdigest()[:8]
    asked = last_fulls if EVERYTHING in databases else {name: last_fulls.get(name) for name in databases}
    lasts = tuple(_last_full(one) for one in asked.values() if one and one.compressed == spec.compress)
    return msgspec.structs.replace(request, run_id=f"{run_id}-{digest}", last_fulls=lasts)


def _last_full(artifact: StoredArtifact) -> LastFull:
    return LastFull(
        database=artifact.database,
        size=artifact.plain_size or artifact.size,
        store_size=artifact.store_size,
    )


def _parent(artifact: StoredArtifact) -> ChainParent:
    return ChainParent(
        database=artifact.database,
        file=plain_file(artifact),
        database_id=artifact.database_id,
        full=artifact.full,
        lowest_tx=artifact.lowest_tx,
        highest_tx=artifact.highest_tx,
    )


class GroupWork:
    """A group on its server. ``roles`` says in which role the server holds each database, ``chains``
    which stored artifact a differential of it continues."""

    def __init__(
        self, group: Group, roles: Mapping[str, str], session: AgentSession, run_id: str, tools: Tools,
        chains: OpenChains,
    ) -> None:  # fmt: skip
        self._wanted = set(group.databases)
        self._takes_all = EVERYTHING in group.databases
        self._roles = roles
        self._session = session
        self._run_id = run_id
        self._tools = tools
        self._parents = {name: one.parent for name, one in chains.open.items()}
        self._may_overlap = False
        self._harvest = Harvest()

    async def work_off(self, request: BackupRequest) -> Harvest:
        """Raises ``StoreError`` only: a store that fails would fail the other servers' artifacts too."""
        try:
            status = await self._dump(request)
            await self._carry_all(status)
            self._account_for(status)
        except SessionError as error:
            for name in sorted(self._wanted - self._harvest.accounted):
                self._miss(name, str(error))
        finally:
            self._tools.tracker.idle(self._session.name)
        return self._harvest

    async def _dump(self, request: BackupRequest) -> AgentStatus:
        name, log = self._session.name, self._tools.log
        log.info("dump", server=name, databases=",".join(sorted(self._wanted)), run=request.run_id)
        accepted = await self._session.submit(request)
        if accepted.state is RunState.FAILED:
            # An earlier pod of this Job left it behind; following it would never say anything else.
            await self._session.release(ReleaseRequest(run_id=request.run_id))
            accepted = await self._session.submit(request)
        log.info("accepted", server=name, state=accepted.state.value)
        status = await self._session.follow(
            request.run_id, lambda progress: self._tools.tracker.dumping(name, progress)
        )
        count = len(status.artifacts)
        log.info("dumped", server=name, state=status.state.value, artifacts=count, error=status.error)
        return status

    async def _carry_all(self, status: AgentStatus) -> None:
        self._harvest.neo4j_version = status.neo4j_version
        version = parse_version(status.neo4j_version)
        self._may_overlap = bool(version and capabilities(version).first_diff_may_overlap)
        self._harvest.warnings += [f"{self._session.name}: {warning}" for warning in status.warnings]
        artifacts = self._sound(status, version)
        total = sum(one.size for one in artifacts)
        moved = 0
        async with open_line(self._session, status.run_id, self._tools.now, self._tools.persistence) as line:
            for artifact in artifacts:
                await self._carry(line, artifact, moved, total)
                moved += artifact.size
            self._harvest.transport = line.transport

    def _sound(self, status: AgentStatus, version: Version | None) -> list[Artifact]:
        """What is stored of what the agent has: asked for, not spoilt, and no shard under an unknown name."""
        spoilt = {failure.database.lower() for failure in status.failures}
        artifacts = [one for one in status.artifacts if self._is_wanted(one) and _name(one) not in spoilt]
        if not self._takes_all or version is None:
            return artifacts
        for one in artifacts:
            if is_shard(_name(one), version):
                self._miss(_name(one), SHARDED)
        return [one for one in artifacts if not is_shard(_name(one), version)]

    async def _carry(self, line: Line, artifact: Artifact, moved: int, total: int) -> None:
        name, tools = _name(artifact), self._tools
        channel = Channel()

        def report() -> None:
            tools.tracker.uploading(self._session.name, name, moved + channel.received, total)

        try:
            async with tools.uploads:
                with unwrapped():
                    async with anyio.create_task_group() as tasks:
                        tasks.start_soon(_regularly, report)
                        stored = await self._store(line, artifact, channel)
                        tasks.cancel_scope.cancel()
        except TransferFailed as error:
            self._miss(name, str(error))
            return
        self._harvest.saved.append(stored)
        if stored.why_full:
            tools.log.info("full", database=name, why=stored.why_full)
        tools.tracker.databases_done += 1
        tools.log.info("stored", key=stored.key, size=stored.size, sha256=stored.sha256, via=line.transport)

    async def _store(self, line: Line, artifact: Artifact, channel: Channel) -> StoredArtifact:
        name = _name(artifact)
        parent = None if artifact.full else self._parents.get(name)
        if parent is None and not artifact.full:
            raise TransferFailed(f"{artifact.file} is a differential, and the repository has no parent of it")
        if parent and not continues(link_of(artifact), link_of(parent), may_overlap=self._may_overlap):
            raise TransferFailed(f"{artifact.file} does not continue {parent.key}")
        encryption = self._tools.encryption
        chain = parent.chain if parent else layout.new_chain(artifact.file, self._run_id)
        try:
            key = layout.artifact(name, chain, artifact.file + (encryption.suffix if encryption else ""))
        except StoreError as error:
            raise TransferFailed(str(error)) from error
        await anyio.to_thread.run_sync(self._tools.intents.add, key, abandon_on_cancel=True)
        stages = [encryption.encryptor()] if encryption else []
        carried = await carry(line, artifact, self._tools.store, key, channel=channel, stages=stages)
        return StoredArtifact(
            database=name,
            key=key,
            size=carried.size,
            sha256=carried.sha256,
            plain_size=carried.plain_size if encryption else 0,
            plain_sha256=carried.plain_sha256 if encryption else "",
            encryption=encryption.algorithm if encryption else "",
            key_ids=encryption.key_ids if encryption else (),
            chain=chain,
            parent_chain=parent.chain if parent else "",
            full=artifact.full,
            why_full=artifact.why_full,
            checked=artifact.checked,
            compressed=artifact.compressed,
            database_id=artifact.database_id,
            lowest_tx=artifact.lowest_tx,
            highest_tx=artifact.highest_tx,
            time=artifact.time,
            recovered=artifact.recovered,
            store_size=artifact.store_size,
            server=self._session.name,
            role=self._roles.get(EVERYTHING if self._takes_all else name, ""),
        )

    def _is_wanted(self, artifact: Artifact) -> bool:
        return self._takes_all or _name(artifact) in self._wanted

    def _account_for(self, status: AgentStatus) -> None:
        """The databases that the dump did not deliver, each with the most precise reason there is."""
        reasons = {failure.database.lower(): failure.reason for failure in status.failures}
        self._harvest.unsound = {
            failure.database.lower(): f"{self._session.name}: {failure.reason}"
            for failure in status.failures
            if failure.unsound
        }
        wanted = self._wanted
        if self._takes_all:
            wanted = set(reasons) or (set() if self._harvest.saved else {EVERYTHING})
        for name in sorted(wanted - self._harvest.accounted):
            self._miss(name, reasons.get(name) or status.error or "the dump left no artifact of it")
        if status.error and not self._harvest.missing:
            self._harvest.warnings.append(f"{self._session.name}: {status.error}")

    def _miss(self, database: str, reason: str) -> None:
        self._harvest.miss(database, f"{self._session.name}: {reason}")


async def release(session: AgentSession, request: ReleaseRequest, log: Log) -> None:
    """Also when cancelled: staging is on the database's own volume."""
    with anyio.move_on_after(RELEASE_SECONDS, shield=True):
        try:
            await session.release(request)
        except SessionError as error:
            log.warning("staging not released", server=session.name, error=error)


def plain_file(artifact: StoredArtifact) -> str:
    """The name that the agent knows the artifact by."""
    return plain_name(artifact.key.rpartition("/")[2])


def link_of(one: Artifact | StoredArtifact) -> Link:
    """Its place in a chain."""
    return Link("", one.database_id, one.full, one.lowest_tx, one.highest_tx)


def _name(artifact: Artifact) -> str:
    return artifact.database.lower()


async def _regularly(report: Callable[[], None]) -> None:
    while True:
        report()
        await anyio.sleep(TICK_SECONDS)
