"""Runs as ``status.history`` tells them, and the numbers that come from them.

Guarantee: newest first, bounded, one entry for each run; an entry that is settled never changes, unless the
repository knows a run of which no result was read; a run
that was begun and whose Job vanished is settled as failed, with that as its reason, but only when we
could look. Non-guarantee: the repository, not this, is the list of backups.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from controller.api.status import BackupProgress, BackupRun, BackupStats, RunArtifact, RunStatus
from controller.plan import text
from controller.plan.runs import Run
from controller.repository import layout
from controller.wire.messages import EarlierRun, Outcome, Progress, RunResult, SavedDatabase

LIMIT = 10
ARTIFACT_LIMIT = 50


def merged(before: Sequence[BackupRun], runs: Iterable[Run], now: datetime) -> tuple[BackupRun, ...]:
    """The history after ``runs`` were seen."""
    entries = {entry.run_id or f"#{index}": entry for index, entry in enumerate(before)}
    seen = {run.job.uid: run for run in runs}
    superseded = _superseded(seen.values())
    for uid, run in seen.items():
        known = entries.get(uid)
        if uid in superseded:
            entries.pop(uid, None)
        elif known is None or known.status == "Running":
            entries[uid] = entry_of(run)
    for run in seen.values():
        if run.result is not None and not run.is_active:
            for one in run.result.earlier:
                known = entries.get(one.run_id)
                if known is None or (known.status != "Running" and known.manifest is None):
                    entries[one.run_id] = _restored(one, run.result, known)
    for uid, entry in entries.items():
        if entry.status == "Running" and uid not in seen:
            entries[uid] = _vanished(entry, now)
    ordered = sorted(entries.values(), key=lambda entry: (entry.start_time, entry.run_id or ""), reverse=True)
    return tuple(ordered[:LIMIT])


def _superseded(runs: Iterable[Run]) -> frozenset[str]:
    """Attempts that failed for something that is waited for and were tried again: only the last tells."""
    every = list(runs)
    return frozenset(
        run.job.uid
        for run in every
        if run.waits_for_user
        and any(other.request == run.request and other.attempt > run.attempt for other in every)
        and run.request is not None
    )


def _restored(one: EarlierRun, told: RunResult, known: BackupRun | None) -> BackupRun:
    """A run of which the repository knows more: this status was lost, or its Job ended without a result."""
    is_good = one.outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS)
    seconds = (one.finished - one.started).total_seconds()
    return BackupRun(
        start_time=one.started.replace(microsecond=0),
        completion_time=one.finished.replace(microsecond=0),
        status="Completed" if is_good else "Failed",
        error=None if is_good else "some databases were not saved; its manifest names them",
        run_id=one.run_id,
        outcome=one.outcome.value,
        type=one.type or None,
        repository=told.repository or None,
        manifest=f"{layout.RUNS}/{one.run_id}.json",
        verified=one.verified,
        warnings=(text.one_line(f"its Job told nothing of it: {known.error}"),)
        if known and known.error
        else (),
        stats=BackupStats(
            size=text.size(one.size),
            duration=text.duration(seconds),
            throughput=text.throughput(one.size, seconds),
            file_count=one.artifact_count,
        ),
    )


def is_recorded(history: Sequence[BackupRun], run: Run) -> bool:
    """The stored history has this run settled."""
    return any(entry.run_id == run.job.uid and entry.status != "Running" for entry in history)


def _vanished(entry: BackupRun, now: datetime) -> BackupRun:
    lost = "its Job disappeared before the result was read; the repository's runs/ tells what became of it"
    return replace(
        entry, status="Failed", error=lost, outcome="Failed", completion_time=now.replace(microsecond=0)
    )


def entry_of(run: Run) -> BackupRun:
    """One run."""
    result = run.result
    status: RunStatus = "Running" if run.is_active else "Completed" if run.state == "Completed" else "Failed"
    entry = BackupRun(
        start_time=run.started,
        completion_time=None if run.is_active else run.finished,
        status=status,
        error=run.cause.message if run.cause and run.state == "Failed" else None,
        run_id=run.job.uid,
        outcome="Failed" if run.state == "Failed" else "Succeeded" if run.state == "Completed" else None,
    )
    return entry if result is None or run.is_active else replace(entry, **_told(result))


def _told(result: RunResult) -> dict[str, object]:
    """What only the runner knows."""
    saved = [item for item in result.databases if item.artifact]
    return {
        "stats": stats_of(result),
        "type": result.type or None,
        "databases": tuple(sorted(item.name for item in saved)),
        "artifacts": tuple(_artifact(item) for item in saved[:ARTIFACT_LIMIT]),
        "source": sources(result.databases) or None,
        "repository": result.repository or None,
        "manifest": result.manifest or None,
        "verified": result.verified,
        "verification_level": result.verified_level or None,
        "verification_time": result.verified_at and result.verified_at.replace(microsecond=0),
        "outcome": str(result.outcome),
        "warnings": tuple(text.one_line(warning) for warning in result.warnings),
    }


def stats_of(result: RunResult) -> BackupStats:
    """The statistics of one run."""
    return BackupStats(
        size=text.size(result.size),
        duration=text.duration(result.duration_seconds),
        throughput=text.throughput(result.size, result.duration_seconds),
        file_count=result.artifact_count,
    )


def sources(databases: Iterable[SavedDatabase]) -> str:
    """``demo-server-3 (secondary)``: which servers gave the data, and as what."""
    pairs = {(item.server, item.role) for item in databases if item.server and item.artifact}
    servers = sorted({server for server, _ in pairs})
    roles = {
        server: sorted({role for other, role in pairs if other == server and role}) for server in servers
    }
    return text.listed([f"{name} ({'/'.join(roles[name])})" if roles[name] else name for name in servers])


def _artifact(saved: SavedDatabase) -> RunArtifact:
    return RunArtifact(
        database=saved.name,
        path=saved.artifact,
        type=saved.type or None,
        bytes=saved.size,
        sha256=saved.sha256 or None,
        server=saved.server or None,
        role=saved.role or None,
    )


def progress_of(progress: Progress, before: BackupProgress | None, now: datetime) -> BackupProgress:
    """The runner's words as status; ``updated`` moves only when they changed."""
    total = progress.bytes_total
    fresh = BackupProgress(
        run_id=progress.run_id or None,
        phase=progress.phase,
        database=progress.database or None,
        databases_done=progress.databases_done,
        databases_total=progress.databases_total,
        bytes_done=progress.bytes_done,
        bytes_total=total or None,
        percent=min(100, progress.bytes_done * 100 // total) if total > 0 else None,
        throughput=f"{text.size(progress.bytes_per_second)}/s" if progress.bytes_per_second else None,
        remaining=text.duration(progress.seconds_left) if progress.seconds_left else None,
        message=text.one_line(progress.message) or None,
        updated=now.replace(microsecond=0),
    )
    same = before is not None and replace(before, updated=fresh.updated) == fresh
    return before if same and before is not None else fresh
