"""Requests, read: which resource, which verb, which options, which body; and which answer is wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from hack.devcluster import protobuf
from hack.devcluster.errors import bad_request, unsupported_media_type
from hack.devcluster.objects import Obj
from hack.devcluster.registry import WriteOptions

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"

_BODIES = ("application/json", "application/yaml")
_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a path below ``/api`` or ``/apis`` names."""

    group: str
    version: str
    resource: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def target_of(path: str) -> Target | None:
    """None for a path that names no resource."""
    head, *rest = path.strip("/").split("/")
    if head == "api" and len(rest) > 1:
        group, version, parts = "", rest[0], rest[1:]
    elif head == "apis" and len(rest) > 2:
        group, version, parts = rest[0], rest[1], rest[2:]
    else:
        return None
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2 and parts[2] not in ("status", "finalize"):
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource = (*parts, "", "", "")[:3]
    if resource == "namespaces":
        namespace = name
    return Target(group, version, resource, namespace, name, subresource) if len(parts) <= 3 else None


def is_true(text: str | None) -> bool:
    return text in ("1", "true", "True")


def verb_of(request: web.Request, target: Target) -> str:
    verb = _VERBS.get(request.method, "")
    if target.name or target.subresource:
        return (
            "watch"
            if verb == "get" and is_true(request.query.get("watch")) and not target.subresource
            else verb
        )
    if verb == "get":
        return "watch" if is_true(request.query.get("watch")) else "list"
    return "deletecollection" if verb == "delete" else verb


def selected_name(request: web.Request) -> str:
    """``metadata.name=x`` as the only field selector counts as asking for that one, RBAC included."""
    terms = [
        term
        for term in request.query.get("fieldSelector", "").split(",")
        if term.startswith("metadata.name=")
    ]
    return terms[0].removeprefix("metadata.name=").removeprefix("=") if terms else ""


def media_type(request: web.Request) -> str:
    return request.headers.get("Content-Type", "application/json").partition(";")[0].strip()


async def body_of(request: web.Request) -> Any:
    """The decoded body. Raises ApiStatus: 415 for a type that is not known, 400 for what cannot be read."""
    kind = media_type(request)
    if kind == protobuf.MEDIA_TYPE:
        return protobuf.decode(await request.read())
    if kind not in (*_BODIES, JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH):
        raise unsupported_media_type(_BODIES)
    text = await request.text()
    try:
        return yaml.safe_load(text) if kind in ("application/yaml", APPLY_PATCH) else json.loads(text)
    except (ValueError, yaml.YAMLError) as error:
        raise bad_request(f"error decoding the body: {error}") from error


async def object_of(request: web.Request) -> Obj:
    body = await body_of(request)
    if not isinstance(body, dict) or not isinstance(body.get("metadata", {}), dict | None):
        raise bad_request("the body is not an object")
    return body


async def options_of(request: web.Request) -> Obj:
    """DeleteOptions, from the body and, where that says nothing, from the query."""
    options: Obj = (await body_of(request) or {}) if request.can_read_body else {}
    query = request.query
    for name in ("propagationPolicy", "gracePeriodSeconds"):
        if name in query:
            options.setdefault(name, query[name] if name == "propagationPolicy" else int(query[name]))
    if "orphanDependents" in options:
        options.setdefault("propagationPolicy", "Orphan" if options["orphanDependents"] else "Background")
    if "dryRun" in query:
        options.setdefault("dryRun", [query["dryRun"]])
    return options


def write_options(request: web.Request, version: str) -> WriteOptions:
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    return WriteOptions(
        manager=request.query.get("fieldManager") or agent,
        dry_run=request.query.get("dryRun") == "All",
        version=version,
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """The form of the answer: ``Table``, ``PartialObjectMetadata`` or the objects themselves (empty)."""

    form: str = ""
    include: str = "Metadata"


def wanted_of(request: web.Request) -> Wanted:
    include = request.query.get("includeObject", "Metadata")
    for accepted in request.headers.get("Accept", "").split(","):
        kind, *parameters = (part.strip() for part in accepted.split(";"))
        asked = dict(part.split("=", 1) for part in parameters if "=" in part)
        if kind == "application/json":
            return Wanted(asked.get("as", "").removesuffix("List"), include)
    return Wanted("", include)
