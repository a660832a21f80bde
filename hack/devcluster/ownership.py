"""Which manager owns which fields: ``metadata.managedFields``.

A field is a path of elements as they are spelled in fieldsV1: ``f:name`` for a field or map key,
``k:{"name":"x"}`` for an item of a list-map, ``v:"x"`` for an item of a set. Lists of other kinds are atomic.

Guarantee: a set read from an object holds its leaves and its list-map items, so that owning an item and
owning fields of it are different things. What no manager can own (identity, versions) is never in a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from hack.devcluster.models import resolve
from hack.devcluster.objects import Obj, dig

Path = tuple[str, ...]
Fields = frozenset[Path]
Manager = tuple[str, str, str]
"""Name, operation (Apply or Update), subresource."""

_UNOWNED = frozenset(
    {("f:apiVersion",), ("f:kind",), ("f:metadata",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            *("name", "namespace", "creationTimestamp", "selfLink", "uid", "generation", "managedFields"),
            *("resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds"),
        )
    }
)
_ANYTHING: Obj = {"x-kubernetes-preserve-unknown-fields": True}


def child_schema(schema: Obj, name: str) -> Obj:
    """The schema of property or map key ``name``; an unknown one is anything."""
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        additional = schema.get("additionalProperties")
        found = additional if isinstance(additional, dict) else _ANYTHING
    return resolve(found)


def is_atomic(schema: Obj, value: Any) -> bool:
    """Whether one manager owns ``value`` as a whole."""
    if isinstance(value, dict):
        return schema.get("x-kubernetes-map-type") == "atomic"
    if isinstance(value, list):
        return schema.get("x-kubernetes-list-type") not in ("map", "set")
    return True


def element_of(schema: Obj, item: Any) -> str:
    """The path element of one item of a list-map or set; a missing key is null, for validation to refuse."""
    if schema["x-kubernetes-list-type"] == "set":
        return "v:" + json.dumps(item, separators=(",", ":"))
    properties = resolve(schema["items"]).get("properties") or {}
    keys: Obj = {}
    for name in schema["x-kubernetes-list-map-keys"]:
        keys[name] = item[name] if name in item else properties[name].get("default")
    return "k:" + json.dumps(keys, separators=(",", ":"), sort_keys=True)


def fields_of(schema: Obj, obj: Obj) -> Fields:
    return frozenset(path for path in _paths(resolve(schema), obj, ()) if path not in _UNOWNED)


def _paths(schema: Obj, value: Any, path: Path) -> Iterator[Path]:
    if is_atomic(schema, value) or not value:
        yield path
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _paths(child_schema(schema, name), item, (*path, f"f:{name}"))
    else:
        for item in value:
            here = (*path, element_of(schema, item))
            yield here
            if isinstance(item, dict):
                yield from (each for each in _paths(resolve(schema["items"]), item, here) if each != here)


def value_at(schema: Obj, value: Any, path: Path) -> Any:
    """The value at ``path``, or None; a list-map item is found by its keys."""
    schema = resolve(schema)
    for element in path:
        if element.startswith("f:"):
            value = value.get(element[2:]) if isinstance(value, dict) else None
            schema = child_schema(schema, element[2:])
        else:
            items = value if isinstance(value, list) else []
            value = next((item for item in items if element_of(schema, item) == element), None)
            schema = resolve(schema["items"])
        if value is None:
            return None
    return value


def to_fields_v1(fields: Fields) -> Obj:
    root: Obj = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return _without_lone_dots(root)


def _without_lone_dots(node: Obj) -> Obj:
    if set(node) == {"."}:
        return {}
    return {name: _without_lone_dots(child) for name, child in node.items()}


def from_fields_v1(node: Obj, path: Path = ()) -> Fields:
    found: set[Path] = set()
    for element, child in node.items():
        if element == ".":
            found.add(path)
        elif child:
            found |= from_fields_v1(child, (*path, element))
        else:
            found.add((*path, element))
    return frozenset(found)


class Ownership:
    """The managers of one object. ``times`` and API versions are kept for managers that do not change."""

    def __init__(self, obj: Obj | None) -> None:
        self._entries: dict[Manager, Obj] = {}
        self.fields: dict[Manager, Fields] = {}
        for entry in dig(obj, "metadata", "managedFields", default=[]):
            if entry.get("manager"):
                manager = entry["manager"], entry["operation"], entry.get("subresource", "")
                self._entries[manager] = entry
                self.fields[manager] = from_fields_v1(entry.get("fieldsV1") or {})

    def others(self, manager: Manager) -> dict[Manager, Fields]:
        return {each: fields for each, fields in self.fields.items() if each != manager}

    def api_version(self, manager: Manager) -> str:
        return str(self._entries[manager].get("apiVersion", ""))

    def take(self, fields: Iterable[Path], *, keep: Manager | None = None) -> None:
        """Nobody but ``keep`` owns ``fields`` any more."""
        gone = frozenset(fields)
        self.fields = {each: owned if each == keep else owned - gone for each, owned in self.fields.items()}

    def track(self, schema: Obj, old: Obj, new: Obj, manager: Manager, *, has_status: bool) -> None:
        """``manager`` changed ``old`` into ``new``: it owns what it changed, and nobody what is gone.

        With ``has_status``, what the server did to the status by the way is nobody's.
        """
        before, after = fields_of(schema, old), fields_of(schema, new)
        gone = before - after
        changed = changed_fields(schema, old, new)
        self.take(gone | changed)
        owned = self.fields.get(manager, frozenset()) | changed
        if has_status and manager[2] != "status":
            owned = frozenset(path for path in owned if path[0] != "f:status")
        self.fields[manager] = owned & after

    def write(self, obj: Obj, api_version: str, now: str) -> None:
        entries = []
        for manager, fields in self.fields.items():
            if not fields and manager[1] != "Apply":
                continue
            known = self._entries.get(manager)
            encoded = to_fields_v1(fields)
            if known and known.get("fieldsV1") == encoded:
                entries.append(known)
            else:
                entries.append(_entry(manager, encoded, api_version, now))
        obj["metadata"].pop("managedFields", None)
        if entries:
            obj["metadata"]["managedFields"] = entries


def _entry(manager: Manager, fields: Obj, api_version: str, now: str) -> Obj:
    name, operation, subresource = manager
    entry: Obj = {
        "manager": name,
        "operation": operation,
        "apiVersion": api_version,
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
    }
    return entry | ({"subresource": subresource} if subresource else {})


def changed_fields(schema: Obj, old: Obj, new: Obj) -> Fields:
    """Fields of ``new`` that ``old`` has not, or has with another value."""
    before = fields_of(schema, old)
    return frozenset(
        path
        for path in fields_of(schema, new)
        if path not in before
        or (not _is_item(path[-1]) and value_at(schema, old, path) != value_at(schema, new, path))
    )


def _is_item(element: str) -> bool:
    return element.startswith("k:")


def removed_by(schema: Obj, gone: Fields, kept: Fields, obj: Obj) -> None:
    """Remove the fields ``gone`` from ``obj``, in place, and what held only them, but nothing in ``kept``."""
    held = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    parents = {path[:length] for path in gone for length in range(1, len(path))}
    for path in sorted(gone | parents, key=len):
        if path in gone and path not in held and not _is_key_of_its_item(path):
            _remove(resolve(schema), obj, path)
    for path in sorted(parents - gone - held, key=len, reverse=True):
        if not value_at(schema, obj, path):
            _remove(resolve(schema), obj, path)


def _is_key_of_its_item(path: Path) -> bool:
    """Such a field goes with its item only: without it the item could not be found again."""
    return len(path) > 1 and _is_item(path[-2]) and path[-1][2:] in json.loads(path[-2][2:])


def _remove(schema: Obj, value: Any, path: Path) -> None:
    element, rest = path[0], path[1:]
    if element.startswith("f:"):
        name = element[2:]
        if not isinstance(value, dict) or name not in value:
            return
        if rest:
            _remove(child_schema(schema, name), value[name], rest)
        else:
            del value[name]
    elif isinstance(value, list):
        for item in [item for item in value if element_of(schema, item) == element]:
            if rest:
                _remove(resolve(schema["items"]), item, rest)
            else:
                value.remove(item)


def dotted(path: Path) -> str:
    """As conflicts are told: ``.spec.containers[name="x"].image``."""
    return "".join(map(_dotted, path))


def _dotted(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "v":
        return f"[={text}]"
    return "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(text).items()) + "]"
