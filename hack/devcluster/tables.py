"""``meta.k8s.io/v1`` Tables: what kubectl prints comes from the server."""

from __future__ import annotations

from typing import Any

from hack.devcluster.columns import age, columns_of
from hack.devcluster.jsonpath import find
from hack.devcluster.kinds import Column, Kind, Version
from hack.devcluster.objects import Obj


def table(
    kind: Kind, version: Version, objects: list[Obj], *, include: str = "Metadata", headed: bool = True
) -> Obj:
    """``include`` is what each row carries of its object: Metadata, Object or None."""
    columns = columns_of(kind.gr, version.columns)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": [_definition(column) for column in columns] if headed else None,
        "rows": [
            {"cells": [_cell(column, obj) for column in columns], **_carried(obj, include)} for obj in objects
        ],
    }


def _definition(column: Column) -> Obj:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _carried(obj: Obj, include: str) -> Obj:
    if include == "None":
        return {}
    return {"object": obj if include == "Object" else partial(obj)}


def partial(obj: Obj) -> Obj:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _cell(column: Column, obj: Obj) -> Any:
    if callable(column.path):
        value = column.path(obj)
        return "" if value is None else value
    found = find(column.path, obj)
    if not found:
        return None
    value = found[0] if len(found) == 1 else ",".join(map(str, found))
    return _typed(column, value)


def _typed(column: Column, value: Any) -> Any:
    match column.type:
        case "date":
            return age(value) if isinstance(value, str) else None
        case "integer":
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        case "number":
            return value if isinstance(value, int | float) and not isinstance(value, bool) else None
        case "boolean":
            return value if isinstance(value, bool) else None
        case _:
            return str(value).lower() if isinstance(value, bool) else str(value)
