"""The verbs on objects: decode, do it in the registry, answer in the form that was asked for.

Guarantee: lists are snapshots, page after page; an answer is in the version that the path names.
Non-guarantee: who may do it was decided before (:mod:`apiserver`), but for what only the body tells:
granting permissions, and creating by apply.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from hack.devcluster import event_alias, list_options, scale
from hack.devcluster.errors import (
    ApiStatus,
    Cause,
    bad_request,
    invalid,
    invalid_field,
    required,
    unsupported_media_type,
)
from hack.devcluster.identity import User
from hack.devcluster.kinds import Kind, Version
from hack.devcluster.models import reference
from hack.devcluster.objects import GroupResource, Key, Obj, copy, key_of
from hack.devcluster.patch import json_patch, merge_patch, strategic_merge
from hack.devcluster.rbac import Action, Authorizer
from hack.devcluster.registry import Registry
from hack.devcluster.requests import (
    APPLY_PATCH,
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    Target,
    body_of,
    is_true,
    media_type,
    object_of,
    options_of,
    wanted_of,
    write_options,
)
from hack.devcluster.schema import prune
from hack.devcluster.tables import partial, table


@dataclass(frozen=True, slots=True)
class Call:
    """One request about a resource, as far as it is understood."""

    request: web.Request
    user: User
    target: Target
    kind: Kind
    version: Version

    @property
    def gr(self) -> GroupResource:
        """Where the objects are kept."""
        return event_alias.STORED if self.kind.gr == event_alias.ALIAS else self.kind.gr

    @property
    def key(self) -> Key:
        return (self.target.namespace if self.kind.namespaced else "", self.target.name)

    def shown(self, obj: Obj) -> Obj:
        """A stored object in the version of this request."""
        if self.kind.gr == event_alias.ALIAS:
            return event_alias.from_stored(obj)
        api_version = self.kind.api_version(self.version.name)
        return obj if obj["apiVersion"] == api_version else {**obj, "apiVersion": api_version}

    def stored(self, obj: Obj) -> Obj:
        return event_alias.to_stored(obj) if self.kind.gr == event_alias.ALIAS else obj


def answer(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = json.dumps(body, separators=(",", ":"))
    return web.Response(text=text, status=status, content_type="application/json", headers=headers)


class Verbs:
    def __init__(self, registry: Registry, authorizer: Authorizer) -> None:
        self._registry = registry
        self._authorizer = authorizer

    # --- reading ------------------------------------------------------------------------------------

    async def get(self, call: Call) -> web.Response:
        obj = call.shown(self._registry.get(call.gr, *call.key))
        if call.target.subresource == "scale":
            return answer(scale.of(call.version, obj))
        wanted = wanted_of(call.request)
        if wanted.form == "Table":
            shown = table(call.kind, call.version, [obj], include=wanted.include)
            shown["metadata"] = {"resourceVersion": obj["metadata"]["resourceVersion"]}
            return answer(shown)
        return answer(partial(obj) if wanted.form == "PartialObjectMetadata" else obj)

    async def list_(self, call: Call) -> web.Response:
        query = call.request.query
        list_options.check(query, watch=False)
        at, start = list_options.position(query, self._registry.version)
        found, version = self._registry.list(
            call.gr, call.target.namespace or None, query.get("labelSelector"), query.get("fieldSelector"), at
        )
        rest = [obj for obj in found if start is None or key_of(obj) > start]
        limit = list_options.limit(query)
        page = rest[:limit] if limit else rest
        metadata: Obj = {"resourceVersion": str(version)}
        if len(page) < len(rest):
            metadata["continue"] = list_options.token(version, key_of(page[-1]))
            if not query.get("labelSelector") and not query.get("fieldSelector"):
                metadata["remainingItemCount"] = len(rest) - len(page)
        return answer(self._listed(call, [call.shown(obj) for obj in page], metadata))

    def _listed(self, call: Call, objects: list[Obj], metadata: Obj) -> Obj:
        wanted = wanted_of(call.request)
        if wanted.form == "Table":
            return {**table(call.kind, call.version, objects, include=wanted.include), "metadata": metadata}
        if wanted.form == "PartialObjectMetadata":
            items = [partial(obj) for obj in objects]
            return {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
                "items": items,
            }
        return {
            "kind": f"{call.kind.kind}List",
            "apiVersion": call.kind.api_version(call.version.name),
            "metadata": metadata,
            # Typed lists of a real server say their items' type only once, in the list.
            "items": objects if call.kind.is_custom else [_untyped(obj) for obj in objects],
        }

    # --- writing ------------------------------------------------------------------------------------

    async def create(self, call: Call) -> web.Response:
        obj = await object_of(call.request)
        headers = self._decode(call, obj)
        self._authorizer.check_escalation(call.user, call.gr, obj)
        made = self._registry.create(
            call.gr, call.stored(obj), write_options(call.request, call.version.name)
        )
        return answer(call.shown(made), 201, headers)

    async def update(self, call: Call) -> web.Response:
        obj = await object_of(call.request)
        options = write_options(call.request, call.version.name)
        if call.target.subresource == "scale":
            change = scale.replacing(call.version, obj)
            changed = self._registry.modify(call.gr, call.key, change, options=options)
            return answer(scale.of(call.version, changed))
        headers = self._decode(call, obj)
        if obj["metadata"].get("name") != call.target.name:
            raise bad_request(
                f"the name of the object ({obj['metadata'].get('name', '')}) "
                f"does not match the name on the URL ({call.target.name})"
            )
        self._authorizer.check_escalation(call.user, call.gr, obj)
        written = self._registry.update(
            call.gr, call.stored(obj), subresource=call.target.subresource, options=options
        )
        return answer(call.shown(written), 200, headers)

    async def patch(self, call: Call) -> web.Response:
        if media_type(call.request) == APPLY_PATCH:
            return await self._apply(call)
        change = self._patcher(call, await body_of(call.request))
        options = write_options(call.request, call.version.name)
        if call.target.subresource == "scale":
            rescale = scale.patching(call.version, change)
            return answer(
                scale.of(call.version, self._registry.modify(call.gr, call.key, rescale, options=options))
            )
        headers: dict[str, str] = {}

        def patched(obj: Obj) -> Obj:
            new = change(copy(call.shown(obj)))
            headers.update(self._decode(call, new))
            self._authorizer.check_escalation(call.user, call.gr, new)
            return call.stored(new)

        written = self._registry.modify(
            call.gr, call.key, patched, subresource=call.target.subresource, options=options
        )
        return answer(call.shown(written), 200, headers)

    def _patcher(self, call: Call, body: Any) -> Callable[[Obj], Obj]:
        kind = media_type(call.request)
        if kind == JSON_PATCH:
            return lambda obj: json_patch(obj, body)
        if not isinstance(body, dict):
            raise bad_request("the patch is not an object")
        if kind == MERGE_PATCH:
            return lambda obj: merge_patch(obj, body)
        if kind == STRATEGIC_PATCH and not call.kind.is_custom:
            return lambda obj: strategic_merge(call.version.schema, obj, body)
        raise unsupported_media_type((JSON_PATCH, MERGE_PATCH, APPLY_PATCH))

    async def _apply(self, call: Call) -> web.Response:
        query = call.request.query
        if not query.get("fieldManager"):
            raise invalid(
                "PatchOptions", "meta.k8s.io", "", [required("fieldManager", "is required for apply patch")]
            )
        obj = await object_of(call.request)
        self._check_type(call, obj)
        self._declared(call, obj)
        obj.setdefault("metadata", {})
        obj["metadata"].setdefault("name", call.target.name)
        self._place(call, obj)
        self._authorizer.check_escalation(call.user, call.gr, obj)
        if self._registry.find(call.gr, *call.key) is None:
            create = Action("create", *call.kind.gr, namespace=call.target.namespace)
            self._authorizer.require(call.user, create)
        written, is_new = self._registry.apply(
            call.gr,
            call.stored(obj),
            force=is_true(query.get("force")),
            subresource=call.target.subresource,
            options=write_options(call.request, call.version.name),
        )
        return answer(call.shown(written), 201 if is_new else 200)

    def _declared(self, call: Call, obj: Obj) -> None:
        """Apply needs to know every field, so that an unknown one is an error at any strictness."""
        unknown = _unknown_fields(call, copy(obj))
        if unknown:
            name = f"{obj.get('metadata', {}).get('namespace', '')}/{call.target.name}".lstrip("/")
            what = f"{name}; {call.kind.api_version(call.version.name)}, Kind={call.kind.kind}"
            message = (
                f"failed to create typed patch object ({what}): .{unknown[0]}: field not declared in schema"
            )
            raise ApiStatus(500, "InternalError", message)

    # --- deleting -----------------------------------------------------------------------------------

    async def delete(self, call: Call) -> web.Response:
        options = await options_of(call.request)
        left = self._delete_one(call, call.key, options)
        is_there = self._registry.find(call.gr, *call.key) is not None
        if is_there or call.gr == ("", "pods"):
            return answer(call.shown(left))
        details = {"name": call.target.name, "kind": call.kind.plural, "uid": left["metadata"]["uid"]}
        if call.kind.group:
            details["group"] = call.kind.group
        return answer(
            {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        )

    def _delete_one(self, call: Call, key: Key, options: Obj) -> Obj:
        preconditions = options.get("preconditions") or {}
        return self._registry.delete(
            call.gr,
            *key,
            uid=preconditions.get("uid"),
            resource_version=preconditions.get("resourceVersion"),
            propagation=_propagation(options),
            grace_seconds=options.get("gracePeriodSeconds"),
            dry_run=bool(options.get("dryRun")),
        )

    async def deletecollection(self, call: Call) -> web.Response:
        options = await options_of(call.request)
        query = call.request.query
        found, version = self._registry.list(
            call.gr, call.target.namespace or None, query.get("labelSelector"), query.get("fieldSelector")
        )
        for obj in found:
            self._delete_one(call, key_of(obj), options)
        return answer(
            self._listed(call, [call.shown(obj) for obj in found], {"resourceVersion": str(version)})
        )

    # --- decoding -----------------------------------------------------------------------------------

    def _decode(self, call: Call, obj: Obj) -> dict[str, str]:
        """Checks what the body says it is, drops unknown fields, and warns of them in headers."""
        self._check_type(call, obj)
        if not isinstance(obj.get("metadata"), dict):
            obj["metadata"] = {}
        self._place(call, obj)
        unknown = _unknown_fields(call, obj)
        how = call.request.query.get("fieldValidation") or "Warn"
        if unknown and how == "Strict":
            told = ", ".join(f'unknown field "{field}"' for field in unknown)
            prefix = (
                f'{call.kind.kind} in version "{call.version.name}" cannot be handled as a {call.kind.kind}: '
            )
            raise bad_request(f"{prefix}strict decoding error: {told}")
        if unknown and how == "Warn":
            return {"Warning": ", ".join(f'299 - "unknown field \\"{field}\\""' for field in unknown)}
        return {}

    def _check_type(self, call: Call, obj: Obj) -> None:
        wanted = (call.kind.api_version(call.version.name), call.kind.kind)
        said = (obj.setdefault("apiVersion", wanted[0]), obj.setdefault("kind", wanted[1]))
        if call.kind.is_custom and said[0] == wanted[0] and said[1] != wanted[1]:
            cause = invalid_field("kind", said[1], f"must be {wanted[1]}")
            raise invalid(said[1], call.kind.group, call.target.name, [cause])
        if said != wanted:
            raise bad_request(
                f"the object provided is unrecognized (must be of type {wanted[1]}): "
                f"it says {said[0]}, Kind={said[1]}, and this is {wanted[0]}, Kind={wanted[1]}"
            )

    def _place(self, call: Call, obj: Obj) -> None:
        namespace = call.target.namespace if call.kind.namespaced else ""
        said = obj["metadata"].get("namespace")
        if said and namespace and said != namespace:
            raise bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        if namespace:
            obj["metadata"]["namespace"] = namespace


def _unknown_fields(call: Call, obj: Obj) -> list[str]:
    metadata = obj.get("metadata") if isinstance(obj.get("metadata"), dict) else {}
    return [
        *prune(call.version.schema, obj, drop_null=not call.kind.is_custom),
        *(
            prune(reference("V1ObjectMeta"), metadata, "metadata", drop_null=True)
            if call.kind.is_custom
            else ()
        ),
    ]


def _untyped(obj: Obj) -> Obj:
    return {name: value for name, value in obj.items() if name not in ("apiVersion", "kind")}


def _propagation(options: Obj) -> str | None:
    policy: str | None = options.get("propagationPolicy")
    if policy not in (None, "Foreground", "Background", "Orphan"):
        options_ = 'supported values: "Foreground", "Background", "Orphan"'
        cause = Cause(
            "propagationPolicy", "FieldValueNotSupported", f'Unsupported value: "{policy}": {options_}'
        )
        raise invalid("DeleteOptions", "meta.k8s.io", "", [cause])
    return policy
