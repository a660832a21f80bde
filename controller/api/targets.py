"""Read models of the kinds that name what to back up: clusters, standalones, databases.

They belong to whoever operates Neo4j; this operator only reads them. Guarantee: two layouts of the
cluster are understood, the early one (``topology.primaries`` and ``.secondaries``, a StatefulSet for
each role) and the present one (``topology.servers``, one StatefulSet ``<name>-server``, roles per
database). Reading is lenient: a field of an unexpected type counts as absent and never stops a list.

Non-guarantee: names of StatefulSets are what those operators use today; owner references and labels on
the StatefulSets themselves are better evidence where they exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec
from msgspec import Raw

from controller.api.model import JsonObject
from controller.api.objects import Object, detach

CLUSTER_LABEL = "neo4j.com/cluster"
INSTANCE_LABEL = "app.kubernetes.io/instance"
HELM_NAME_LABEL = "helm.neo4j.com/neo4j.name"
DEFAULT_ADMIN_SECRET = "neo4j-admin-secret"  # noqa: S105 - the name of a Secret, not its content

RoleHint = Literal["primary", "secondary", "unknown"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind is called in the API."""

    kind: str
    plural: str


CLUSTER = Kind("Neo4jEnterpriseCluster", "neo4jenterpriseclusters")
STANDALONE = Kind("Neo4jEnterpriseStandalone", "neo4jenterprisestandalones")
DATABASE = Kind("Neo4jDatabase", "neo4jdatabases")
KINDS = (CLUSTER, STANDALONE, DATABASE)


class Foreign(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """An object of a kind that is not ours: two texts, read when they are needed."""

    spec: Raw = Raw(b"{}")
    status: Raw = Raw(b"{}")

    def __post_init__(self) -> None:
        detach(self, "spec", "status")


class Neo4jEnterpriseCluster(Foreign, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A cluster."""


class Neo4jEnterpriseStandalone(Foreign, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A single server."""


class Neo4jDatabase(Foreign, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A database of a deployment."""


@dataclass(frozen=True, slots=True)
class NamedSet:
    """A StatefulSet that a deployment is expected to have."""

    name: str
    replicas: int
    role_hint: RoleHint


@dataclass(frozen=True, slots=True)
class Deployment:
    """A cluster or standalone, as far as backing it up is concerned."""

    kind: str
    namespace: str
    name: str
    uid: str
    stateful_sets: tuple[NamedSet, ...]
    image: str = ""
    admin_secret: str = DEFAULT_ADMIN_SECRET
    phase: str = ""
    version: str = ""
    """As the status says; empty when it does not."""


@dataclass(frozen=True, slots=True)
class Database:
    """A database: its name inside Neo4j and the deployment that hosts it."""

    namespace: str
    name: str
    uid: str
    database: str
    cluster_ref: str


def read_cluster(cluster: Neo4jEnterpriseCluster) -> Deployment:
    """A cluster of either layout."""
    return _deployment(
        CLUSTER, cluster, _cluster_sets(cluster.name, _object(_decoded(cluster.spec), "topology"))
    )


def read_standalone(standalone: Neo4jEnterpriseStandalone) -> Deployment:
    """A standalone: one StatefulSet of the same name."""
    return _deployment(STANDALONE, standalone, (NamedSet(standalone.name, 1, "primary"),))


def read_database(database: Neo4jDatabase) -> Database:
    """A database; without ``spec.name`` the resource's own name is the database's."""
    spec = _decoded(database.spec)
    return Database(
        namespace=database.namespace,
        name=database.name,
        uid=database.uid,
        database=_text(spec, "name") or database.name,
        cluster_ref=_text(spec, "clusterRef"),
    )


def _cluster_sets(name: str, topology: JsonObject) -> tuple[NamedSet, ...]:
    servers = _number(topology, "servers")
    if servers:
        return (NamedSet(f"{name}-server", servers, "unknown"),)
    primaries, secondaries = _number(topology, "primaries"), _number(topology, "secondaries")
    early = (
        NamedSet(f"{name}-primary", primaries, "primary"),
        NamedSet(f"{name}-secondary", secondaries, "secondary"),
    )
    return tuple(item for item in early if item.replicas)


def _deployment(kind: Kind, resource: Foreign, sets: tuple[NamedSet, ...]) -> Deployment:
    spec, status = _decoded(resource.spec), _decoded(resource.status)
    image = _object(spec, "image")
    repo, tag = _text(image, "repo"), _text(image, "tag")
    return Deployment(
        kind=kind.kind,
        namespace=resource.namespace,
        name=resource.name,
        uid=resource.uid,
        stateful_sets=sets,
        image=f"{repo}:{tag}" if repo and tag else repo,
        admin_secret=_text(_object(spec, "auth"), "adminSecret") or DEFAULT_ADMIN_SECRET,
        phase=_text(status, "phase"),
        version=_text(status, "version"),
    )


def _decoded(raw: Raw) -> JsonObject:
    value = msgspec.json.decode(raw)
    return value if isinstance(value, dict) else {}


def _object(parent: JsonObject, key: str) -> JsonObject:
    return _typed(parent.get(key), dict, {})


def _text(parent: JsonObject, key: str) -> str:
    return _typed(parent.get(key), str, "")


def _number(parent: JsonObject, key: str) -> int:
    value = parent.get(key)
    return 0 if isinstance(value, bool) else _typed(value, int, 0)


def _typed(value: object, wanted: type[T], otherwise: T) -> T:
    return value if isinstance(value, wanted) else otherwise
