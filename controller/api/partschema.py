"""Parts of a status → JSON Schema, for the definition only: the operator never loads this.

Guarantee: fields, names, limits and order are those of the class, and the descriptions are its docstring
and the strings under its fields, so that each is written down once. Non-guarantee: that the result is
structural; :mod:`controller.api.schema` sees to that.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from controller.api.model import JsonObject
from controller.api.parts import Part

_SIMPLE: dict[object, JsonObject] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    datetime: {"type": "string", "format": "date-time"},
}
_LIMITS = {"ge": "minimum", "le": "maximum", "min_length": "minLength", "max_length": "maxLength"}


def json_schema(part: type[Part]) -> JsonObject:
    """The schema of ``part`` with all parts below it in place.

    TypeError for a type that has none, KeyError for a field that nothing describes.
    """
    types, told = get_type_hints(part, include_extras=True), field_docstrings(part)
    fields = msgspec.structs.fields(part)
    return {
        "type": "object",
        "title": part.__name__,
        "description": part.__doc__,
        "properties": {
            field.encode_name: _schema(types[field.name]) | {"description": told[field.name]}
            for field in fields
        },
        "required": [field.encode_name for field in fields if field.required],
    }


def field_docstrings(cls: type) -> dict[str, str]:
    """The string literal under each field of ``cls`` that has one, from the source."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)
    return {
        field.target.id: below.value.value
        for field, below in itertools.pairwise(definition.body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
        if isinstance(below.value.value, str)
    }


def _schema(kind: Any) -> JsonObject:
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    if hasattr(kind, "__metadata__"):
        return _limited(_schema(kind.__origin__), kind.__metadata__)
    if get_origin(kind) is tuple:
        return {"type": "array", "items": _schema(get_args(kind)[0])}
    if get_origin(kind) is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if get_origin(kind) in (Union, UnionType):
        options = [option for option in get_args(kind) if option is not NoneType]
        if len(options) == 1:
            return _schema(options[0])
    if isinstance(kind, type) and issubclass(kind, Part):
        return json_schema(kind)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return {"type": "string", "enum": [member.value for member in kind]}
    raise TypeError(f"a part of a status cannot hold {kind}")


def _limited(schema: JsonObject, metadata: tuple[Meta, ...]) -> JsonObject:
    for meta in metadata:
        limits = {name: getattr(meta, key) for key, name in _LIMITS.items()}
        schema = schema | {name: limit for name, limit in limits.items() if limit is not None}
        schema = schema | (meta.extra_json_schema or {})
    return schema
