"""The messages that cross a process border: operator → runner ⇄ agent, and back to the operator.

Guarantee: every message is one JSON object on one line, decoded into a frozen type, and a field that
a reader does not know is ignored, so that an operator, a runner and an agent of neighbouring releases
understand each other during a roll-out. A field is only ever added, with a default.

Non-guarantee: nothing here is secret-safe. Tokens and private keys appear in :class:`ServeRequest`
only, which travels through the standard input of an exec and is never written to a file or a log.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeVar

import msgspec

BackupType = Literal["FULL", "DIFF", "AUTO"]
_LONGEST_CHAIN_KEY = 120


class Unreadable(ValueError):
    """The bytes are no such message."""


class Message(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of every message: camelCase on the wire, defaults left out."""


# --- runner → agent ------------------------------------------------------------------------------


class ChainParent(Message, frozen=True, kw_only=True):
    """The newest artifact of a database that the repository holds and that is not empty."""

    database: str
    file: str
    database_id: str
    full: bool
    lowest_tx: int
    highest_tx: int


class LastFull(Message, frozen=True, kw_only=True):
    """Bytes of a database's newest FULL artifact, and of the store that it was taken from (0: unknown)."""

    database: str
    size: int
    store_size: int = 0


class BackupRequest(Message, frozen=True, kw_only=True):
    """What ``submit`` reads from standard input, and what ``<run-id>.request`` holds.

    The documented hand-written ``backup.request`` is the same message with ``path``, ``type`` and
    ``database`` only; the agent fills in ``run_id`` then.
    """

    run_id: str = ""
    """Identity of the run on this agent; one run id is never dumped twice by one agent."""
    type: BackupType = "AUTO"
    databases: tuple[str, ...] = ()
    """Exact database names; empty means every database that the source server hosts."""
    database: str = ""
    """The reference's spelling for one database, or ``*``."""
    path: str = ""
    """Directory to leave the artifacts in (hand-written requests); empty means private staging."""
    from_addresses: tuple[str, ...] = ()
    """``host:port`` of backup listeners, in the order to try; empty means the server in this pod."""
    compress: bool = True
    page_cache: str = ""
    """Kubernetes or Neo4j byte size; empty lets the agent compute it from the cgroup's limit."""
    include_metadata: str = "all"
    additional_args: tuple[str, ...] = ()
    chain: str = ""
    """Whose open chains to continue, and to keep once the run is committed: :func:`chain_key`."""
    parents: tuple[ChainParent, ...] = ()
    """What a differential may continue; a database that is not named here gets a FULL backup."""
    broken: dict[str, str] = {}
    """Databases that have backups, none of which can be continued, each with the reason."""
    max_chain_length: int = 0
    """Artifacts of a chain after which AUTO begins a new one; 0 means without end."""
    verify: bool = False
    """Check each artifact with Neo4j's own tools before it counts as one."""
    last_fulls: tuple[LastFull, ...] = ()
    """No part of what is asked for: a measure of what it will take."""


class ReleaseRequest(Message, frozen=True, kw_only=True):
    """What ``release`` reads from standard input: a run is over, and what became of its artifacts."""

    run_id: str
    """The run on this agent, or the one that its runs' ids begin with."""
    committed: tuple[str, ...] = ()
    """Files that the repository has: they continue the open chains."""
    chain: str = ""
    """Whose open chains ``open`` speaks of; empty leaves them all as they are."""
    open: tuple[str, ...] = ()
    """Databases whose chain may still be continued here; what is kept of any other is removed."""


class Released(Message, frozen=True, kw_only=True):
    """What ``release`` answers, with the hash of the line that arrived, as :class:`Accepted`."""

    run_id: str
    sha256: str


class ServeRequest(Message, frozen=True, kw_only=True):
    """What ``serve`` reads from standard input: the one-run credentials of the transfer listener."""

    run_id: str
    certificate_pem: str
    private_key_pem: str
    token: str
    idle_timeout_seconds: float = 120.0


class ServeReady(Message, frozen=True, kw_only=True):
    """The line ``serve`` answers with, once the listener accepts connections."""

    address: str
    port: int


# --- agent → runner ------------------------------------------------------------------------------


class RunState(StrEnum):
    """Where a run is, as the agent that dumps it sees it."""

    QUEUED = "Queued"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


