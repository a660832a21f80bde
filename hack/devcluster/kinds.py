"""The types that the API server serves: the built-in ones here, custom ones from their definitions.

Guarantee: a type is one value that holds everything that differs between types, so that the registry,
discovery, OpenAPI and tables have no lists of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hack.devcluster.models import reference
from hack.devcluster.objects import GroupResource, Obj

COMMON_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``; ``path`` is a JSONPath, or a function where the server computes."""

    name: str
    path: str | Callable[[Obj], object]
    type: str = "string"
    priority: int = 0
    description: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    name: str
    schema: Obj
    columns: tuple[Column, ...] = ()
    served: bool = True
    subresources: frozenset[str] = frozenset()
    scale: Obj = field(default_factory=dict)
    """JSONPaths of a scale subresource."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource type, in all its versions; objects are stored in the first one."""

    group: str
    plural: str
    kind: str
    versions: tuple[Version, ...]
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    selectable: frozenset[str] = COMMON_FIELDS
    has_generation: bool = False
    is_custom: bool = False

    @property
    def gr(self) -> GroupResource:
        return self.group, self.plural

    @property
    def storage(self) -> Version:
        return self.versions[0]

    def api_version(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    def version(self, name: str) -> Version | None:
        return next((each for each in self.versions if each.name == name and each.served), None)


def _kind(
    gr: str,
    kind: str,
    *names: str,
    status: bool = False,
    versions: tuple[tuple[str, str], ...] = (),
    **rest: object,
) -> Kind:
    plural, _, group = gr.partition(".")
    subresources = frozenset({"status"} if status else ()) | _EXTRA_SUBRESOURCES.get(gr, frozenset())
    served = tuple(
        Version(
            version,
            reference(model),
            subresources=subresources,
            scale=_SCALE if "scale" in subresources else {},
        )
        for version, model in (versions or (("v1", f"V1{kind}"),))
    )
    selectable = COMMON_FIELDS | _SELECTABLE.get(gr, frozenset())
    values: Obj = {"singular": kind.lower(), "short_names": names, "selectable": selectable, **rest}
    return Kind(group, plural, kind, served, **values)


_SCALE: Obj = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}

_EXTRA_SUBRESOURCES: dict[str, frozenset[str]] = {
    "pods": frozenset({"log", "exec", "binding", "eviction"}),
    "namespaces": frozenset({"finalize"}),
    "serviceaccounts": frozenset({"token"}),
    "statefulsets.apps": frozenset({"scale"}),
    "deployments.apps": frozenset({"scale"}),
    "replicasets.apps": frozenset({"scale"}),
}

_SELECTABLE: dict[str, frozenset[str]] = {
    "pods": frozenset(
        {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"}
    ),
    "events": frozenset(
        {f"involvedObject.{name}" for name in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")}
        | {"involvedObject.resourceVersion", "reason", "type", "source", "reportingComponent"}
    ),
    "namespaces": frozenset({"status.phase"}),
    "secrets": frozenset({"type"}),
    "jobs.batch": frozenset({"status.successful"}),
    "nodes": frozenset({"spec.unschedulable"}),
}

_APPS: Obj = {"status": True, "categories": ("all",), "has_generation": True}
_RBAC = "rbac.authorization.k8s.io"

BUILT_IN: tuple[Kind, ...] = (
    _kind("namespaces", "Namespace", "ns", status=True, namespaced=False),
    _kind("nodes", "Node", "no", status=True, namespaced=False),
    _kind("pods", "Pod", "po", status=True, categories=("all",)),
    _kind("services", "Service", "svc", status=True, categories=("all",)),
    _kind("endpoints", "Endpoints", "ep"),
    _kind("configmaps", "ConfigMap", "cm"),
    _kind("secrets", "Secret"),
    _kind("serviceaccounts", "ServiceAccount", "sa"),
    _kind("events", "Event", "ev", versions=(("v1", "CoreV1Event"),)),
    _kind("events.events.k8s.io", "Event", "ev", versions=(("v1", "EventsV1Event"),)),
    _kind("persistentvolumeclaims", "PersistentVolumeClaim", "pvc", status=True),
    _kind("persistentvolumes", "PersistentVolume", "pv", status=True, namespaced=False),
    _kind("statefulsets.apps", "StatefulSet", "sts", **_APPS),
    _kind("deployments.apps", "Deployment", "deploy", **_APPS),
    _kind("replicasets.apps", "ReplicaSet", "rs", **_APPS),
    _kind("controllerrevisions.apps", "ControllerRevision"),
    _kind("jobs.batch", "Job", status=True, categories=("all",), has_generation=True),
    _kind("cronjobs.batch", "CronJob", "cj", status=True, categories=("all",), has_generation=True),
    _kind("leases.coordination.k8s.io", "Lease"),
    _kind(f"roles.{_RBAC}", "Role"),
    _kind(f"rolebindings.{_RBAC}", "RoleBinding"),
    _kind(f"clusterroles.{_RBAC}", "ClusterRole", namespaced=False),
    _kind(f"clusterrolebindings.{_RBAC}", "ClusterRoleBinding", namespaced=False),
    _kind("poddisruptionbudgets.policy", "PodDisruptionBudget", "pdb", status=True, has_generation=True),
    _kind("networkpolicies.networking.k8s.io", "NetworkPolicy", "netpol", has_generation=True),
    _kind("storageclasses.storage.k8s.io", "StorageClass", "sc", namespaced=False),
    _kind("priorityclasses.scheduling.k8s.io", "PriorityClass", "pc", namespaced=False, has_generation=True),
    _kind(
        "customresourcedefinitions.apiextensions.k8s.io",
        "CustomResourceDefinition",
        *("crd", "crds"),
        status=True,
        namespaced=False,
        categories=("api-extensions",),
        has_generation=True,
    ),
)

REVIEWS: dict[GroupResource, str] = {
    ("authorization.k8s.io", "selfsubjectaccessreviews"): "SelfSubjectAccessReview",
    ("authorization.k8s.io", "selfsubjectrulesreviews"): "SelfSubjectRulesReview",
    ("authorization.k8s.io", "subjectaccessreviews"): "SubjectAccessReview",
    ("authentication.k8s.io", "selfsubjectreviews"): "SelfSubjectReview",
    ("authentication.k8s.io", "tokenreviews"): "TokenReview",
}
"""Resources that can only be created, and of which nothing is kept: each is a question."""


class Kinds:
    """The types served now, by group and plural name."""

    def __init__(self) -> None:
        self._kinds: dict[GroupResource, Kind] = {kind.gr: kind for kind in BUILT_IN}

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._kinds.values()))

    def get(self, gr: GroupResource) -> Kind | None:
        return self._kinds.get(gr)

    def add(self, kind: Kind) -> None:
        self._kinds[kind.gr] = kind

    def remove(self, gr: GroupResource) -> None:
        self._kinds.pop(gr, None)

    def groups(self) -> dict[str, list[str]]:
        """The served versions of each group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for kind in self:
            versions = found.setdefault(kind.group, [])
            versions += [each.name for each in kind.versions if each.served and each.name not in versions]
        for group, _ in REVIEWS:
            found.setdefault(group, ["v1"])
        return found

    def of(self, group: str, version: str) -> list[Kind]:
        return [kind for kind in self if kind.group == group and kind.version(version)]
