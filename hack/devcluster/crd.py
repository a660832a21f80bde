"""CustomResourceDefinitions: which are acceptable, and the types that they make.

Guarantee: a schema that a real server refuses as not structural (``$ref``, missing types, a defaulted
list-map key that is not required …) is refused here, so that a CRD which installs here installs there.
Non-guarantee: versions are never converted but for their apiVersion (strategy None), no webhooks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hack.devcluster import rules
from hack.devcluster.errors import Cause, forbidden_field, invalid_field, required
from hack.devcluster.kinds import COMMON_FIELDS, Column, Kind, Version
from hack.devcluster.models import component, reference
from hack.devcluster.objects import Obj, copy, dig
from hack.devcluster.schema import validate

_AGE = Column("Age", ".metadata.creationTimestamp", "date", description="When the object was created.")
_FORBIDDEN = (
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "deprecated",
    "discriminator",
    "readOnly",
    "writeOnly",
    "xml",
    "id",
)


def kind_of(crd: Obj) -> Kind:
    spec = crd["spec"]
    names = spec["names"]
    versions = sorted(
        (_version(item) for item in spec["versions"]), key=lambda each: not _stored(spec, each.name)
    )
    return Kind(
        group=spec["group"],
        plural=names["plural"],
        kind=names["kind"],
        versions=tuple(versions),
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or names["kind"].lower(),
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        selectable=COMMON_FIELDS
        | {
            field["jsonPath"].lstrip(".")
            for item in spec["versions"]
            for field in item.get("selectableFields") or ()
        },
        has_generation=True,
        is_custom=True,
    )


def _stored(spec: Obj, version: str) -> bool:
    return any(item["name"] == version and item["storage"] for item in spec["versions"])


def _version(item: Obj) -> Version:
    columns = tuple(
        Column(
            each["name"],
            each["jsonPath"],
            each["type"],
            each.get("priority", 0),
            each.get("description", ""),
            each.get("format", ""),
        )
        for each in item.get("additionalPrinterColumns") or ()
    )
    schema = copy(dig(item, "schema", "openAPIV3Schema", default={}))
    schema["properties"] = {**(schema.get("properties") or {}), **_of_every_object()}
    subresources = item.get("subresources") or {}
    return Version(
        item["name"],
        schema,
        columns or (_AGE,),
        item["served"],
        frozenset(name for name in ("status", "scale") if name in subresources),
        subresources.get("scale") or {},
    )


def _of_every_object() -> Obj:
    """As servers publish them for custom resources, descriptions included."""
    built_in: Obj = component("V1ConfigMap")["properties"]
    described = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/"
    described += "sig-architecture/api-conventions.md#metadata"
    metadata = {"allOf": [reference("V1ObjectMeta")], "description": described}
    return {"apiVersion": built_in["apiVersion"], "kind": built_in["kind"], "metadata": metadata}


def faults(crd: Obj) -> Iterator[Cause]:
    spec = crd.get("spec") or {}
    names = spec.get("names") or {}
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if crd["metadata"]["name"] != wanted:
        yield invalid_field(
            "metadata.name", crd["metadata"]["name"], 'must be spec.names.plural+"."+spec.group'
        )
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        yield Cause(
            "spec.scope",
            "FieldValueNotSupported",
            f'Unsupported value: "{spec.get("scope", "")}": supported values: "Cluster", "Namespaced"',
        )
    versions = spec.get("versions") or []
    if sum(bool(item.get("storage")) for item in versions) != 1:
        yield invalid_field(
            "spec.versions",
            [item.get("name") for item in versions],
            "must have exactly one version marked as storage version",
        )
    for index, item in enumerate(versions):
        path = f"spec.versions[{index}].schema.openAPIV3Schema"
        root = dig(item, "schema", "openAPIV3Schema")
        if root is None:
            yield required(path, "schemas are required")
            continue
        if root.get("type") != "object":
            yield invalid_field(f"{path}.type", root.get("type", ""), "must be object at the root")
        yield from _structure(root, path)
        yield from _metadata(root, path)


def _metadata(root: Obj, path: str) -> Iterator[Cause]:
    metadata = dig(root, "properties", "metadata", default={})
    if set(metadata) - {"type", "description", "properties"}:
        yield forbidden_field(
            f"{path}.properties[metadata]",
            "must not specify anything other than name and generateName",
        )


def _structure(schema: Any, path: str) -> Iterator[Cause]:
    if not isinstance(schema, dict):
        yield invalid_field(path, str(schema), "must be a schema")
        return
    yield from (
        forbidden_field(f"{path}.{word}", "is not supported") for word in _FORBIDDEN if word in schema
    )
    loose = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not loose:
        yield required(f"{path}.type", "must not be empty for specified object fields")
    if schema.get("properties") and schema.get("additionalProperties"):
        yield forbidden_field(f"{path}.additionalProperties", "mutual exclusive with properties")
    if schema.get("type") == "array" and not schema.get("items"):
        yield required(f"{path}.items", "must be specified")
    if schema.get("uniqueItems"):
        yield forbidden_field(
            f"{path}.uniqueItems",
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        )
    yield from _combinations(schema, path)
    yield from rules.faults(schema, path)
    yield from _list_map(schema, path)
    if "default" in schema:
        yield from validate(schema, schema["default"], f"{path}.default")
    for name, child in (schema.get("properties") or {}).items():
        yield from _structure(child, f"{path}.properties[{name}]")
    if isinstance(schema.get("items"), dict):
        yield from _structure(schema["items"], f"{path}.items")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _structure(schema["additionalProperties"], f"{path}.additionalProperties")


def _combinations(schema: Obj, path: str) -> Iterator[Cause]:
    """Inside a combination nothing may define structure: only conditions on what is defined outside."""
    if schema.get("x-kubernetes-int-or-string"):
        return
    for word in ("allOf", "anyOf", "oneOf", "not"):
        parts = schema.get(word) or ()
        for index, part in enumerate([parts] if isinstance(parts, dict) else parts):
            where = f"{path}.{word}[{index}]"
            yield from (
                forbidden_field(f"{where}.{name}", "must be empty to be structural")
                for name in ("type", "default", "description", "nullable", "additionalProperties")
                if name in part
            )


def _list_map(schema: Obj, path: str) -> Iterator[Cause]:
    if schema.get("x-kubernetes-list-type") != "map":
        return
    keys = schema.get("x-kubernetes-list-map-keys") or []
    if not keys:
        yield required(
            f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map"
        )
    items = schema.get("items") or {}
    for key in keys:
        key_schema = dig(items, "properties", key)
        if key_schema is None:
            yield invalid_field(
                f"{path}.x-kubernetes-list-map-keys", key, "entries must all be names of item properties"
            )
        elif key not in (items.get("required") or ()) and "default" not in key_schema:
            yield required(
                f"{path}.items.properties[{key}].default",
                "a property in x-kubernetes-list-map-keys must have a default or be required",
            )


def with_status(crd: Obj, now: str) -> Obj:
    """Names are accepted and the type served in the same write; a real server needs a moment."""
    known = {item["type"]: item for item in dig(crd, "status", "conditions", default=[])}
    told = {"NamesAccepted": "NoConflicts", "Established": "InitialNamesAccepted"}
    words = {"NamesAccepted": "no conflicts found", "Established": "the initial names have been accepted"}
    conditions = [
        known.get(name)
        or {
            "type": name,
            "status": "True",
            "reason": reason,
            "message": words[name],
            "lastTransitionTime": now,
        }
        for name, reason in told.items()
    ]
    stored = [item["name"] for item in crd["spec"]["versions"] if item["storage"]]
    before = dig(crd, "status", "storedVersions", default=[])
    status = {
        "conditions": conditions,
        "acceptedNames": crd["spec"]["names"],
        "storedVersions": [*before, *(name for name in stored if name not in before)],
    }
    return {**crd, "status": status}
