"""Role-based access control: who may do what, and that nobody hands out more than they hold.

Guarantee: rules mean what they mean in a real cluster: API groups, resources with subresources, names,
wildcards, bindings in a namespace to cluster roles; a role may be written only by who holds all of its
rules (or ``escalate``), a binding only by who holds the role's rules (or ``bind``).
Non-guarantee: aggregated cluster roles are not computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from hack.devcluster.errors import ApiStatus, forbidden
from hack.devcluster.identity import User
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry

GROUP = "rbac.authorization.k8s.io"
ROLES, BINDINGS = (GROUP, "roles"), (GROUP, "rolebindings")
CLUSTER_ROLES, CLUSTER_BINDINGS = (GROUP, "clusterroles"), (GROUP, "clusterrolebindings")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that somebody wants to do; ``path`` is set when it is not about a resource."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    @property
    def gr(self) -> GroupResource:
        return self.group, self.resource


def allows(rule: Obj, action: Action) -> bool:
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and action.verb not in verbs:
        return False
    if action.path:
        return any(_path_matches(url, action.path) for url in rule.get("nonResourceURLs") or ())
    groups, names = rule.get("apiGroups") or (), rule.get("resourceNames") or ()
    return (
        ("*" in groups or action.group in groups)
        and _covers_resource(rule.get("resources") or (), action)
        and (not names or action.name in names)
    )


def _covers_resource(resources: Any, action: Action) -> bool:
    wanted = {"*", action.full_resource} | ({f"*/{action.subresource}"} if action.subresource else set())
    return not wanted.isdisjoint(resources)


def _path_matches(url: str, path: str) -> bool:
    return url == path or (url.endswith("*") and path.startswith(url[:-1]))


class Authorizer:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        for role, binding in _BOOTSTRAP:
            registry.create(CLUSTER_ROLES, role)
            registry.create(CLUSTER_BINDINGS, binding)

    def permits(self, user: User, action: Action) -> bool:
        return user.is_master or any(allows(rule, action) for rule in self.rules(user, action.namespace))

    def require(self, user: User, action: Action) -> None:
        """Raises ApiStatus(403)."""
        if self.permits(user, action):
            return
        if action.path:
            raise ApiStatus(
                403, "Forbidden", f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"'
            )
        where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
        what = f'cannot {action.verb} resource "{action.full_resource}" in API group "{action.group}"'
        raise forbidden(action.gr, action.name, f'User "{user.name}" {what} {where}')

    def rules(self, user: User, namespace: str) -> Iterator[Obj]:
        """The rules that hold for ``user`` in ``namespace``, or in the whole cluster when it is empty."""
        for binding in self._registry.list(CLUSTER_BINDINGS)[0]:
            if _binds(binding, user):
                yield from self._rules_of("", binding["roleRef"])
        for binding in self._registry.list(BINDINGS, namespace)[0] if namespace else ():
            if _binds(binding, user):
                yield from self._rules_of(namespace, binding["roleRef"])

    def _rules_of(self, namespace: str, reference: Obj) -> list[Obj]:
        gr = ROLES if reference["kind"] == "Role" else CLUSTER_ROLES
        role = self._registry.find(gr, namespace if gr == ROLES else "", reference["name"])
        return list(role.get("rules") or ()) if role else []

    def check_escalation(self, user: User, gr: GroupResource, obj: Obj) -> None:
        """Raises ApiStatus(403) when ``obj`` is a role or a binding that gives more than ``user`` has."""
        if user.is_master or gr[0] != GROUP:
            return
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"].get("name", "")
        if gr in (ROLES, CLUSTER_ROLES):
            over = Action("escalate", *gr, namespace=namespace, name=name)
            granted: list[Obj] = obj.get("rules") or []
        else:
            reference = obj.get("roleRef") or {}
            plural = "roles" if reference.get("kind") == "Role" else "clusterroles"
            granted = self._rules_of(namespace, reference)
            over = Action("bind", GROUP, plural, namespace=namespace, name=reference.get("name", ""))
        if self.permits(user, over):
            return
        held = list(self.rules(user, namespace))
        missing = [_told(action) for rule in granted for action in _atoms(rule) if not _held(held, action)]
        if missing:
            who = f'user "{user.name}" (groups={list(user.groups)})'
            why = f"{who} is attempting to grant RBAC permissions not currently held:\n"
            raise forbidden(gr, name, why + "\n".join(missing))


def _binds(binding: Obj, user: User) -> bool:
    for subject in binding.get("subjects") or ():
        match subject.get("kind"):
            case "User" if subject["name"] == user.name:
                return True
            case "Group" if subject["name"] in user.groups:
                return True
            case "ServiceAccount":
                namespace = subject.get("namespace") or binding["metadata"].get("namespace", "")
                if user.name == f"system:serviceaccount:{namespace}:{subject['name']}":
                    return True
    return False


def _atoms(rule: Obj) -> Iterator[Action]:
    """The rule as single permissions; a wildcard stands for itself and only a wildcard covers it."""
    for verb, path in product(rule.get("verbs") or (), rule.get("nonResourceURLs") or ()):
        yield Action(verb, path=path)
    names = rule.get("resourceNames") or ("",)
    parts = product(rule.get("verbs") or (), rule.get("apiGroups") or (), rule.get("resources") or (), names)
    for verb, group, resource, name in parts:
        plural, _, subresource = resource.partition("/")
        yield Action(verb, group, plural, subresource, name=name)


def _held(rules: list[Obj], action: Action) -> bool:
    return any(allows(rule, action) for rule in rules)


def _told(action: Action) -> str:
    named = f', ResourceNames:["{action.name}"]' if action.name else ""
    about = f'APIGroups:["{action.group}"], Resources:["{action.full_resource}"]{named}'
    return (
        "{"
        + (about if not action.path else f'NonResourceURLs:["{action.path}"]')
        + f', Verbs:["{action.verb}"]}}'
    )


def _cluster_role(name: str, *rules: Obj) -> Obj:
    return {"metadata": {"name": name}, "rules": list(rules)}


def _to_group(name: str, group: str) -> Obj:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": name},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group}],
    }


_EVERYTHING: tuple[Obj, ...] = (
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"nonResourceURLs": ["*"], "verbs": ["*"]},
)
_REVIEWS: Obj = {
    "apiGroups": ["authorization.k8s.io", "authentication.k8s.io"],
    "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"],
    "verbs": ["create"],
}
_DISCOVERY: Obj = {
    "nonResourceURLs": [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/openapi",
        "/openapi/*",
        "/version",
        "/version/",
    ],
    "verbs": ["get"],
}
_PUBLIC: Obj = {
    "nonResourceURLs": ["/healthz", "/livez", "/readyz", "/version", "/version/"],
    "verbs": ["get"],
}
_BOOTSTRAP: tuple[tuple[Obj, Obj], ...] = (
    (_cluster_role("cluster-admin", *_EVERYTHING), _to_group("cluster-admin", "system:masters")),
    (_cluster_role("system:basic-user", _REVIEWS), _to_group("system:basic-user", "system:authenticated")),
    (_cluster_role("system:discovery", _DISCOVERY), _to_group("system:discovery", "system:authenticated")),
    (
        _cluster_role("system:public-info-viewer", _PUBLIC),
        _to_group("system:public-info-viewer", "system:unauthenticated"),
    ),
)
