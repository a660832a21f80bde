"""Which StatefulSets and which databases a backup is about.

Guarantee: never guessed. What is missing is waited for, what is ambiguous is listed, and a target in
another namespace is used only with its own consent. A kind that is not installed is simply empty.

Non-guarantee: whether the database exists inside Neo4j is known to the runner only, which asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from controller.api.backup import ALLOW_FROM_ANNOTATION, BackupTarget
from controller.api.objects import StatefulSet
from controller.api.targets import (
    CLUSTER,
    CLUSTER_LABEL,
    HELM_NAME_LABEL,
    STANDALONE,
    Database,
    Deployment,
    RoleHint,
)
from controller.plan.observed import DeploymentSeen, Observed, Unknown
from controller.plan.text import listed
from controller.wire.locations import NEO4J_CONTAINER

HELM = "Helm release"


@dataclass(frozen=True, slots=True)
class Target:
    """The deployment that was found, and which of its databases are wanted."""

    kind: str
    namespace: str
    name: str
    stateful_sets: tuple[StatefulSet, ...]
    """By name; never empty, and none has zero replicas."""
    databases: tuple[str, ...] = ()
    """Empty means all of them."""
    allow_from: str = ""
    roles: Mapping[str, RoleHint] = field(default_factory=dict)
    """By StatefulSet, in the layouts where all servers of one have the same role."""

    @property
    def key(self) -> str:
        """What runs on the same servers are recognised by."""
        return f"{self.namespace}/{self.name}"

    @property
    def pod_names(self) -> tuple[str, ...]:
        """Every pod that the StatefulSets want, there or not, as StatefulSets name them."""
        return tuple(f"{item.name}-{index}" for item in self.stateful_sets for index in range(item.replicas))


@dataclass(frozen=True, slots=True)
class Missing:
    """Not found, or not unambiguous: what is waited for, or what to write."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class _World:
    namespace: str
    deployments: tuple[DeploymentSeen, ...]
    databases: tuple[Database, ...]
    stateful_sets: tuple[StatefulSet, ...]


def resolve(observed: Observed, target: BackupTarget) -> Target | Missing | Unknown:
    """The target as it is now."""
    deployments, databases, stateful_sets = (
        observed.deployments,
        observed.databases,
        observed.stateful_sets,
    )
    if isinstance(deployments, Unknown):
        return deployments
    if isinstance(databases, Unknown):
        return databases
    if isinstance(stateful_sets, Unknown):
        return stateful_sets
    namespace = observed.target_namespace
    world = _World(
        namespace,
        tuple(item for item in deployments if item.deployment.namespace == namespace),
        tuple(item for item in databases if item.namespace == namespace),
        tuple(item for item in stateful_sets if item.namespace == namespace and _has_neo4j(item)),
    )
    return _cluster(world, target.name) if target.kind == "Cluster" else _database(world, target)


def _cluster(world: _World, name: str, databases: tuple[str, ...] = ()) -> Target | Missing:
    for kind in (CLUSTER.kind, STANDALONE.kind):
        for seen in world.deployments:
            if (seen.deployment.kind, seen.deployment.name) == (kind, name):
                return _of_deployment(world, seen, databases)
    release = tuple(item for item in world.stateful_sets if item.labels.get(HELM_NAME_LABEL) == name)
    if release:
        found = Target(HELM, world.namespace, name, release, databases, _consent_of(release))
        return _with_servers(found)
    kinds = f"a {CLUSTER.kind}, a {STANDALONE.kind} or a Helm release of Neo4j"
    return Missing("TargetNotFound", f"waiting for {kinds} named {name} in namespace {world.namespace}")


def _of_deployment(world: _World, seen: DeploymentSeen, databases: tuple[str, ...]) -> Target | Missing:
    found = seen.deployment
    own = tuple(item for item in world.stateful_sets if _belongs(item, found))
    if not own:
        return Missing("NoStatefulSet", f"waiting for the StatefulSet of {found.kind} {found.name}")
    allow_from = seen.allow_from or _consent_of(own)
    roles = tuple((item.name, item.role_hint) for item in found.stateful_sets)
    return _with_servers(
        Target(found.kind, world.namespace, found.name, own, databases, allow_from, dict(roles))
    )


def _with_servers(found: Target) -> Target | Missing:
    running = sorted((item for item in found.stateful_sets if item.replicas > 0), key=lambda item: item.name)
    if running:
        return replace(found, stateful_sets=tuple(running))
    names = listed(sorted(item.name for item in found.stateful_sets))
    message = f"waiting for servers: {found.kind} {found.name} is scaled to zero ({names})"
    return Missing("NoReplicas", message)


def _database(world: _World, target: BackupTarget) -> Target | Missing:
    resource = _database_resource(world, target)
    if resource is not None:
        return _cluster(world, resource.cluster_ref, (resource.database,))
    if target.cluster_ref is not None:
        return _cluster(world, target.cluster_ref, (target.name,))
    candidates = _candidates(world)
    if len(candidates) == 1:
        return _cluster(world, candidates[0], (target.name,))
    where = f"in namespace {world.namespace}"
    if not candidates:
        return Missing(
            "TargetNotFound",
            f"waiting for a Neo4jDatabase named {target.name}, or for a deployment of Neo4j, {where}",
        )
    return Missing(
        "TargetAmbiguous",
        f"no Neo4jDatabase is named {target.name}, and several deployments could host it: "
        f"{listed(candidates)}; write one of them in spec.target.clusterRef",
    )


def _database_resource(world: _World, target: BackupTarget) -> Database | None:
    wanted = target.cluster_ref
    return next(
        (item for item in world.databases if item.name == target.name and wanted in (None, item.cluster_ref)),
        None,
    )


def _candidates(world: _World) -> list[str]:
    found = [seen.deployment for seen in world.deployments]
    releases = {
        item.labels[HELM_NAME_LABEL]
        for item in world.stateful_sets
        if HELM_NAME_LABEL in item.labels and not any(_belongs(item, deployment) for deployment in found)
    }
    return sorted({deployment.name for deployment in found} | releases)


def _belongs(item: StatefulSet, found: Deployment) -> bool:
    controller = item.controller
    if controller is not None and controller.kind in (CLUSTER.kind, STANDALONE.kind):
        return controller.uid == found.uid
    if HELM_NAME_LABEL in item.labels:
        return False
    names = {expected.name for expected in found.stateful_sets}
    return item.name in names or (found.kind == CLUSTER.kind and item.labels.get(CLUSTER_LABEL) == found.name)


def _has_neo4j(item: StatefulSet) -> bool:
    return any(container.name == NEO4J_CONTAINER for container in item.spec.template.spec.containers)


def _consent_of(own: Iterable[StatefulSet]) -> str:
    said = sorted({item.annotations.get(ALLOW_FROM_ANNOTATION, "") for item in own})
    # Every StatefulSet must say the same: consent of one server is not consent of the others.
    return said[0] if len(said) == 1 else ""


def refusal(target: Target, namespace: str) -> str:
    """Why a backup in ``namespace`` may not touch ``target``; empty when it may."""
    if target.namespace == namespace:
        return ""
    allowed = {part.strip() for part in target.allow_from.split(",")}
    if namespace in allowed or "*" in allowed:
        return ""
    return (
        f"{target.kind} {target.name} in namespace {target.namespace} does not allow backups from namespace "
        f"{namespace}: annotate it with {ALLOW_FROM_ANNOTATION}={namespace}"
    )
