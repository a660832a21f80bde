"""The backup sidecar: what is applied to the StatefulSets of a target, and whether it must be.

Guarantee: one server-side apply that names nothing but our own container, init container, volumes and
one annotation, so that everything else of the StatefulSet keeps its owner. A patch is needed only when
what we intend differs from what we applied last (a hash in the pod template) or when somebody took it
out; the live object, filled with defaults, is never compared.

Non-guarantee: the API server appends what is applied, so the container is at index 1 where ``neo4j`` is
the only other one, and last elsewhere. Naming the others to enforce an order would make us co-owner of
them, and their removal by whoever applies them would fail.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec import Raw, UnsetType

from controller.api.model import JsonObject
from controller.api.objects import Container, StatefulSet
from controller.resources.hashing import content_hash
from controller.resources.labels import SIDECAR_HASH
from controller.wire import locations

FIELD_MANAGER = "neo4j-backup-operator"

BUNDLE_VOLUME = "backup-agent"
REQUESTS_VOLUME = "backup-requests"
TMP_VOLUME = "backup-tmp"
VOLUMES = (BUNDLE_VOLUME, REQUESTS_VOLUME, TMP_VOLUME)

NEO4J_UID = 7474
CONF_DIR = "/var/lib/neo4j/conf"
OTHER_DATA_DIR = "/var/lib/neo4j/data"
"""The image links it to /data; some mount the volume here."""
CONFIGURATION_DIRS = (CONF_DIR, "/conf", "/config", "/ssl", "/var/lib/neo4j/certificates")

DEFAULT_ENV = {
    "BACKUP_RETENTION_DAYS": "7",
    "BACKUP_RETENTION_COUNT": "10",
    "NEO4J_CONF": CONF_DIR,
    "NEO4J_HOME": "/var/lib/neo4j",
}
"""The variables of the reference; what the neo4j container says itself wins, because its
configuration really is where it says."""
HARMFUL_ENV = frozenset({"LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"})
"""Would pull libraries of the image into the agent's own interpreter, which has another libc."""

RESOURCES: JsonObject = {
    "requests": {"cpu": "200m", "memory": "512Mi"},
    "limits": {"cpu": "500m", "memory": "1Gi"},
}
INSTALL_RESOURCES: JsonObject = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"cpu": "500m", "memory": "256Mi"},
}


class SidecarImpossibleError(ValueError):
    """The StatefulSet has nothing that a sidecar could back up; the message says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentImage:
    """The operator's image, which carries the agent."""

    image: str
    pull_policy: str = "IfNotPresent"


def build_patch(statefulset: StatefulSet, agent: AgentImage) -> JsonObject:
    """The body of the server-side apply; raises SidecarImpossibleError."""
    template = _template(statefulset, agent)
    annotation = {SIDECAR_HASH: content_hash(template)}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": statefulset.name, "namespace": statefulset.namespace},
        "spec": {"template": {"metadata": {"annotations": annotation}, "spec": template}},
    }


def intended_hash(patch: JsonObject) -> str:
    """What the pods wear once ``patch`` has been rolled out."""
    value: str = patch["spec"]["template"]["metadata"]["annotations"][SIDECAR_HASH]
    return value


def needs_patch(statefulset: StatefulSet, patch: JsonObject) -> tuple[bool, str]:
    """Whether ``patch`` must be applied, and where the StatefulSet differs from it."""
    missing = missing_parts(statefulset)
    applied = (statefulset.spec.template.metadata.annotations or {}).get(SIDECAR_HASH)
    if missing:
        verb = "was removed" if applied else "is not there yet"
        return True, f"{missing[0]} {verb}"
    if applied is None:
        return True, f"annotation {SIDECAR_HASH} was removed"
    if applied != intended_hash(patch):
        return True, "the sidecar of this operator version or of the neo4j container's settings differs"
    return False, ""


def missing_parts(statefulset: StatefulSet) -> tuple[str, ...]:
    """Which of our parts the pod template lacks."""
    spec = statefulset.spec.template.spec
    containers = {item.name for item in spec.containers}
    inits = {item.name for item in spec.init_containers or ()}
    volumes = {item.name for item in spec.volumes or ()}
    parts = [f"container {locations.SIDECAR_CONTAINER}"] * (locations.SIDECAR_CONTAINER not in containers)
    parts += [f"init container {locations.AGENT_INIT_CONTAINER}"] * (
        locations.AGENT_INIT_CONTAINER not in inits
    )
    return (*parts, *(f"volume {name}" for name in VOLUMES if name not in volumes))


def removal_patch(statefulset: StatefulSet) -> JsonObject:
    """The apply that takes out what we applied: nothing is intended any more."""
    meta = {"name": statefulset.name, "namespace": statefulset.namespace}
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": meta}


def _template(statefulset: StatefulSet, agent: AgentImage) -> JsonObject:
    neo4j = _neo4j_container(statefulset)
    security = _security_context(statefulset, neo4j)
    return {
        "initContainers": [_install_container(agent, security)],
        "containers": [_sidecar_container(neo4j, security)],
        "volumes": [{"name": name, "emptyDir": {}} for name in VOLUMES],
    }


