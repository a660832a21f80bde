"""The documented ``backup.request``, written by hand or by anything that can echo into a file.

Guarantee: the file is consumed when it is taken; a file that is still being written is waited for, and
one that never becomes a request ends as status Failed with what to write. Non-guarantee: two files
written within one poll are one request, the last: that is the protocol's nature, and the reason for
``submit``.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from controller.agent.clock import now_text
from controller.agent.journal import Journal
from controller.wire import messages
from controller.wire.locations import BACKUPS_DIR
from controller.wire.messages import (
    AgentProgress,
    AgentStatus,
    BackupRequest,
    RunState,
    Unreadable,
    encode,
)

REQUEST = "backup.request"
STATUS = "backup.status"
PREFIX = "manual-"
PATIENCE_SECONDS = 1.5
_EXAMPLE = f'{{"path":"{BACKUPS_DIR}/today","type":"FULL","database":"neo4j"}}'


def is_handwritten(run_id: str) -> bool:
    return run_id.startswith(PREFIX)


def take(journal: Journal, now: datetime) -> str:
    """Queue a waiting ``backup.request``; its run id, or empty when there is none (yet)."""
    path = journal.directory / REQUEST
    try:
        decode(path.read_bytes())
    except FileNotFoundError:
        return ""
    except Unreadable:
        if _age_seconds(path, now) < PATIENCE_SECONDS:
            return ""
    run_id = f"{PREFIX}{now:%Y%m%dT%H%M%S}.{now.microsecond:06d}"
    taken = journal.directory / f".{run_id}.taken"
    # what is read is what was moved away: a second request written meanwhile stays for the next round
    path.rename(taken)
    try:
        return _queue(journal, run_id, taken.read_bytes(), now)
    finally:
        taken.unlink()


def decode(content: bytes) -> BackupRequest:
    """Raises ``Unreadable`` for what is no request, half a request included."""
    raw = messages.decode(content, object)
    if isinstance(raw, dict) and isinstance(raw.get("type"), str):
        # Neo4j takes the type in any case, and so did the hands that wrote it
        raw = raw | {"type": raw["type"].upper()}
    try:
        return msgspec.convert(raw, type=BackupRequest)
    except msgspec.ValidationError as error:
        raise Unreadable(str(error)) from error


def publish(journal: Journal, status: AgentStatus) -> None:
    """What ``cat backup.status`` shows."""
    journal.write(STATUS, encode(status))


def publish_idle(journal: Journal) -> None:
    """``cat backup.status`` works before the first request, too."""
    if not (journal.directory / STATUS).exists():
        journal.write(STATUS, b'{"runId":"","state":"Idle"}')


def _queue(journal: Journal, run_id: str, content: bytes, now: datetime) -> str:
    try:
        request = decode(content)
    except Unreadable as error:
        publish(journal, _refused(run_id, f"{REQUEST} is no request ({error}): write for example {_EXAMPLE}"))
        return ""
    path = request.path or f"{BACKUPS_DIR}/backup-{now:%Y%m%d-%H%M%S}"
    journal.add(msgspec.structs.replace(request, run_id=run_id, path=path))
    publish(journal, AgentStatus(run_id=run_id, state=RunState.QUEUED, type=request.type, path=path))
    return run_id


def running(journal: Journal, request: BackupRequest) -> None:
    """Both files say Running from the first moment, so that a killed agent's successor can tell."""
    started = now_text()
    journal.write_progress(AgentProgress(run_id=request.run_id, state=RunState.RUNNING, updated=started))
    if is_handwritten(request.run_id):
        publish(
            journal,
            AgentStatus(
                run_id=request.run_id,
                state=RunState.RUNNING,
                started=started,
                type=request.type,
                path=request.path,
            ),
        )


def _refused(run_id: str, error: str) -> AgentStatus:
    finished = now_text()
    return AgentStatus(run_id=run_id, state=RunState.FAILED, finished=finished, error=error)


def _age_seconds(path: Path, now: datetime) -> float:
    with contextlib.suppress(FileNotFoundError):
        return (now - datetime.fromtimestamp(path.stat().st_mtime, UTC)).total_seconds()
    return 0.0
