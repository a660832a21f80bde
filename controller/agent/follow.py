"""The verbs ``follow`` and ``status``: where a run is.

Guarantee: ``follow`` writes at least one line every :data:`SILENCE_SECONDS`, and ends with the status.
"""

from __future__ import annotations

import time

from controller.agent.answers import NO_SUCH_RUN, answer
from controller.agent.clock import now_text
from controller.agent.journal import Journal, is_run_id
from controller.agent.lock import DAEMON_LOCK, is_held
from controller.agent.places import default_places
from controller.wire.messages import AgentProgress, AgentStatus, RunState

POLL_SECONDS = 0.2
SILENCE_SECONDS = 1.5
ABSENCE_SECONDS = 20.0
"""How long the daemon may be away: a container that restarts is back before that."""


def follow(run_id: str) -> int:
    journal = Journal(default_places().requests)
    said: AgentProgress | None = None
    spoken = daemon_seen = time.monotonic()
    while True:
        status = journal.status(run_id) if is_run_id(run_id) else _unknown(run_id)
        if status is None and journal.state(run_id) is None:
            status = journal.status(run_id) or _unknown(run_id)
        now = time.monotonic()
        if status is None and is_held(journal.directory / DAEMON_LOCK):
            daemon_seen = now
        elif status is None and now - daemon_seen > ABSENCE_SECONDS:
            status = _failed(run_id, "no agent is running in this sidecar")
        if status:
            answer(status)
            return NO_SUCH_RUN if status.error == _unknown(run_id).error else 0
        progress = journal.progress(run_id) or _queued(journal, run_id)
        if progress != said or now - spoken >= SILENCE_SECONDS:
            answer(progress)
            said, spoken = progress, now
        time.sleep(POLL_SECONDS)


def status(run_id: str) -> int:
    """For people: one run, or every known run, a line each."""
    journal = Journal(default_places().requests)
    for known in [run_id] if run_id else sorted(journal.known()):
        answer(_now(journal, known))
    return 0


def _now(journal: Journal, run_id: str) -> AgentStatus | AgentProgress:
    if not is_run_id(run_id) or journal.state(run_id) is None:
        return _unknown(run_id)
    return journal.status(run_id) or journal.progress(run_id) or _queued(journal, run_id)


def _queued(journal: Journal, run_id: str) -> AgentProgress:
    waiting = journal.waiting()
    ahead = waiting.index(run_id) if run_id in waiting else 0
    detail = f"waiting for {ahead} other run{'s' if ahead > 1 else ''}" if ahead else "about to start"
    return AgentProgress(run_id=run_id, state=RunState.QUEUED, detail=detail, updated=now_text())


def _unknown(run_id: str) -> AgentStatus:
    return _failed(run_id, "this agent knows no such run; its pod may have been replaced meanwhile")


def _failed(run_id: str, error: str) -> AgentStatus:
    return AgentStatus(run_id=run_id, state=RunState.FAILED, error=error)
