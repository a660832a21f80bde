"""Sample deployments of the simulated Neo4j, shaped as the operators that manage the real one make them.

Guarantee: objects that the API server accepts as they are, in an order in which they can be applied; names,
labels, containers and volumes are those of the present cluster layout (one StatefulSet ``<name>-server``), of
the early one (a StatefulSet for each role), or of a standalone.
Non-guarantee: no Neo4j operator runs here, so nothing keeps the custom resource and the pods in step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import yaml

from hack.devcluster.neo4j_sim.protocol import BACKUP_PORT, BOLT_PORT, CLUSTER_PORT, HTTP_PORT, Json
from hack.devcluster.neo4j_sim.topology import PRIMARY, SECONDARY

Layout = Literal["servers", "roles"]
API_VERSION = "neo4j.neo4j.com/v1alpha1"
PASSWORD = "backup-demo-password"
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What to build. ``databases`` are entries of the topology document without their hosts."""

    name: str = "graph"
    namespace: str = "default"
    image: str = "neo4j:5.26.3-enterprise"
    primaries: int = 3
    secondaries: int = 1
    layout: Layout = "servers"
    databases: Sequence[Json] = field(
        default_factory=lambda: [
            {"name": "system"},
            {"name": "neo4j", "storeBytes": 2 * _MB, "txPerSecond": 0.2},
            {"name": "orders", "storeBytes": 24 * _MB, "initialTx": 60, "txPerSecond": 1},
            {"name": "customers", "storeBytes": 8 * _MB, "initialTx": 30, "txPerSecond": 0.5},
        ]
    )
    environment: dict[str, str] = field(default_factory=dict)
    """More variables for the ``neo4j`` container, e.g. NEO4J_SIM_BYTES_PER_SECOND."""
    storage: str = "1Gi"
    """Size of each server's claim; empty for an emptyDir."""
    password: str = PASSWORD

    @property
    def secret(self) -> str:
        return f"{self.name}-auth"

    @property
    def headless(self) -> str:
        return f"{self.name}-headless"

    @property
    def tag(self) -> str:
        return self.image.rpartition(":")[2]

    def sets(self) -> list[tuple[str, int, str]]:
        """(StatefulSet, replicas, mode of its servers)."""
        if self.layout == "servers":
            return [(f"{self.name}-server", self.primaries + self.secondaries, "NONE")]
        roles = [(PRIMARY, self.primaries), (SECONDARY, self.secondaries)]
        return [(f"{self.name}-{role}", count, role.upper()) for role, count in roles if count]


def cluster(sample: Sample) -> list[Json]:
    """Secret, ConfigMap, Service, StatefulSets and the Neo4jEnterpriseCluster."""
    document = cluster_document(sample)
    labels = _cluster_labels(sample)
    objects = [*_common(sample, labels), _headless_service(sample, {"neo4j.com/cluster": sample.name})]
    selector = {"neo4j.com/cluster": sample.name}
    for name, replicas, mode in sample.sets():
        role = {} if mode == "NONE" else {"neo4j.com/role": mode.lower()}
        own = {**selector, **role, "neo4j.com/stateful-set": name}
        objects.append(_stateful_set(sample, name, replicas, (own, {**labels, **own}), document))
    return [*objects, _cluster_resource(sample)]


def standalone(sample: Sample) -> list[Json]:
    """Secret, ConfigMap, Service, StatefulSet ``<name>`` and the Neo4jEnterpriseStandalone."""
    labels = {
        "app": sample.name,
        "app.kubernetes.io/name": "neo4j",
        "app.kubernetes.io/instance": sample.name,
        "app.kubernetes.io/managed-by": "neo4j-operator",
    }
    selector = {"app": sample.name}
    document = _document(sample, [(f"{sample.name}-0", "NONE")], lambda _name: {f"{sample.name}-0": PRIMARY})
    resource = _resource(sample, "Neo4jEnterpriseStandalone", {}, {"version": sample.tag})
    return [
        *_common(sample, labels),
        _headless_service(sample, selector),
        _stateful_set(sample, sample.name, 1, (selector, labels), document),
        resource,
    ]


