"""The three patches that are not server-side apply: JSON patch, merge patch, and a simple strategic merge.

Guarantee: JSON patch is all or nothing, ``test`` included. Strategic merge is what kubectl sends for
built-in types: lists merged by key, ``$patch``, ``$deleteFromPrimitiveList`` and ``$retainKeys``.
Non-guarantee: ``$setElementOrder`` is accepted and ignored: added items go to the end.
"""

from __future__ import annotations

from typing import Any

from hack.devcluster.errors import ApiStatus, bad_request
from hack.devcluster.models import resolve
from hack.devcluster.objects import Obj, copy
from hack.devcluster.ownership import child_schema


def merge_patch(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return copy(patch)
    merged = dict(value) if isinstance(value, dict) else {}
    for name, item in patch.items():
        if item is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), item)
    return merged


def json_patch(obj: Obj, operations: Any) -> Obj:
    """RFC 6902. Raises ApiStatus(400) for what is no patch, 422 for one that does not fit the object."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations")
    root: Any = copy(obj)
    for operation in operations:
        try:
            root = _operate(root, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {operation}: {error}"
            raise ApiStatus(422, "Invalid", message) from error
    result: Obj = root
    return result


def _operate(root: Any, operation: Obj) -> Any:
    path = _pointer(operation["path"])
    match operation["op"]:
        case "add":
            return _add(root, path, copy(operation["value"]))
        case "remove":
            return _remove(root, path)
        case "replace":
            _at(root, path)
            return (
                _add(_remove(root, path), path, copy(operation["value"]))
                if path
                else copy(operation["value"])
            )
        case "move":
            source = _pointer(operation["from"])
            value = _at(root, source)
            return _add(_remove(root, source), path, value)
        case "copy":
            return _add(root, path, copy(_at(root, _pointer(operation["from"]))))
        case "test":
            if _at(root, path) != operation["value"]:
                raise ValueError("testing path failed")
            return root
        case other:
            raise ValueError(f"unexpected kind of operation: {other}")


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise ValueError(f"{text!r} is no JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(value: Any, path: list[str]) -> Any:
    for step in path:
        value = value[_index(step, len(value) - 1)] if isinstance(value, list) else value[step]
    return value


def _index(step: str, last: int) -> int:
    index = int(step)
    if not 0 <= index <= last:
        raise IndexError(f"index {step} is out of bounds")
    return index


def _add(root: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent, step = _at(root, path[:-1]), path[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if step == "-" else _index(step, len(parent)), value)
    elif isinstance(parent, dict):
        parent[step] = value
    else:
        raise TypeError("the parent is neither an object nor a list")
    return root


def _remove(root: Any, path: list[str]) -> Any:
    parent, step = _at(root, path[:-1]), path[-1]
    del parent[_index(step, len(parent) - 1) if isinstance(parent, list) else step]
    return root


_DELETE_FROM, _ORDER, _RETAIN = "$deleteFromPrimitiveList/", "$setElementOrder/", "$retainKeys"


def strategic_merge(schema: Obj, value: Any, patch: Any) -> Any:
    schema = resolve(schema)
    if not isinstance(patch, dict):
        return copy(patch)
    directive = patch.get("$patch")
    if directive in ("replace", "delete"):
        return {name: copy(item) for name, item in patch.items() if name != "$patch"}
    merged = dict(value) if isinstance(value, dict) else {}
    for name, item in patch.items():
        if name.startswith("$"):
            continue
        if item is None:
            merged.pop(name, None)
            continue
        inner = child_schema(schema, name)
        if isinstance(item, list):
            merged[name] = _merge_list(inner, merged.get(name) or [], item)
        else:
            merged[name] = strategic_merge(inner, merged.get(name), item)
        if not merged[name] and (isinstance(item, list) or "additionalProperties" in inner):
            # The built-in types leave lists and maps out that are empty, but no structures.
            del merged[name]
    _directives(merged, patch)
    return merged


def _directives(merged: Obj, patch: Obj) -> None:
    for name, item in patch.items():
        if name.startswith(_DELETE_FROM):
            field = name.removeprefix(_DELETE_FROM)
            merged[field] = [each for each in merged.get(field) or [] if each not in item]
        elif name == _RETAIN:
            for field in set(merged) - set(item):
                del merged[field]
        elif name.startswith("$") and name != "$patch" and not name.startswith(_ORDER):
            raise bad_request(f"unknown directive {name} in a strategic merge patch")


def _merge_list(schema: Obj, value: list[Any], patch: list[Any]) -> list[Any]:
    kind = schema.get("x-kubernetes-list-type")
    if kind == "set":
        return [*value, *(item for item in patch if item not in value)]
    if kind != "map" or any(item.get("$patch") == "replace" for item in patch):
        return [copy(item) for item in patch if "$patch" not in item] if kind == "map" else copy(patch)
    key = schema["x-kubernetes-list-map-keys"][0]
    merged = list(value)
    for item in patch:
        found = next((n for n, each in enumerate(merged) if each.get(key) == item.get(key)), None)
        if item.get("$patch") == "delete":
            merged = [each for each in merged if each.get(key) != item.get(key)]
        elif found is None:
            merged.append(strategic_merge(schema["items"], {}, item))
        else:
            merged[found] = strategic_merge(schema["items"], merged[found], item)
    return merged
