"""A pod's phase and conditions, computed from its containers.

Guarantee: a condition's time moves only when its status flips; a final phase is never left again.
Non-guarantee: conditions of other writers (PodScheduled) are passed on as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from hack.devcluster.container_state import ContainerState
from hack.devcluster.objects import Obj, timestamp
from hack.devcluster.shapes import condition_of, now, status_of

_OWN = ("Initialized", "Ready", "ContainersReady")


def phase_of(spec: Obj, init: Sequence[ContainerState], containers: Sequence[ContainerState]) -> str:
    """Pending until the first container ran; final only when none will be restarted."""
    policy = spec.get("restartPolicy", "Always")
    if policy == "Never" and any(each.exit_code not in (None, 0) for each in init):
        return "Failed"
    if not all(each.exit_code == 0 for each in init):
        return "Pending"
    if all("waiting" in each.state and not each.restarts for each in containers):
        return "Pending"
    codes = [each.exit_code for each in containers]
    if policy == "Always" or None in codes or (policy == "OnFailure" and any(codes)):
        return "Running"
    return "Failed" if any(codes) else "Succeeded"


def pod_status(pod: Obj, init: Sequence[ContainerState], containers: Sequence[ContainerState]) -> Obj:
    """The status of ``pod`` with phase, conditions and container statuses brought up to date."""
    phase = phase_of(pod["spec"], init, containers)
    fresh: Obj = {
        **status_of(pod),
        "phase": phase,
        "conditions": _conditions(pod, phase, init, containers),
        "containerStatuses": [each.as_status() for each in containers],
        "qosClass": status_of(pod).get("qosClass", "BestEffort"),
    }
    return fresh | ({"initContainerStatuses": [_init_status(each) for each in init]} if init else {})


def _init_status(state: ContainerState) -> Obj:
    return state.as_status() | {"ready": state.exit_code == 0}


def _conditions(
    pod: Obj, phase: str, init: Sequence[ContainerState], containers: Sequence[ContainerState]
) -> list[Obj]:
    waiting = [each.name for each in init if each.exit_code != 0]
    unready = [each.name for each in containers if not each.ready]
    done = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else ""
    verdicts = {
        "Initialized": ("ContainersNotInitialized", "containers with incomplete status", waiting),
        "Ready": (done or "ContainersNotReady", "containers with unready status", unready),
        "ContainersReady": (done or "ContainersNotReady", "containers with unready status", unready),
    }
    others = [each for each in status_of(pod).get("conditions") or [] if each["type"] not in _OWN]
    return others + [_condition(pod, kind, *verdict) for kind, verdict in verdicts.items()]


def _condition(pod: Obj, kind: str, reason: str, text: str, names: list[str]) -> Obj:
    status = "False" if names else "True"
    old = condition_of(pod, kind)
    since = old["lastTransitionTime"] if old and old["status"] == status else timestamp(now())
    why = {"reason": reason, "message": f"{text}: [{' '.join(names)}]"} if names else {}
    return {"type": kind, "status": status, "lastTransitionTime": since} | why
