"""OpenAPI v3, one document a group and version: what ``kubectl explain``, ``apply`` and ``diff`` read.

Guarantee: schemas with descriptions, the marks by which kubectl finds a type, and the parameters by which
it learns that the server validates fields and can run dry.
Non-guarantee: OpenAPI v2, which kubectl before 1.30 asks for.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from hack.devcluster.errors import no_such_path
from hack.devcluster.kinds import Kind, Kinds, Version
from hack.devcluster.models import PREFIX, component
from hack.devcluster.objects import Obj
from hack.devcluster.requests import APPLY_PATCH, JSON_PATCH, MERGE_PATCH

_QUERY = ("dryRun", "fieldManager", "fieldValidation", "force")


def index(kinds: Kinds) -> Obj:
    paths = {}
    for group, versions in kinds.groups().items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            digest = hashlib.sha256(json.dumps(document(kinds, path)).encode()).hexdigest()
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest[:32].upper()}"}
    return {"paths": paths}


def document(kinds: Kinds, path: str) -> Obj:
    """Raises ApiStatus(404) for a group or version that is not served."""
    parts = path.split("/")
    group, version = (parts[1], parts[2]) if parts[0] == "apis" and len(parts) == 3 else ("", parts[-1])
    if version not in kinds.groups().get(group, ()):
        raise no_such_path()
    schemas: Obj = {}
    paths: Obj = {}
    for kind in kinds.of(group, version):
        served = kind.version(version)
        assert served is not None
        name = _schema_name(kind, served)
        schemas[name] = {**_schema(served), "x-kubernetes-group-version-kind": [_gvk(kind, version)]}
        paths |= _paths(kind, version, path, PREFIX + _shown(name))
    for name in _referenced(list(schemas.values())):
        schemas.setdefault(name, component(name))
    schemas = {_shown(name): _renamed(schema) for name, schema in schemas.items()}
    info = {"title": "Kubernetes", "version": "v1.33.0-devcluster"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _gvk(kind: Kind, version: str) -> Obj:
    return {"group": kind.group, "version": version, "kind": kind.kind}


def _schema_name(kind: Kind, version: Version) -> str:
    if "$ref" in version.schema:
        return str(version.schema["$ref"]).removeprefix(PREFIX)
    return ".".join([*reversed(kind.group.split(".")), version.name, kind.kind])


def _schema(version: Version) -> Obj:
    return (
        component(version.schema["$ref"].removeprefix(PREFIX)) if "$ref" in version.schema else version.schema
    )


def _referenced(roots: list[Any]) -> list[str]:
    seen: dict[str, None] = {}
    waiting = list(roots)
    while waiting:
        for name in _references(waiting.pop()):
            if name not in seen:
                seen[name] = None
                waiting.append(component(name))
    return list(seen)


def _shown(model: str) -> str:
    """What follows the last dot is what ``kubectl explain`` calls the type."""
    return re.sub(r"^([A-Z][a-z]+)?V1(?=[A-Z])", lambda found: f"io.k8s.{(found[1] or '').lower()}v1.", model)


def _renamed(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: PREFIX + _shown(item.removeprefix(PREFIX)) if name == "$ref" else _renamed(item)
            for name, item in value.items()
        }
    return [_renamed(item) for item in value] if isinstance(value, list) else value


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].removeprefix(PREFIX)
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _paths(kind: Kind, version: str, prefix: str, reference: str) -> Obj:
    within = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"/{prefix}{within}/{kind.plural}"
    schema = {"$ref": reference}

    def operation(action: str, method: str, *media: str) -> Obj:
        answer = {"200": {"description": "OK", "content": {"application/json": {"schema": schema}}}}
        found: Obj = {
            "operationId": f"{method}{kind.kind}",
            "responses": answer,
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": _gvk(kind, version),
        }
        if media:
            found["requestBody"] = {"content": {each: {"schema": schema} for each in media}}
            found["parameters"] = [
                {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
                for name in _QUERY
            ]
        return found

    return {
        collection: {
            "get": operation("list", "list"),
            "post": operation("post", "create", "application/json"),
        },
        f"{collection}/{{name}}": {
            "get": operation("get", "read"),
            "put": operation("put", "replace", "application/json"),
            "patch": operation("patch", "patch", JSON_PATCH, MERGE_PATCH, APPLY_PATCH),
            "delete": operation("delete", "delete"),
        },
    }