def _neo4j_container(statefulset: StatefulSet) -> Container:
    containers = statefulset.spec.template.spec.containers
    found = next((item for item in containers if item.name == locations.NEO4J_CONTAINER), None)
    if found is None:
        names = ", ".join(item.name for item in containers)
        raise SidecarImpossibleError(
            f"StatefulSet {statefulset.name} has no container {locations.NEO4J_CONTAINER}, but {names}"
        )
    return found


def _install_container(agent: AgentImage, security: JsonObject) -> JsonObject:
    return {
        "name": locations.AGENT_INIT_CONTAINER,
        "image": agent.image,
        "imagePullPolicy": agent.pull_policy,
        "args": ["agent", "install"],
        "resources": INSTALL_RESOURCES,
        "securityContext": security | {"readOnlyRootFilesystem": True},
        "volumeMounts": [{"name": BUNDLE_VOLUME, "mountPath": locations.AGENT_BUNDLE}],
    }


def _sidecar_container(neo4j: Container, security: JsonObject) -> JsonObject:
    container: JsonObject = {
        "name": locations.SIDECAR_CONTAINER,
        "image": neo4j.image,
        "command": locations.agent_command("run"),
        "env": _environment(neo4j),
        "resources": RESOURCES,
        "securityContext": security,
        "volumeMounts": _mounts(neo4j),
    }
    if neo4j.image_pull_policy:
        container["imagePullPolicy"] = neo4j.image_pull_policy
    env_from = _entries(neo4j.env_from)
    if env_from:
        container["envFrom"] = env_from
    return container


def _environment(neo4j: Container) -> list[JsonObject]:
    # By name, the last of duplicates: server-side apply refuses a list with a key twice.
    inherited = {entry["name"]: entry for entry in _entries(neo4j.env) if entry["name"] not in HARMFUL_ENV}
    defaults = {name: {"name": name, "value": value} for name, value in DEFAULT_ENV.items()}
    pod_ip = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}
    ours: dict[str, JsonObject] = {
        "TZ": {"name": "TZ", "value": "UTC"},
        locations.ENV_POD_IP: {"name": locations.ENV_POD_IP, "valueFrom": pod_ip},
    }
    rest = {name: entry for name, entry in defaults.items() if name not in inherited}
    return [*(inherited | rest | ours).values()]


def _mounts(neo4j: Container) -> list[JsonObject]:
    mounts = {entry["mountPath"].rstrip("/"): entry for entry in _entries(neo4j.volume_mounts)}
    data = {path: entry for path, entry in mounts.items() if _is_below(path, locations.DATA_DIR)}
    if locations.DATA_DIR not in data:
        if OTHER_DATA_DIR not in mounts:
            raise SidecarImpossibleError(f"container {neo4j.name} mounts no volume at {locations.DATA_DIR}")
        data[locations.DATA_DIR] = mounts[OTHER_DATA_DIR] | {"mountPath": locations.DATA_DIR}
    directories = (*CONFIGURATION_DIRS, _conf_dir(neo4j))
    configuration = [
        entry | {"readOnly": True}
        for path, entry in mounts.items()
        if path not in data and any(_is_below(path, directory) for directory in directories)
    ]
    return [
        *data.values(),
        *configuration,
        {"name": REQUESTS_VOLUME, "mountPath": locations.REQUESTS_DIR},
        {"name": BUNDLE_VOLUME, "mountPath": locations.AGENT_BUNDLE, "readOnly": True},
        {"name": TMP_VOLUME, "mountPath": "/tmp"},  # noqa: S108 - the pod's own emptyDir
    ]


def _conf_dir(neo4j: Container) -> str:
    values = (entry.get("value", "") for entry in _entries(neo4j.env) if entry["name"] == "NEO4J_CONF")
    return next((value.rstrip("/") for value in values if value), CONF_DIR)


def _is_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def _security_context(statefulset: StatefulSet, neo4j: Container) -> JsonObject:
    """The neo4j container's own, without any privilege.

    Where nobody names a user, the image's entrypoint starts as root and becomes 7474; our command
    bypasses it, and what root wrote under /data Neo4j could not read.
    """
    pod = _object(statefulset.spec.template.spec.security_context)
    own = {key: value for key, value in _object(neo4j.security_context).items() if key != "privileged"}
    effective = pod | own
    if "runAsUser" not in effective:
        own |= {"runAsUser": NEO4J_UID, "runAsGroup": effective.get("runAsGroup", NEO4J_UID)}
    if (pod | own)["runAsUser"] != 0:
        own["runAsNonRoot"] = True
    if "seccompProfile" not in effective:
        own["seccompProfile"] = {"type": "RuntimeDefault"}
    return own | {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _entries(raw: Raw | UnsetType) -> list[JsonObject]:
    return [] if isinstance(raw, UnsetType) else msgspec.json.decode(raw, type=list[JsonObject] | None) or []


def _object(raw: Raw | UnsetType) -> JsonObject:
    return {} if isinstance(raw, UnsetType) else msgspec.json.decode(raw, type=JsonObject | None) or {}
