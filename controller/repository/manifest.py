"""The documents of a repository: its identity and one manifest a run.

Guarantee: what :func:`encode` wrote, :func:`decode` reads back equal; fields of a later release of the
same format are ignored; a newer ``formatVersion`` is refused by name, and anything else that does not
fit is reported as damaged with the place. Manifests hold no secret.

Non-guarantee: a manifest says what was written when the run committed, not that it is still there;
verification looks.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

import msgspec

from controller.repository.errors import DamagedDocument, UnsupportedFormat
from controller.repository.layout import FORMAT_VERSION
from controller.wire import messages
from controller.wire.messages import Outcome


class Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of what is stored: camelCase, everything spelled out, readable by people."""

    format_version: int = FORMAT_VERSION


class RepositoryIdentity(Document, frozen=True, kw_only=True):
    """``repository.json``: whose backups these are. Written once."""

    namespace: str
    backup: str
    created: datetime
    created_by_uid: str = ""
    """The ``Neo4jBackup`` that made it. A deleted and re-created one carries on, so it is not compared."""


class StoredArtifact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One stored ``.backup`` file, and the facts that chains are computed from."""

    database: str
    key: str
    """Below the repository's root."""
    size: int
    sha256: str
    """Of the stored bytes: what a check of the store compares with."""
    plain_size: int = 0
    plain_sha256: str = ""
    """Of Neo4j's own file, where ``encryption`` made another one of it; else empty."""
    encryption: str = ""
    """``AES256``, ``ChaCha20``, or empty for a file as Neo4j wrote it."""
    key_ids: tuple[str, ...] = ()
    """Which keys open it: names, fingerprints and public keys, never a secret."""
    verified: bool | None = None
    """Read back from the store and found whole; ``None`` when nobody looked."""
    checked: str = ""
    """How far Neo4j's own tools found it good before it was stored: ``Chain``, ``Consistency``, or empty."""
    chain: str
    parent_chain: str = ""
    """The chain that a differential artifact continues; empty for a full one."""
    full: bool = True
    why_full: str = ""
    """Why AUTO did not continue a chain; empty for a differential, and where FULL was asked for."""
    compressed: bool = True
    database_id: str = ""
    lowest_tx: int = 0
    highest_tx: int = 0
    time: str = ""
    recovered: bool | None = None
    store_size: int = 0
    server: str = ""
    role: str = ""


class MissingDatabase(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A database that the run should have saved and did not."""

    database: str
    reason: str


class Verification(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """That the stored artifacts were checked after the upload, how far, and when."""

    level: str
    """What every artifact stood: ``StoredObjects`` (read back from the store, and as it was sent), ``Chain``
    (and Neo4j reads its whole chain), ``Consistency`` (and Neo4j's consistency check found nothing)."""
    finished: datetime
    failed: tuple[str, ...] = ()
    """Databases whose artifact did not stand the check, and is no part of the backup therefore."""


class RunManifest(Document, frozen=True, kw_only=True):
    """``runs/<run-id>.json``: written last; without it the run does not exist."""

    run_id: str
    namespace: str
    backup: str
    backup_uid: str
    generation: int
    spec_digest: str
    deployment: str
    outcome: Outcome
    started: datetime
    finished: datetime
    requested_type: str
    neo4j_version: str = ""
    transport: str = ""
    databases: tuple[str, ...] = ()
    """What the run set out to save, saved or not."""
    artifacts: tuple[StoredArtifact, ...] = ()
    missing: tuple[MissingDatabase, ...] = ()
    verification: Verification | None = None
    warnings: tuple[str, ...] = ()


class Intent(Document, frozen=True, kw_only=True):
    """``intents/<name>.json``: keys that are being written, or removed."""

    created: datetime
    keys: tuple[str, ...]
    removal: bool = False
    """The manifests are changed already: the keys may go at once."""


D = TypeVar("D", RepositoryIdentity, RunManifest, Intent)


class _Version(msgspec.Struct, rename="camel"):
    format_version: int


def encode(document: Document) -> bytes:
    """Indented JSON with a newline: these files are read by people in the worst hour of their year."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def decode(data: bytes, type_: type[D], where: str) -> D:
    """Read a document; the version is looked at first, because a newer one may not fit the type."""
    try:
        version = messages.decode(data, _Version).format_version
        if version > FORMAT_VERSION:
            raise UnsupportedFormat(
                f"{where} has format version {version}, this release reads up to {FORMAT_VERSION}: "
                "use a newer release of the operator"
            )
        return messages.decode(data, type_)
    except messages.Unreadable as error:
        raise DamagedDocument(f"{where} is damaged: {error}") from error