def database(sample: Sample, name: str) -> Json:
    """A Neo4jDatabase that belongs to the deployment."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Neo4jDatabase",
        "metadata": {"name": f"{sample.name}-{name}", "namespace": sample.namespace},
        "spec": {"name": name, "clusterRef": sample.name},
    }


def to_yaml(objects: Iterable[Json]) -> str:
    return yaml.dump_all(objects, Dumper=_Plain, sort_keys=False)


class _Plain(yaml.SafeDumper):
    """Repeats what is shared: anchors confuse readers and some tools."""

    def ignore_aliases(self, data: object) -> bool:
        return True


# --- the simulated DBMS --------------------------------------------------------------------------


def cluster_document(sample: Sample) -> Json:
    """The NEO4J_SIM_CLUSTER document: every database is led by a different server, secondaries follow."""
    servers = [(f"{name}-{index}", mode) for name, count, mode in sample.sets() for index in range(count)]
    leading = [name for name, _ in servers][: sample.primaries]
    following = [name for name, _ in servers][sample.primaries :]
    names = [str(item["name"]) for item in sample.databases]

    def hosts(database: str) -> dict[str, str]:
        shift = names.index(database) % len(leading)
        ordered = [*leading[shift:], *leading[:shift]]
        # Real servers host system as primaries unless told otherwise.
        rest = PRIMARY if database == "system" and sample.layout == "servers" else SECONDARY
        return dict.fromkeys(ordered, PRIMARY) | dict.fromkeys(following, rest)

    return _document(sample, servers, hosts)


def _document(
    sample: Sample, servers: Sequence[tuple[str, str]], hosts: Callable[[str], dict[str, str]]
) -> Json:
    domain = f"{sample.headless}.{sample.namespace}.svc.cluster.local"
    return {
        "name": f"{sample.namespace}/{sample.name}",
        "servers": [
            {"name": name, "address": f"{name}.{domain}", "modeConstraint": mode} for name, mode in servers
        ],
        "databases": [{**item, "hosts": hosts(item["name"])} for item in sample.databases],
    }


# --- Kubernetes objects --------------------------------------------------------------------------


def _cluster_labels(sample: Sample) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "neo4j",
        "app.kubernetes.io/instance": sample.name,
        "app.kubernetes.io/component": "database",
        "app.kubernetes.io/part-of": "neo4j-cluster",
        "app.kubernetes.io/managed-by": "neo4j-operator",
        "app.kubernetes.io/version": sample.tag,
        "neo4j.com/cluster": sample.name,
        "neo4j.com/clustering": "true",
        "neo4j.com/service-type": "internals",
    }


def _metadata(sample: Sample, name: str, labels: dict[str, str]) -> Json:
    return {"name": name, "namespace": sample.namespace, "labels": labels}


def _common(sample: Sample, labels: dict[str, str]) -> list[Json]:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(sample, sample.secret, labels),
        "stringData": {
            "username": "neo4j",
            "password": sample.password,
            "NEO4J_AUTH": f"neo4j/{sample.password}",
        },
    }
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(sample, f"{sample.name}-config", labels),
        "data": {"neo4j.conf": "server.memory.heap.max_size=512m\nserver.memory.pagecache.size=256M\n"},
    }
    return [secret, config]


def _ports() -> list[Json]:
    ports = {"bolt": BOLT_PORT, "http": HTTP_PORT, "backup": BACKUP_PORT, "cluster": CLUSTER_PORT}
    return [{"name": name, "port": port} for name, port in ports.items()]


def _headless_service(sample: Sample, selector: dict[str, str]) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(sample, sample.headless, selector),
        "spec": {
            "clusterIP": "None",
            # Servers look for each other before they are ready.
            "publishNotReadyAddresses": True,
            "selector": selector,
            "ports": _ports(),
        },
    }


def _environment(sample: Sample, document: Json) -> list[Json]:
    plain = {
        "NEO4J_ACCEPT_LICENSE_AGREEMENT": "eval",
        "NEO4J_SIM_CLUSTER": json.dumps(document, separators=(",", ":")),
        **sample.environment,
    }
    reference = {"secretKeyRef": {"name": sample.secret, "key": "NEO4J_AUTH"}}
    return [
        *({"name": name, "value": value} for name, value in plain.items()),
        {"name": "NEO4J_AUTH", "valueFrom": reference},
    ]


def _container(sample: Sample, document: Json) -> Json:
    return {
        "name": "neo4j",
        "image": sample.image,
        "imagePullPolicy": "IfNotPresent",
        "env": _environment(sample, document),
        "ports": [{"name": port["name"], "containerPort": port["port"]} for port in _ports()],
        "readinessProbe": {"tcpSocket": {"port": BOLT_PORT}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {"name": "logs", "mountPath": "/logs"},
            {"name": "config", "mountPath": "/conf"},
        ],
    }


def _stateful_set(
    sample: Sample,
    name: str,
    replicas: int,
    labels: tuple[dict[str, str], dict[str, str]],
    document: Json,
) -> Json:
    selector, template_labels = labels
    volumes: list[Json] = [
        {"name": "logs", "emptyDir": {}},
        {"name": "config", "configMap": {"name": f"{sample.name}-config"}},
    ]
    spec: Json = {
        "serviceName": sample.headless,
        "replicas": replicas,
        # One at a time would wait for a majority that is not there yet.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {"labels": template_labels},
            "spec": {
                "enableServiceLinks": False,
                "terminationGracePeriodSeconds": 10,
                "securityContext": {"runAsUser": 7474, "runAsGroup": 7474, "fsGroup": 7474},
                "containers": [_container(sample, document)],
                "volumes": volumes if sample.storage else [*volumes, {"name": "data", "emptyDir": {}}],
            },
        },
    }
    if sample.storage:
        spec["volumeClaimTemplates"] = [_claim(sample.storage)]
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": _metadata(sample, name, template_labels),
        "spec": spec,
    }


def _claim(size: str) -> Json:
    return {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}},
    }


def _cluster_resource(sample: Sample) -> Json:
    servers = sample.primaries + sample.secondaries
    if sample.layout == "servers":
        return _resource(
            sample,
            "Neo4jEnterpriseCluster",
            {"topology": {"servers": servers}},
            {"version": sample.tag, "replicas": {"servers": servers, "ready": servers}},
        )
    topology = {"primaries": sample.primaries, "secondaries": sample.secondaries}
    return _resource(
        sample, "Neo4jEnterpriseCluster", {"topology": topology}, {"replicas": {**topology, "ready": servers}}
    )


def _resource(sample: Sample, kind: str, spec: Json, status: Json) -> Json:
    repository, _, tag = sample.image.rpartition(":")
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": sample.name, "namespace": sample.namespace},
        "spec": {
            "image": {"repo": repository, "tag": tag},
            "auth": {"adminSecret": sample.secret},
            "acceptLicenseAgreement": "eval",
            "storage": {"size": sample.storage or "1Gi"},
            **spec,
        },
        "status": {"phase": "Ready", "ready": True, **status},
    }
