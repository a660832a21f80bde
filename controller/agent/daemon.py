"""The sidecar's main loop: takes requests, one at a time, in order of arrival.

Guarantee: one daemon per request directory; what a predecessor left is settled before the first request:
its orphan ended, its run marked failed with the reason, its staging removed, unknown staging swept.
Artifacts of a run stay until ``release``, or until nobody has touched them for
:data:`UNCLAIMED_SECONDS`, so that a lost runner cannot fill a database's disk for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from datetime import UTC, datetime
from types import FrameType

import msgspec

from controller.agent import chains, handwritten, upkeep
from controller.agent.clock import now_text
from controller.agent.dump import perform
from controller.agent.journal import Journal
from controller.agent.lock import DAEMON_LOCK, JVM_LOCK, Busy, end_orphan, held
from controller.agent.places import Places, default_places, remove_tree
from controller.agent.process import Interrupted
from controller.agent.workshop import Workshop
from controller.wire.messages import AgentStatus, BackupRequest, RunState

POLL_SECONDS = 0.25
RETRY_SECONDS = 2.0
SWEEP_SECONDS = 60.0
UNCLAIMED_SECONDS = 24 * 3600.0
FORGET_SECONDS = 7 * 24 * 3600.0
_RESTARTED = (
    "the agent was restarted while this run was being dumped (kubectl describe pod says why: OOMKilled means "
    "that the sidecar's memory limit is too small); ask for it again"
)
_BUSY = "another command of Neo4j kept this sidecar busy; ask again"
_STOPPED = "the agent was asked to stop (SIGTERM) while this run was being dumped; ask for it again"


class Daemon:
    """The agent's only writer of progress and status."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.journal = Journal(places.requests)
        self.stopping = False
        self._next_sweep = 0.0
        self._limits = upkeep.limits(os.environ)
        if self._limits.problem:
            say(self._limits.problem)

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        self.stopping = True

    def run(self) -> int:
        """Until asked to stop. Exit code 1 when another daemon works here."""
        try:
            self.places.requests.mkdir(parents=True, exist_ok=True)
            with held(self.places.requests / DAEMON_LOCK, 0):
                self.recover()
                say(f"waiting for requests in {self.places.requests}")
                while not self.stopping:
                    if not self._step_safely():
                        time.sleep(POLL_SECONDS)
        except Busy:
            say("another agent works in this directory")
            return 1
        say("stopped")
        return 0

    def step(self) -> bool:
        """Take at most one request; false when there was nothing to do."""
        self._sweep_sometimes()
        handwritten.take(self.journal, datetime.now(UTC))
        waiting = self.journal.waiting()
        if not waiting:
            reap_orphans()
            return False
        self._work(waiting[0])
        return True

    def _step_safely(self) -> bool:
        """A full or odd request directory is told of and tried again: a dead agent helps nobody."""
        try:
            return self.step()
        except OSError as error:
            say(f"cannot work in {self.places.requests}: {error}")
            time.sleep(RETRY_SECONDS)
            return False

    def recover(self) -> None:
        """Settle what a predecessor left behind."""
        if end_orphan(self.places.requests / JVM_LOCK):
            say("ended a neo4j-admin that a previous agent had left running")
        for aside in self.places.requests.glob(".*"):
            if aside.name not in {JVM_LOCK, DAEMON_LOCK}:
                remove_tree(aside)
        for run_id in self.journal.waiting():
            if self.journal.state(run_id) is RunState.RUNNING:
                self._end(self._broken(run_id, _RESTARTED))
        self._sweep_staging()
        handwritten.publish_idle(self.journal)

    def _work(self, run_id: str) -> None:
        request = self.journal.request(run_id)
        if request is None:
            self._end(self._broken(run_id, f"{run_id}.request is no request: submit it again"))
            return
        say(f"run {run_id}: {request.type} of {', '.join(request.databases) or request.database or '*'}")
        handwritten.running(self.journal, request)
        self._end(self._dump(request))

    def _dump(self, request: BackupRequest) -> AgentStatus:
        workshop = Workshop(self.places, self.journal, os.environ, lambda: self.stopping, say)
        try:
            return perform(request, workshop)
        except Interrupted:
            return self._broken(request.run_id, _STOPPED)
        except Busy:
            reason = _STOPPED if self.stopping else _BUSY
            return self._broken(request.run_id, reason)

    def _end(self, status: AgentStatus) -> None:
        if not status.artifacts:
            remove_tree(self.places.run_directory(status.run_id))
        if handwritten.is_handwritten(status.run_id):
            handwritten.publish(self.journal, status)
            self._list(status)
        self.journal.write_status(status)
        say(f"run {status.run_id}: {status.state}{': ' + status.error if status.error else ''}")

    def _list(self, status: AgentStatus) -> None:
        """Before the next run, so that it finds the room that retention makes."""
        if status.artifacts:
            upkeep.note(self.places, status)
            upkeep.tidy(self.places, self._limits, time.time(), say)

    def _broken(self, run_id: str, reason: str) -> AgentStatus:
        request = self.journal.request(run_id)
        progress = self.journal.progress(run_id)
        status = AgentStatus(run_id=run_id, state=RunState.FAILED, finished=now_text(), error=reason)
        if request:
            status = msgspec.structs.replace(status, type=request.type, path=request.path)
        return msgspec.structs.replace(status, started=progress.updated) if progress else status

    def _sweep_sometimes(self) -> None:
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + SWEEP_SECONDS
        now = time.time()
        chains.sweep(self.places, now, say)
        upkeep.tidy(self.places, self._limits, now, say)
        for run_id in self.journal.known() - set(self.journal.waiting()):
            age = self.journal.age_seconds(run_id, now)
            directory = self.places.run_directory(run_id)
            if age > UNCLAIMED_SECONDS and directory.exists():
                say(f"run {run_id}: nobody fetched its artifacts, removed")
                remove_tree(directory)
            if age > FORGET_SECONDS:
                self.journal.forget(run_id)

    def _sweep_staging(self) -> None:
        if not self.places.staging.is_dir():
            return
        known = self.journal.known()
        for entry in self.places.staging.iterdir():
            if entry.name not in known:
                say(f"removed {entry}, left by a run that nobody knows")
                remove_tree(entry)


def say(line: str) -> None:
    """The container's log."""
    sys.stdout.write(f"{now_text()} {line}\n")
    sys.stdout.flush()


def reap_orphans() -> None:
    """As process 1 of the container the agent inherits what exec'd verbs leave behind.

    Only called while the agent has no child of its own, whose exit code this would take away.
    """
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def run() -> int:
    daemon = Daemon(default_places())
    signal.signal(signal.SIGTERM, daemon.stop)
    signal.signal(signal.SIGINT, daemon.stop)
    return daemon.run()