class Artifact(Message, frozen=True, kw_only=True):
    """One ``.backup`` file, as read back with ``neo4j-admin backup inspect``. Sizes are bytes."""

    database: str
    file: str
    """File name inside the run's staging directory; Neo4j's own name, never a path."""
    size: int
    database_id: str = ""
    time: str = ""
    """The header's own time, UTC, ``yyyy-MM-dd HH:mm:ss`` as Neo4j prints it."""
    full: bool = True
    compressed: bool = True
    lowest_tx: int = 0
    highest_tx: int = 0
    recovered: bool | None = None
    """``None`` where this version of Neo4j does not say (before 2025.06)."""
    store_size: int = 0
    why_full: str = ""
    """Why this is no differential although one would have been taken if possible."""
    checked: Literal["", "Chain", "Consistency"] = ""
    """How far Neo4j's own tools found it good: its chain is whole, or the store in it is consistent."""


class DatabaseFailure(Message, frozen=True, kw_only=True):
    """A database that was asked for and has no artifact, with the one line that says why."""

    database: str
    reason: str
    unsound: bool = False
    """There was an artifact, and it did not stand verification."""


class AgentProgress(Message, frozen=True, kw_only=True):
    """One line of ``follow``: how far the dump is. Bytes are what the staging directory holds."""

    run_id: str
    state: RunState
    database: str = ""
    databases_done: int = 0
    databases_total: int = 0
    bytes_staged: int = 0
    bytes_read: int = 0
    """Of the stores that are copied whole, how much came so far."""
    bytes_to_read: int = 0
    """What these stores have on this server's disk; 0 where that is not known, or none is copied whole."""
    detail: str = ""
    updated: str = ""


