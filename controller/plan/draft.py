"""A plan in the making, and what a rule is.

Guarantee: a draft is a value; a rule gives a new one. A rule that stops says in one line why, and that
line becomes message, condition and log. Non-guarantee: nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias

from controller.api.conditions import ConditionStatus, Verdict
from controller.api.status import Phase, SidecarRecord
from controller.plan.changes import Change
from controller.plan.observed import Observed
from controller.plan.runs import Run
from controller.plan.targets import Target

READY = "Ready"
JOB_CREATED = "JobCreated"
STORAGE_READY = "StorageReady"
TARGET_READY = "TargetReady"
SIDECAR_READY = "SidecarReady"
VERIFIED = "Verified"
"""Whether the newest backup stood its verification; absent where none is asked for."""
SPEC_ENFORCED = "SpecEnforced"
"""False while the spec asks for something that this version does not do; absent otherwise."""

LOOK_AGAIN_SECONDS = 10.0
"""After we could not look: a cache that is still filling, an API server that said no."""
WAIT_SECONDS = 60.0
"""While waiting for somebody else: a watch wakes us earlier, this is for what no watch sees."""
FOLLOW_SECONDS = 5.0
"""While a run is going: its log is read this often."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Why the rules end here: what is waited for, what is wrong, or that all is done."""

    reason: str
    message: str
    phase: Phase | None = None
    """None leaves the phase to the runs."""
    ready: ConditionStatus = "False"


@dataclass(frozen=True, slots=True)
class Draft:
    """What the rules have found so far."""

    changes: tuple[Change, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    runs: tuple[Run, ...] = ()
    """Newest first."""
    target: Target | None = None
    servers: tuple[str, ...] = ()
    """Pods that are ready and have an agent."""
    notes: tuple[str, ...] = ()
    """What is otherwise than it should be and does not stop anything."""
    sidecar: tuple[SidecarRecord, ...] | None = None
    """None: as before."""
    stop: Stop | None = None
    requeue_after: float | None = None
    gone: bool = False
    """The backup is being deleted: there is no status to write."""
    is_finished: bool = False
    """Nothing is left to do; the runs tell what is to be said."""

    @property
    def is_done(self) -> bool:
        """No further rule is asked about it."""
        return self.is_finished or self.stop is not None

    @property
    def active(self) -> Run | None:
        """The run that is going on, if any."""
        return next((run for run in self.runs if run.is_active), None)

    def doing(self, *changes: Change) -> Draft:
        """The draft with these changes after the others."""
        return replace(self, changes=(*self.changes, *changes))

    def judged(self, type_: str, status: ConditionStatus, reason: str, message: str) -> Draft:
        """The draft with a verdict; the last one on a type counts."""
        return replace(self, verdicts=(*self.verdicts, Verdict(type_, status, reason, message)))

    def again(self, seconds: float) -> Draft:
        """The draft that is looked at again after ``seconds`` at the latest."""
        before = self.requeue_after
        return replace(self, requeue_after=seconds if before is None else min(before, seconds))

    def stopped(self, stop: Stop, *, again: float | None = None) -> Draft:
        """The draft that no further rule is asked about."""
        draft = replace(self, stop=stop)
        return draft if again is None else draft.again(again)

    def finished(self) -> Draft:
        """The draft that has nothing left to do."""
        return replace(self, is_finished=True)

    def waiting(self, type_: str, reason: str, message: str) -> Draft:
        """Stopped until somebody else has done something; the condition says what."""
        draft = self.judged(type_, "False", reason, message)
        return draft.stopped(Stop(reason, message, Phase.PENDING), again=WAIT_SECONDS)

    def blind(self, type_: str, reason: str) -> Draft:
        """Stopped because we could not look: nothing may be concluded from that."""
        draft = self.judged(type_, "Unknown", "CouldNotLook", reason)
        return draft.stopped(Stop("CouldNotLook", reason, ready="Unknown"), again=LOOK_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class Rule:
    """A step of the plan: its name goes to the log, its function sees all and gives the next draft."""

    name: str
    apply: RuleFunction


RuleFunction: TypeAlias = Callable[[Observed, datetime, Draft], Draft]
