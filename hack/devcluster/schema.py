"""Structural schemas at work: prune, default, validate, as the API server does in that order.

Guarantee: an unknown field is dropped (and named to whoever asks for strictness), a missing one with a
default appears, and what breaks the schema is reported in the server's words, every fault at once.
Non-guarantee: of string formats only date-time is checked. CEL rules are :mod:`rules`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from hack.devcluster.errors import Cause, invalid_field, required, shown
from hack.devcluster.models import resolve
from hack.devcluster.objects import Obj, copy
from hack.devcluster.quantities import canonical

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_OBJECT_META = frozenset({"apiVersion", "kind", "metadata"})


def prune(schema: Obj, value: Any, path: str = "", *, drop_null: bool = False) -> list[str]:
    """Drop from ``value``, in place, what ``schema`` does not know; returns the dropped fields' paths.

    A null that the schema does not allow is dropped as if it had not been said. ``drop_null`` is for
    built-in types, where every null is a field that is not there.
    """
    return list(_prune(schema, value, path, drop_null))


def _prune(schema: Obj, value: Any, path: str, drop_null: bool) -> Iterator[str]:
    schema = resolve(schema)
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _prune(schema.get("items") or {}, item, f"{path}[{index}]", drop_null)
    elif isinstance(value, dict):
        yield from _prune_object(schema, value, path, drop_null)


def _prune_object(schema: Obj, value: Obj, path: str, drop_null: bool) -> Iterator[str]:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    embedded = _OBJECT_META if schema.get("x-kubernetes-embedded-resource") else frozenset()
    keeps = schema.get(_PRESERVE) or (additional is True)
    for name in list(value):
        where = f"{path}.{name}" if path else name
        if name in properties:
            if value[name] is None and (drop_null or not resolve(properties[name]).get("nullable")):
                del value[name]
            else:
                yield from _prune(properties[name], value[name], where, drop_null)
        elif isinstance(additional, dict):
            yield from _prune(additional, value[name], where, drop_null)
        elif not keeps and name not in embedded:
            del value[name]
            yield where


def default(schema: Obj, value: Any) -> None:
    """Fill in, in place, the defaults of missing properties."""
    schema = resolve(schema)
    if isinstance(value, list):
        for item in value:
            default(schema.get("items") or {}, item)
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        for name, property_ in properties.items():
            if name not in value and "default" in property_:
                value[name] = copy(property_["default"])
            if name in value:
                value[name] = _normal(property_, value[name])
                default(property_, value[name])
        additional = schema.get("additionalProperties")
        if isinstance(additional, dict):
            for name in value.keys() - properties.keys():
                value[name] = _normal(additional, value[name])
                default(additional, value[name])


def _normal(schema: Obj, value: Any) -> Any:
    is_scalar = isinstance(value, int | float | str) and not isinstance(value, bool)
    return canonical(str(value)) if schema.get("format") == "quantity" and is_scalar else value


def validate(schema: Obj, value: Any, path: str = "") -> list[Cause]:
    return list(_validate(schema, value, path))


def _validate(schema: Obj, value: Any, path: str) -> Iterator[Cause]:
    schema = resolve(schema)
    if value is None and schema.get("nullable"):
        return
    fault = _type_fault(schema, value, path)
    if fault:
        yield fault
        return
    yield from _value_faults(schema, value, path)
    if isinstance(value, dict):
        yield from _object_faults(schema, value, path)
    elif isinstance(value, list):
        yield from _list_faults(schema, value, path)
    yield from _combination_faults(schema, value, path)


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "object": dict,
    "array": list,
}


def type_name(value: Any) -> str:
    if value is None:
        return "null"
    order = ("boolean", "string", "integer", "number", "object", "array")
    return next(name for name in order if isinstance(value, _TYPES[name]))


def _type_fault(schema: Obj, value: Any, path: str) -> Cause | None:
    wanted = schema.get("type")
    if schema.get(_INT_OR_STRING):
        numbers = (int, float) if schema.get("format") == "quantity" else (int,)
        fits = isinstance(value, (str, *numbers)) and not isinstance(value, bool)
        wanted = "integer,string"
    elif wanted is None:
        return None
    else:
        fits = isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))
        if wanted == "integer" and isinstance(value, float):
            fits = value.is_integer()
    if fits:
        return None
    actual = type_name(value)
    message = f'Invalid value: "{actual}": {path} in body must be of type {wanted}: "{actual}"'
    return Cause(path, "FieldValueTypeInvalid", message)


def _value_faults(schema: Obj, value: Any, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        options = ", ".join(shown(option) for option in schema["enum"])
        message = f"Unsupported value: {shown(value)}: supported values: {options}"
        yield Cause(path, "FieldValueNotSupported", message)
    if isinstance(value, str):
        yield from _string_faults(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_faults(schema, value, path)


def _string_faults(schema: Obj, value: str, path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minLength", 0):
        least = schema["minLength"]
        yield invalid_field(path, value, f"{path} in body should be at least {least} chars long")
    if len(value) > schema.get("maxLength", len(value)):
        message = f"Too long: may not be more than {schema['maxLength']} bytes"
        yield Cause(path, "FieldValueTooLong", message)
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern, value):
        yield invalid_field(path, value, f"{path} in body should match '{pattern}'")
    if schema.get("format") == "date-time" and not _is_date_time(value):
        yield invalid_field(path, value, f"{path} in body must be of type date-time: {shown(value)}")


def _is_date_time(value: str) -> bool:
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).tzinfo is not None
    except ValueError:
        return False


def _number_faults(schema: Obj, value: float, path: str) -> Iterator[Cause]:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and (value <= least if schema.get("exclusiveMinimum") else value < least):
        than = "greater than" if schema.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_field(path, value, f"{path} in body should be {than} {least}")
    if most is not None and (value >= most if schema.get("exclusiveMaximum") else value > most):
        than = "less than" if schema.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_field(path, value, f"{path} in body should be {than} {most}")
    step = schema.get("multipleOf")
    if step and value % step:
        yield invalid_field(path, value, f"{path} in body should be a multiple of {step}")


def _object_faults(schema: Obj, value: Obj, path: str) -> Iterator[Cause]:
    prefix = f"{path}." if path else ""
    yield from (required(f"{prefix}{name}") for name in schema.get("required") or () if name not in value)
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, item in value.items():
        if name in properties:
            yield from _validate(properties[name], item, f"{prefix}{name}")
        elif isinstance(additional, dict):
            yield from _validate(additional, item, f"{prefix}{name}")
    if len(value) < schema.get("minProperties", 0):
        least = schema["minProperties"]
        yield invalid_field(path, len(value), f"{path} in body should have at least {least} properties")
    if len(value) > schema.get("maxProperties", len(value)):
        yield Cause(
            path,
            "FieldValueTooMany",
            f"Too many: {len(value)}: must have at most {schema['maxProperties']} items",
        )


def _list_faults(schema: Obj, value: list[Any], path: str) -> Iterator[Cause]:
    for index, item in enumerate(value):
        yield from _validate(schema.get("items") or {}, item, f"{path}[{index}]")
    if len(value) < schema.get("minItems", 0):
        yield invalid_field(
            path, len(value), f"{path} in body should have at least {schema['minItems']} items"
        )
    if len(value) > schema.get("maxItems", len(value)):
        yield Cause(
            path, "FieldValueTooMany", f"Too many: {len(value)}: must have at most {schema['maxItems']} items"
        )
    yield from _duplicates(schema, value, path)


def _duplicates(schema: Obj, value: list[Any], path: str) -> Iterator[Cause]:
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("map", "set"):
        return
    keys = schema.get("x-kubernetes-list-map-keys") or ()
    seen: list[Any] = []
    for index, item in enumerate(value):
        if isinstance(item, dict):
            identity: Any = {key: item.get(key) for key in keys} if kind == "map" else item
        else:
            identity = item
        if identity in seen:
            told = (
                "{" + ", ".join(f'"{k}":{shown(v)}' for k, v in identity.items()) + "}"
                if kind == "map"
                else shown(item)
            )
            yield Cause(f"{path}[{index}]", "FieldValueDuplicate", f"Duplicate value: {told}")
        seen.append(identity)


def _combination_faults(schema: Obj, value: Any, path: str) -> Iterator[Cause]:
    for part in schema.get("allOf") or ():
        yield from _validate(part, value, path)
    if schema.get(_INT_OR_STRING):
        return
    passing = {
        word: sum(not validate(part, value, path) for part in schema[word])
        for word in ("anyOf", "oneOf")
        if schema.get(word)
    }
    if passing.get("anyOf") == 0:
        yield invalid_field(path, "", f"{path} in body must validate at least one schema (anyOf)")
    if passing.get("oneOf", 1) != 1:
        yield invalid_field(path, "", f"{path} in body must validate one and only one schema (oneOf)")
    if "not" in schema and not validate(schema["not"], value, path):
        yield invalid_field(path, "", f"{path} in body must not validate the schema (not)")