class AgentStatus(Message, frozen=True, kw_only=True):
    """The outcome: last line of ``follow``, content of ``<run-id>.status`` and ``backup.status``."""

    run_id: str
    state: RunState
    started: str = ""
    finished: str = ""
    """RFC 3339, UTC."""
    exit_code: int | None = None
    neo4j_version: str = ""
    type: BackupType = "AUTO"
    path: str = ""
    artifacts: tuple[Artifact, ...] = ()
    failures: tuple[DatabaseFailure, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    """Empty when succeeded; else the cause in one line."""


class Accepted(Message, frozen=True, kw_only=True):
    """What ``submit`` answers: proof of what arrived, and where the run is now.

    Input through exec can be cut short in silence, so the runner compares ``sha256`` (of the request
    line without its newline) with what it sent before it believes that anything was accepted.
    """

    run_id: str
    state: RunState
    sha256: str


class DatabaseRow(Message, frozen=True, kw_only=True):
    """One row of ``SHOW DATABASES``: one database on one hosting server."""

    name: str
    type: str
    address: str
    role: str
    writer: bool
    requested_status: str
    current_status: str
    status_message: str = ""
    database_id: str = ""
    last_committed_tx: int | None = None
    replication_lag: int | None = None


class TopologyAnswer(Message, frozen=True, kw_only=True):
    """What ``topology`` prints: the DBMS as the server of this pod sees it, or why it could not look."""

    databases: tuple[DatabaseRow, ...] = ()
    neo4j_version: str = ""
    server_address: str = ""
    error: str = ""


# --- operator → runner ---------------------------------------------------------------------------


class Server(Message, frozen=True, kw_only=True):
    """A pod that an agent runs in."""

    pod: str
    namespace: str
    role_hint: Literal["primary", "secondary", "unknown"] = "unknown"
    """From labels and StatefulSet roles; used only where no agent can ask the DBMS."""


class StorageTarget(Message, frozen=True, kw_only=True):
    """Where the repository is. Credentials are files, mounted from the Secret that the user named."""

    type: Literal["s3", "gcs", "azure", "pvc"]
    bucket: str = ""
    """The bucket or container; for a PVC, the name of the claim."""
    path: str = ""
    region: str = ""
    endpoint: str = ""
    """S3-compatible servers: the base URL; empty means the provider's own."""
    path_style: bool | None = None
    """S3: the bucket in the path (true) or in the host name; None: in the path where there is an endpoint."""
    checksum: Literal["", "SHA256"] = ""
    """S3: the server checks each upload against it."""


class Retention(Message, frozen=True, kw_only=True):
    """What to keep; a limit that is 0 is none."""

    max_age_seconds: int = 0
    max_count: int = 0
    archive: bool = False
    archive_storage_class: str = ""


class RunSpec(Message, frozen=True, kw_only=True):
    """What one run has to do: environment variable ``BACKUP_RUN`` of the runner, JSON.

    It holds no secret, so it may be shown by ``kubectl describe``.
    """

    namespace: str
    backup: str
    backup_uid: str
    generation: int
    deployment: str
    servers: tuple[Server, ...]
    storage: StorageTarget
    databases: tuple[str, ...] = ()
    """Exact names; empty means every database of the deployment, ``system`` included."""
    type: BackupType = "AUTO"
    compress: bool = True
    page_cache: str = ""
    verify: bool = False
    encryption: Literal["", "AES256", "ChaCha20"] = ""
    """Empty: artifacts are stored as Neo4j wrote them. The keys are files, mounted from the Secret."""
    retention: Retention | None = None
    additional_args: tuple[str, ...] = ()
    max_chain_length: int = 14


# --- runner → operator ---------------------------------------------------------------------------


class Outcome(StrEnum):
    """The verdict on a run, from evidence."""

    SUCCEEDED = "Succeeded"
    SUCCEEDED_WITH_WARNINGS = "SucceededWithWarnings"
    PARTIALLY_SUCCEEDED = "PartiallySucceeded"
    FAILED = "Failed"


class SavedDatabase(Message, frozen=True, kw_only=True):
    """One database of a run's result: from which server, which artifact, or why not."""

    name: str
    server: str = ""
    role: str = ""
    type: str = ""
    artifact: str = ""
    """Key below the repository's root; empty when there is none."""
    size: int = 0
    sha256: str = ""
    error: str = ""


class Progress(Message, frozen=True, kw_only=True):
    """What the runner's log line ``progress`` carries, for people and for ``status.progress``."""

    run_id: str
    phase: Literal["Resolving", "Dumping", "Uploading", "Verifying", "Committing", "Pruning"]
    database: str = ""
    databases_done: int = 0
    databases_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    """0 when not known yet."""
    bytes_per_second: int = 0
    seconds_left: int = 0
    """An estimate for this phase; 0 when there is none."""
    message: str = ""


class EarlierRun(Message, frozen=True, kw_only=True):
    """A run that the repository had before: what a status that was lost gets back."""

    run_id: str
    outcome: Outcome
    started: datetime
    finished: datetime
    type: str = ""
    size: int = 0
    artifact_count: int = 0
    verified: bool | None = None


class RunResult(Message, frozen=True, kw_only=True):
    """The runner's termination message (at most 4096 bytes, the kubelet's limit) and last log line.

    ``databases`` is cut to what fits, with the number left out in ``databases_omitted``; the manifest
    in the repository always has all of them.
    """

    run_id: str
    outcome: Outcome
    started: datetime
    finished: datetime
    repository: str = ""
    """Human-readable location, e.g. ``s3://bucket/path/ns/name``."""
    manifest: str = ""
    """Key of the manifest below the repository's root; empty when nothing was committed."""
    type: str = ""
    neo4j_version: str = ""
    databases: tuple[SavedDatabase, ...] = ()
    databases_omitted: int = 0
    artifact_count: int = 0
    size: int = 0
    duration_seconds: float = 0.0
    verified: bool | None = None
    """Whether the artifacts stood verification; ``None`` when that was not asked for."""
    verified_level: str = ""
    """How far: ``StoredObjects``, ``Chain`` or ``Consistency``."""
    verified_at: datetime | None = None
    pruned: int = 0
    """Artifacts that retention removed or archived after this run."""
    transport: Literal["tls", "exec"] = "tls"
    warnings: tuple[str, ...] = ()
    earlier: tuple[EarlierRun, ...] = ()
    """The runs before this one, newest first; left out first where the message would get too long."""
    error: str = ""
    error_reason: str = ""
    """CamelCase cause for the condition, e.g. ``NoSuchBucket``, ``AccessDenied``, ``NoSpaceLeft``."""


def chain_key(namespace: str, backup: str) -> str:
    """Under which name an agent keeps a backup's open chains: fit to be a directory.

    By name and not by uid, as the repository is: a backup that was deleted and made again continues its
    chains and leaves none behind that nobody would ever remove.
    """
    name = f"{namespace}.{backup}"
    if len(name) <= _LONGEST_CHAIN_KEY:
        return name
    return f"{name[:80]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def encode(message: Message) -> bytes:
    """One line of JSON without a newline."""
    return msgspec.json.encode(message)


T = TypeVar("T")


def decode(data: bytes | str, type_: type[T]) -> T:
    """``data`` as a ``type_``; raises :class:`Unreadable` and nothing else, whatever the bytes are."""
    try:
        return msgspec.json.decode(data, type=type_)
    # msgspec lets the last two through: text that is no UTF-8, and nesting that is too deep for the stack.
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Unreadable(str(error)) from error
