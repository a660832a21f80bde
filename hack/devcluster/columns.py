"""The columns that ``kubectl get`` shows of built-in types."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from hack.devcluster.kinds import Column
from hack.devcluster.objects import GroupResource, Obj, dig
from hack.devcluster.selectors import to_text

AGE = Column("Age", ".metadata.creationTimestamp", "date")
_NAME = Column("Name", ".metadata.name", format="name")


def age(stamp: str | None) -> str:
    """As kubectl tells durations: ``5s``, ``3m20s``, ``2d3h``."""
    if not stamp:
        return "<unknown>"
    return duration(
        (datetime.now(UTC) - datetime.fromisoformat(stamp.replace("Z", "+00:00"))).total_seconds()
    )


def duration(seconds: float) -> str:
    if seconds < -1:
        return "<invalid>"  # a real server says so too: a date column is for the past
    total = max(0, int(seconds))
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return f"{minutes}m" + (f"{total % 60}s" if total % 60 else "")
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" + (f"{minutes % 60}m" if minutes % 60 else "")
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" + (f"{hours % 24}h" if hours % 24 else "")
    return f"{days}d" if days < 730 else f"{days // 365}y"


def _pod_ready(pod: Obj) -> str:
    states = dig(pod, "status", "containerStatuses", default=[])
    return (
        f"{sum(bool(each.get('ready')) for each in states)}/{len(dig(pod, 'spec', 'containers', default=[]))}"
    )


def _pod_status(pod: Obj) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    init = status.get("initContainerStatuses") or []
    for number, state in enumerate(init):
        ended = dig(state, "state", "terminated")
        if ended and ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended['exitCode'])}"
        waiting = dig(state, "state", "waiting", "reason")
        return f"Init:{waiting}" if waiting not in (None, "PodInitializing") else f"Init:{number}/{len(init)}"
    for state in status.get("containerStatuses") or ():
        reason = dig(state, "state", "waiting", "reason") or dig(state, "state", "terminated", "reason")
        if reason:
            return str(reason)
    return str(status.get("reason") or status.get("phase") or "Unknown")


def _restarts(pod: Obj) -> int:
    return sum(each.get("restartCount", 0) for each in dig(pod, "status", "containerStatuses", default=[]))


def _ready_of(obj: Obj) -> str:
    return f"{dig(obj, 'status', 'readyReplicas', default=0)}/{dig(obj, 'spec', 'replicas', default=0)}"


def _job_status(job: Obj) -> str:
    for name in ("Complete", "Failed", "Suspended"):
        conditions = dig(job, "status", "conditions", default=[])
        if any(each["type"] == name and each["status"] == "True" for each in conditions):
            return name
    return "Terminating" if job["metadata"].get("deletionTimestamp") else "Running"


def _job_completions(job: Obj) -> str:
    return f"{dig(job, 'status', 'succeeded', default=0)}/{dig(job, 'spec', 'completions', default=1)}"


def _job_duration(job: Obj) -> str:
    start, end = dig(job, "status", "startTime"), dig(job, "status", "completionTime")
    if not start:
        return ""
    if not end:
        return age(start)
    moments = [datetime.fromisoformat(each.replace("Z", "+00:00")) for each in (start, end)]
    return duration((moments[1] - moments[0]).total_seconds())


def _ports(service: Obj) -> str:
    ports = dig(service, "spec", "ports", default=[])
    return ",".join(f"{port['port']}/{port.get('protocol', 'TCP')}" for port in ports) or "<none>"


def _endpoints(obj: Obj) -> str:
    found = [
        f"{address['ip']}:{port['port']}"
        for subset in obj.get("subsets") or ()
        for address in subset.get("addresses") or ()
        for port in subset.get("ports") or ()
    ]
    return ",".join(found[:3]) + (f" + {len(found) - 3} more..." if len(found) > 3 else "") or "<none>"


def _event_object(event: Obj) -> str:
    about = event.get("involvedObject") or event.get("regarding") or {}
    return f"{about.get('kind', '').lower()}/{about.get('name', '')}"


def _last_seen(event: Obj) -> str:
    return age(event.get("lastTimestamp") or event.get("eventTime") or event.get("firstTimestamp"))


def _node_status(node: Obj) -> str:
    conditions = dig(node, "status", "conditions", default=[])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return "Ready" if ready else "NotReady"


def _containers(field: str) -> Callable[[Obj], str]:
    return lambda obj: ",".join(
        each.get(field, "") for each in dig(obj, "spec", "template", "spec", "containers", default=[])
    )


def _count(field: str) -> Callable[[Obj], int]:
    return lambda obj: len(obj.get(field) or ())


def _ago(*path: str) -> Callable[[Obj], str]:
    return lambda obj: age(dig(obj, *path)) if dig(obj, *path) else "<none>"


def _modes(obj: Obj) -> str:
    short = {
        "ReadWriteOnce": "RWO",
        "ReadOnlyMany": "ROX",
        "ReadWriteMany": "RWX",
        "ReadWriteOncePod": "RWOP",
    }
    return ",".join(short.get(mode, mode) for mode in dig(obj, "spec", "accessModes", default=[]))


_IMAGES = (
    Column("Containers", _containers("name"), priority=1),
    Column("Images", _containers("image"), priority=1),
)
_SELECTOR = Column("Selector", lambda obj: to_text(dig(obj, "spec", "selector")) or "<none>", priority=1)
_ROLE_REF = Column("Role", lambda obj: f"{dig(obj, 'roleRef', 'kind')}/{dig(obj, 'roleRef', 'name')}")

_COLUMNS: dict[GroupResource, tuple[Column, ...]] = {
    ("", "namespaces"): (Column("Status", ".status.phase"), AGE),
    ("", "nodes"): (
        Column("Status", _node_status),
        Column("Roles", lambda _: "<none>"),
        AGE,
        Column("Version", ".status.nodeInfo.kubeletVersion"),
        Column("Internal-IP", ".status.addresses[?(@.type=='InternalIP')].address", priority=1),
    ),
    ("", "pods"): (
        Column("Ready", _pod_ready),
        Column("Status", _pod_status),
        Column("Restarts", _restarts, "integer"),
        AGE,
        Column("IP", ".status.podIP", priority=1),
        Column("Node", ".spec.nodeName", priority=1),
    ),
    ("", "services"): (
        Column("Type", ".spec.type"),
        Column("Cluster-IP", ".spec.clusterIP"),
        Column("External-IP", lambda _: "<none>"),
        Column("Port(s)", _ports),
        AGE,
        Column(
            "Selector",
            lambda obj: to_text({"matchLabels": dig(obj, "spec", "selector", default={})}),
            priority=1,
        ),
    ),
    ("", "endpoints"): (Column("Endpoints", _endpoints), AGE),
    ("", "configmaps"): (Column("Data", _count("data"), "integer"), AGE),
    ("", "secrets"): (Column("Type", ".type"), Column("Data", _count("data"), "integer"), AGE),
    ("", "serviceaccounts"): (Column("Secrets", _count("secrets"), "integer"), AGE),
    ("", "events"): (
        Column("Last Seen", _last_seen),
        Column("Type", ".type"),
        Column("Reason", ".reason"),
        Column("Object", _event_object),
        Column(
            "Source", lambda obj: dig(obj, "source", "component") or obj.get("reportingComponent"), priority=1
        ),
        Column("Message", lambda obj: str(obj.get("message") or obj.get("note") or "").strip()),
        Column("Count", ".count", "integer", priority=1),
    ),
    ("", "persistentvolumeclaims"): (
        Column("Status", ".status.phase"),
        Column("Volume", ".spec.volumeName"),
        Column("Capacity", ".status.capacity.storage"),
        Column("Access Modes", _modes),
        Column("StorageClass", ".spec.storageClassName"),
        AGE,
    ),
    ("", "persistentvolumes"): (
        Column("Capacity", ".spec.capacity.storage"),
        Column("Access Modes", _modes),
        Column("Reclaim Policy", ".spec.persistentVolumeReclaimPolicy"),
        Column("Status", ".status.phase"),
        AGE,
    ),
    ("apps", "statefulsets"): (Column("Ready", _ready_of), AGE, *_IMAGES),
    ("apps", "deployments"): (
        Column("Ready", _ready_of),
        Column("Up-to-date", lambda obj: dig(obj, "status", "updatedReplicas", default=0), "integer"),
        Column("Available", lambda obj: dig(obj, "status", "availableReplicas", default=0), "integer"),
        AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    ("apps", "replicasets"): (
        Column("Desired", ".spec.replicas", "integer"),
        Column("Current", lambda obj: dig(obj, "status", "replicas", default=0), "integer"),
        Column("Ready", lambda obj: dig(obj, "status", "readyReplicas", default=0), "integer"),
        AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    ("batch", "jobs"): (
        Column("Status", _job_status),
        Column("Completions", _job_completions),
        Column("Duration", _job_duration),
        AGE,
        *_IMAGES,
        _SELECTOR,
    ),
    ("batch", "cronjobs"): (
        Column("Schedule", ".spec.schedule"),
        Column("Timezone", lambda obj: dig(obj, "spec", "timeZone") or "<none>"),
        Column("Suspend", lambda obj: str(dig(obj, "spec", "suspend", default=False))),
        Column("Active", lambda obj: len(dig(obj, "status", "active", default=[])), "integer"),
        Column("Last Schedule", _ago("status", "lastScheduleTime")),
        AGE,
    ),
    ("coordination.k8s.io", "leases"): (Column("Holder", ".spec.holderIdentity"), AGE),
    ("rbac.authorization.k8s.io", "rolebindings"): (_ROLE_REF, AGE),
    ("rbac.authorization.k8s.io", "clusterrolebindings"): (_ROLE_REF, AGE),
    ("rbac.authorization.k8s.io", "roles"): (Column("Created At", ".metadata.creationTimestamp"),),
    ("rbac.authorization.k8s.io", "clusterroles"): (Column("Created At", ".metadata.creationTimestamp"),),
    ("policy", "poddisruptionbudgets"): (
        Column("Min Available", ".spec.minAvailable"),
        Column("Max Unavailable", ".spec.maxUnavailable"),
        Column("Allowed Disruptions", ".status.disruptionsAllowed", "integer"),
        AGE,
    ),
    ("storage.k8s.io", "storageclasses"): (Column("Provisioner", ".provisioner"), AGE),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (
        Column("Created At", ".metadata.creationTimestamp"),
    ),
}


def columns_of(gr: GroupResource, custom: tuple[Column, ...]) -> tuple[Column, ...]:
    """All columns of a type, the name first; a custom type brings its own."""
    return (_NAME, *(custom or _COLUMNS.get(gr, (AGE,))))
