"""``status`` of a Neo4jBackup.

Guarantee: every field of the reference, and our additions: what was planned from
(``observedGeneration``), progress while a run is going, and for each run its identity, type,
databases, artifacts, source and verdict.

Non-guarantee: the history here is bounded; the repository keeps all runs.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from controller.api.conditions import Condition, ConditionSet
from controller.api.parts import Int32, Int64, Part, Time

CONDITION_TYPES = (
    "Ready",
    "JobCreated",
    "StorageReady",
    "SidecarReady",
    "TargetReady",
    "SpecEnforced",
    "Verified",
)
MAP_BY_TYPE = Meta(
    extra_json_schema={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
)


class Phase(StrEnum):
    """Where a backup is."""

    PENDING = "Pending"
    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    SCHEDULED = "Scheduled"
    SUSPENDED = "Suspended"


RunStatus = Literal["Running", "Completed", "Failed"]
RunOutcome = Literal["Succeeded", "SucceededWithWarnings", "PartiallySucceeded", "Failed"]


class BackupStats(Part, frozen=True, gc=False, kw_only=True):
    """Statistics of one backup."""

    size: str | None = None
    """Size of the stored artifacts, e.g. 1.4Gi."""
    duration: str | None = None
    """Duration of the run, e.g. 1m30s."""
    throughput: str | None = None
    """Bytes stored in each second of the run, e.g. 85.2Mi/s."""
    file_count: Int32 | None = None
    """Number of artifacts of the run."""


class RunArtifact(Part, frozen=True, gc=False, kw_only=True):
    """One artifact of a run: one file for one database."""

    database: str
    """Name of the database."""
    path: str
    """Path of the file below the repository of this backup."""
    type: str | None = None
    """FULL or DIFF."""
    bytes: Int64 | None = None
    """Size of the stored file in bytes."""
    sha256: str | None = None
    """SHA-256 of the stored file."""
    server: str | None = None
    """Pod of the server that the data came from."""
    role: str | None = None
    """Role of that server for this database: primary or secondary."""


class BackupRun(Part, frozen=True, gc=False, kw_only=True):
    """One execution of the backup."""

    start_time: Time
    """When the run started."""
    completion_time: Time | None = None
    """When the run ended."""
    status: RunStatus
    """Running, Completed or Failed."""
    error: str | None = None
    """Why the run failed, or which databases are missing, in one line."""
    stats: BackupStats | None = None
    """Statistics of this run."""
    run_id: str | None = msgspec.field(default=None, name="runID")
    """Identity of the run; the manifest in the repository has the same."""
    type: str | None = None
    """What was asked for or, once it is known, what was made: FULL, DIFF or AUTO."""
    databases: tuple[str, ...] = ()
    """Databases that have an artifact."""
    artifacts: tuple[RunArtifact, ...] = ()
    """The files of the run; cut to what fits, the manifest has all."""
    source: str | None = None
    """Servers that the data came from, with their roles."""
    repository: str | None = None
    """Where the repository is, e.g. s3://bucket/path/namespace/name."""
    manifest: str | None = None
    """Path of the run's manifest below the repository."""
    verified: bool | None = None
    """Whether the backup stood verification; absent when that was not asked for."""
    verification_level: str | None = None
    """How far it was verified: StoredObjects (read back from the storage), Chain (and Neo4j reads its whole
    chain) or Consistency (and Neo4j's own consistency check found nothing)."""
    verification_time: Time | None = None
    """When the verification was finished."""
    outcome: RunOutcome | None = None
    """Verdict from evidence; only Succeeded and SucceededWithWarnings are good backups."""
    warnings: tuple[str, ...] = ()
    """What went otherwise than it should without making the backup bad."""


class BackupProgress(Part, frozen=True, gc=False, kw_only=True):
    """How far the current run is."""

    run_id: str | None = msgspec.field(default=None, name="runID")
    """Identity of the run."""
    phase: str
    """Resolving, Dumping, Uploading, Verifying, Committing or Pruning."""
    database: str | None = None
    """Database that is being worked on."""
    databases_done: Int32 | None = None
    """Databases that are finished."""
    databases_total: Int32 | None = None
    """Databases of this run."""
    bytes_done: Int64 | None = None
    """Bytes moved in this phase."""
    bytes_total: Int64 | None = None
    """Bytes to move in this phase, when known."""
    percent: Annotated[Int32, Meta(ge=0, le=100)] | None = None
    """Share that is done, when known."""
    throughput: str | None = None
    """Current speed, e.g. 85.2Mi/s."""
    remaining: str | None = None
    """Estimate of the time that is left in this phase, e.g. 2m10s."""
    message: str | None = None
    """The same for people, in one line."""
    updated: Time | None = None
    """When this was last heard of."""


class SidecarRecord(Part, frozen=True, gc=False, kw_only=True):
    """How often the sidecar was put into one StatefulSet, so that nobody is fought over it."""

    stateful_set: str
    """Name of the StatefulSet."""
    hash: str
    """Which sidecar: another one starts counting anew."""
    patches: Int32
    """How often this sidecar was put in."""
    request: str
    """Generation and value of run-now that it was put in for; a new one starts counting anew."""


class BackupStatus(Part, frozen=True, gc=False, kw_only=True):
    """What the operator knows about the backup. Written by the operator only."""

    conditions: Annotated[tuple[Condition, ...], MAP_BY_TYPE] = ()
    """Ready, JobCreated, StorageReady, TargetReady and SidecarReady, each with its reason."""
    phase: Phase | None = None
    """Current phase of the backup."""
    message: str | None = None
    """What is going on, in one line."""
    last_run_time: Time | None = None
    """When the last backup was started."""
    last_success_time: Time | None = None
    """When the last successful backup completed."""
    next_run_time: Time | None = None
    """When the next backup is due."""
    stats: BackupStats | None = None
    """Statistics of the latest successful backup."""
    history: tuple[BackupRun, ...] = ()
    """The last runs, newest first; the repository keeps all of them."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this status was computed from."""
    progress: BackupProgress | None = None
    """How far the current run is; absent when none is running."""
    answered: str | None = None
    """The newest request that got its run: generation and, after a slash, the value of run-now. It keeps
    a one-shot from running again when its Job is gone."""
    sidecar: tuple[SidecarRecord, ...] = ()
    """How often the sidecar was put into the target's StatefulSets."""

    @property
    def condition_set(self) -> ConditionSet:
        """The conditions as a value that verdicts can be applied to."""
        return ConditionSet.read(CONDITION_TYPES, self.conditions)


_DECODER = msgspec.json.Decoder(BackupStatus)


def parse_status(raw: bytes) -> BackupStatus:
    """The status as stored. A status that cannot be read counts as none: it is derived data."""
    try:
        return _DECODER.decode(raw or b"{}")
    # msgspec lets the last two through: text that is no UTF-8, and nesting that is too deep for the stack.
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return BackupStatus()
