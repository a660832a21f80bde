"""Why a pod of a run does not start, or ended: one precise line, and one word for programs.

Guarantee: total over everything that a kubelet, a scheduler or a quota may say; the most telling
source wins (the runner's own result, then the container's end, then the pod's, then its events).
Non-guarantee: Events expire, so a line may get less precise as time passes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from controller.api.objects import ContainerStatus, Pod, Slim, Terminated
from controller.plan.text import one_line
from controller.wire.locations import RUNNER_CONTAINER
from controller.wire.messages import RunResult, Unreadable, decode

EVENT_REASONS = frozenset({"FailedMount", "FailedAttachVolume", "FailedCreate", "FailedCreatePodSandBox"})
INTERRUPTED = "Interrupted"
"""What a runner calls the end by SIGTERM."""
_RESULT_MARK = " result {"


@dataclass(frozen=True, slots=True)
class Cause:
    """``reason`` is CamelCase; ``message`` says what is so in one line."""

    reason: str
    message: str


class Warned(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A Warning event on a Job or a pod of a run."""

    reason: str = ""
    message: str = ""
    last_timestamp: datetime | None = None
    event_time: datetime | None = None

    @property
    def seen_at(self) -> str:
        """Sortable; old and new event APIs fill in different fields."""
        moment = self.last_timestamp or self.event_time
        return moment.isoformat() if moment else ""


def result_of(pod: Pod) -> RunResult | None:
    """The runner's result in the pod's termination message, whole or as the last log line."""
    ended = terminated(pod)
    if ended is None:
        return None
    text = ended.message.strip()
    if not text.startswith("{"):
        _, mark, told = text.rpartition(_RESULT_MARK)
        text = "{" + told.partition("\n")[0] if mark else ""
    try:
        return decode(text, RunResult) if text else None
    except Unreadable:
        return None


def terminated(pod: Pod) -> Terminated | None:
    """How the runner's container ended, if it did."""
    status = pod.container(RUNNER_CONTAINER)
    return status.state.terminated if status else None


def is_started(pod: Pod) -> bool:
    """The runner's container runs or ran."""
    status = pod.container(RUNNER_CONTAINER)
    return bool(status and (status.state.running or status.state.terminated))


def why_waiting(pod: Pod, events: Iterable[Warned]) -> Cause:
    """Why the runner's container has not started."""
    unscheduled = _unscheduled(pod)
    if unscheduled:
        return unscheduled
    for status in (*(pod.status.init_container_statuses or ()), pod.container(RUNNER_CONTAINER)):
        cause = _waiting_container(status)
        if cause:
            return cause
    event = newest(events)
    if event:
        return Cause(event.reason, one_line(event.message))
    if not pod.spec.node_name:
        return Cause("PodPending", f"pod {pod.name} waits for a node")
    return Cause("PodStarting", f"pod {pod.name} is being started on {pod.spec.node_name}")


def why_stuck(pod: Pod) -> Cause | None:
    """What keeps a server's pod from coming back, if the pod tells; None when it may just take time."""
    statuses = (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ()))
    waiting = (cause for status in statuses if (cause := _waiting_container(status)) is not None)
    return _unscheduled(pod) or next(waiting, None)


def _unscheduled(pod: Pod) -> Cause | None:
    scheduled = pod.condition("PodScheduled")
    if scheduled is None or scheduled.status != "False":
        return None
    reason = scheduled.reason or "Unschedulable"
    return Cause(reason, one_line(f"no node takes pod {pod.name}: {scheduled.message or reason}"))


def _waiting_container(status: ContainerStatus | None) -> Cause | None:
    waiting = status.state.waiting if status else None
    if status is None or waiting is None or waiting.reason in {"", "ContainerCreating", "PodInitializing"}:
        return None
    if "Image" in waiting.reason:
        detail = waiting.message or waiting.reason
        return Cause(waiting.reason, one_line(f"image {status.image} cannot be pulled: {detail}"))
    return Cause(waiting.reason, one_line(waiting.message or waiting.reason))


def newest(events: Iterable[Warned]) -> Warned | None:
    """The last event that tells why a pod is not there or not running."""
    telling = [event for event in events if event.reason in EVENT_REASONS]
    return max(telling, key=lambda event: (event.seen_at, event.reason, event.message), default=None)


def why_ended(pod: Pod) -> Cause | None:
    """Why this pod's attempt failed; None when it did not fail."""
    result, ended = result_of(pod), terminated(pod)
    if result is not None and result.error:
        return _disrupted(pod, result) or Cause(result.error_reason or "RunFailed", one_line(result.error))
    if ended and ended.reason == "OOMKilled":
        return Cause("OOMKilled", f"pod {pod.name} was killed because it used more memory than its limit")
    if pod.status.reason:
        detail = pod.status.message or pod.status.reason
        return Cause(pod.status.reason, one_line(f"pod {pod.name}: {detail}"))
    if ended and ended.exit_code:
        return _exit(pod, ended)
    if pod.status.phase == "Failed":
        return Cause(
            "PodFailed", one_line(f"pod {pod.name} failed: {pod.status.message or 'no reason given'}")
        )
    return None


def _disrupted(pod: Pod, result: RunResult) -> Cause | None:
    """Who told a pod to stop: an eviction, a taint, a preemption. The runner only knows that it was told."""
    disruption = pod.condition("DisruptionTarget")
    if result.error_reason != INTERRUPTED or disruption is None or disruption.status != "True":
        return None
    said = disruption.message or disruption.reason
    return Cause(disruption.reason or INTERRUPTED, one_line(f"pod {pod.name} was told to stop: {said}"))


def _exit(pod: Pod, ended: Terminated) -> Cause:
    last_line = next((line for line in reversed(ended.message.splitlines()) if line.strip()), "")
    told = f": {last_line}" if last_line else " without a result"
    return Cause("RunnerFailed", one_line(f"pod {pod.name} ended with exit code {ended.exit_code}{told}"))
