"""What is served: ``/api``, ``/apis`` and the lists of resources below them."""

from __future__ import annotations

from hack.devcluster.errors import no_such_path
from hack.devcluster.kinds import REVIEWS, Kind, Kinds
from hack.devcluster.objects import Obj

VERSION: Obj = {
    "major": "1",
    "minor": "33",
    "gitVersion": "v1.33.0-devcluster",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "linux/amd64",
}
_ALL_VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_SUBRESOURCES: dict[str, tuple[list[str], str]] = {
    "status": (["get", "patch", "update"], ""),
    "scale": (["get", "patch", "update"], "Scale"),
    "finalize": (["update"], ""),
    "log": (["get"], ""),
    "exec": (["create", "get"], "PodExecOptions"),
    "binding": (["create"], "Binding"),
    "eviction": (["create"], "Eviction"),
    "token": (["create"], "TokenRequest"),
}


def document(kinds: Kinds, path: str) -> Obj:
    """Raises ApiStatus(404) for a group or version that is not served."""
    parts = path.strip("/").split("/")
    match parts:
        case ["api"]:
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        case ["api", "v1"]:
            return _resources(kinds, "", "v1")
        case ["apis"]:
            groups = [_group(name, versions) for name, versions in kinds.groups().items() if name]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
        case ["apis", group] if group in kinds.groups():
            return {"kind": "APIGroup", "apiVersion": "v1", **_group(group, kinds.groups()[group])}
        case ["apis", group, version] if version in kinds.groups().get(group, ()):
            return _resources(kinds, group, version)
        case _:
            raise no_such_path()


def _group(name: str, versions: list[str]) -> Obj:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def _resources(kinds: Kinds, group: str, version: str) -> Obj:
    found = [entry for kind in kinds.of(group, version) for entry in _entries(kind, version)]
    found += [
        {"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind, "verbs": ["create"]}
        for (review_group, plural), kind in REVIEWS.items()
        if review_group == group
    ]
    api_version = f"{group}/{version}" if group else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": found}


def _entries(kind: Kind, version: str) -> list[Obj]:
    served = kind.version(version)
    main: Obj = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": _ALL_VERBS,
        **({"shortNames": list(kind.short_names)} if kind.short_names else {}),
        **({"categories": list(kind.categories)} if kind.categories else {}),
    }
    return [main, *(_subresource(kind, name) for name in sorted(served.subresources if served else ()))]


def _subresource(kind: Kind, name: str) -> Obj:
    verbs, other = _SUBRESOURCES[name]
    scale = {"group": "autoscaling", "version": "v1"} if name == "scale" else {}
    return {
        "name": f"{kind.plural}/{name}",
        "singularName": "",
        "namespaced": kind.namespaced,
        "kind": other or kind.kind,
        "verbs": verbs,
        **scale,
    }
