"""From a manifest, or a failure, to the one result that a run reports.

Guarantee: pure; the encoded result never exceeds the kubelet's limit for termination messages, and says
how much was left out. The verdict comes from what was stored and what is missing, from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from controller.repository import layout
from controller.repository.manifest import MissingDatabase, RunManifest, StoredArtifact
from controller.wire.messages import EarlierRun, Outcome, RunResult, SavedDatabase, encode

EARLIER = 9
LIMIT = 4096
"""Bytes of a termination message."""
VERIFICATION_FAILED = "VerificationFailed"
_LONG = 500
_SHORT = 160


def verdict(
    artifacts: Sequence[StoredArtifact], missing: Sequence[MissingDatabase], warnings: Sequence[str]
) -> Outcome:
    """What a run amounts to."""
    if not artifacts:
        return Outcome.FAILED
    if missing:
        return Outcome.PARTIALLY_SUCCEEDED
    return Outcome.SUCCEEDED_WITH_WARNINGS if warnings else Outcome.SUCCEEDED


def backup_type(artifacts: Sequence[StoredArtifact]) -> str:
    """What the artifacts are, whatever was asked for."""
    kinds = {"FULL" if artifact.full else "DIFF" for artifact in artifacts}
    return "MIXED" if len(kinds) > 1 else next(iter(kinds), "")


def missing_error(missing: Sequence[MissingDatabase], wanted: int) -> str:
    """One line for databases that were not saved; empty when there are none."""
    if not missing:
        return ""
    names = "; ".join(f"{one.database}: {one.reason}" for one in missing)
    return f"{len(missing)} of {max(wanted, len(missing))} databases not saved: {names}"


def committed(manifest: RunManifest, location: str) -> RunResult:
    """The result of a run that is in the repository."""
    error = missing_error(manifest.missing, len(manifest.databases))
    return RunResult(
        run_id=manifest.run_id,
        outcome=manifest.outcome,
        started=manifest.started,
        finished=manifest.finished,
        repository=location,
        manifest=layout.manifest(manifest.run_id),
        type=backup_type(manifest.artifacts),
        neo4j_version=manifest.neo4j_version,
        databases=(*map(_saved, manifest.artifacts), *map(_not_saved, manifest.missing)),
        artifact_count=len(manifest.artifacts),
        size=sum(artifact.size for artifact in manifest.artifacts),
        duration_seconds=round((manifest.finished - manifest.started).total_seconds(), 3),
        verified=None if manifest.verification is None else not manifest.verification.failed,
        verified_level=manifest.verification.level if manifest.verification else "",
        verified_at=manifest.verification.finished if manifest.verification else None,
        transport=_transport(manifest.transport),
        warnings=manifest.warnings,
        error=error,
        error_reason=_reason(manifest) if error else "",
    )


def _reason(manifest: RunManifest) -> str:
    lost = manifest.verification.failed if manifest.verification else ()
    return VERIFICATION_FAILED if len(lost) == len(manifest.missing) else "DatabasesMissing"


def earlier(runs: Iterable[RunManifest], run_id: str) -> tuple[EarlierRun, ...]:
    """The newest of ``runs`` but this one, newest first: as many as a status keeps."""
    others = sorted((run for run in runs if run.run_id != run_id), key=lambda run: run.started, reverse=True)
    return tuple(
        EarlierRun(
            run_id=run.run_id,
            outcome=run.outcome,
            started=run.started,
            finished=run.finished,
            type=backup_type(run.artifacts),
            size=sum(artifact.size for artifact in run.artifacts),
            artifact_count=len(run.artifacts),
            verified=None if run.verification is None else not run.verification.failed,
        )
        for run in others[:EARLIER]
    )


def failed(
    run_id: str, started: datetime, finished: datetime, reason: str, error: str, *,
    repository: str = "", missing: Sequence[MissingDatabase] = (),
) -> RunResult:  # fmt: skip
    """The result of a run that left nothing in the repository."""
    return RunResult(
        run_id=run_id,
        outcome=Outcome.FAILED,
        started=started,
        finished=finished,
        repository=repository,
        databases=tuple(map(_not_saved, missing)),
        duration_seconds=round((finished - started).total_seconds(), 3),
        error=error,
        error_reason=reason,
    )


def fit(result: RunResult) -> bytes:
    """``result`` as one line of at most :data:`LIMIT` bytes.

    Texts are shortened first, because a database that is left out is worse than a sentence cut short;
    of the databases, those that were not saved stay longest.
    """
    while len(line := encode(result)) > LIMIT and result.earlier:
        result = msgspec.structs.replace(result, earlier=result.earlier[:-1])
    if len(line) <= LIMIT:
        return line
    databases = sorted(result.databases, key=lambda one: not one.error)
    result = msgspec.structs.replace(
        result,
        error=_cut(result.error, _LONG),
        warnings=tuple(_cut(warning, _SHORT) for warning in result.warnings[:5]),
        databases=tuple(
            msgspec.structs.replace(one, error=_cut(one.error, _SHORT), sha256="") for one in databases
        ),
    )
    while len(line := encode(result)) > LIMIT and result.databases:
        result = msgspec.structs.replace(
            result, databases=result.databases[:-1], databases_omitted=result.databases_omitted + 1
        )
    if len(line) > LIMIT:  # texts of many-byte characters
        line = encode(msgspec.structs.replace(result, warnings=(), error=_cut(result.error, _SHORT)))
    return line


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _transport(name: str) -> Literal["tls", "exec"]:
    return "exec" if name == "exec" else "tls"


def _saved(artifact: StoredArtifact) -> SavedDatabase:
    return SavedDatabase(
        name=artifact.database,
        server=artifact.server,
        role=artifact.role,
        type="FULL" if artifact.full else "DIFF",
        artifact=artifact.key,
        size=artifact.size,
        sha256=artifact.sha256,
    )


def _not_saved(missing: MissingDatabase) -> SavedDatabase:
    return SavedDatabase(name=missing.database, error=missing.reason)
