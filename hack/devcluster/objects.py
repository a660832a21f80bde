"""The JSON border: what an object is here, and the few ways in which everyone looks into one.

An object that came out of the registry is shared by every reader; nobody changes one in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

Obj = dict[str, Any]
GroupResource = tuple[str, str]
"""API group ("" for core) and plural name."""

Key = tuple[str, str]
"""Namespace ("" for cluster-scoped objects) and name."""


def dig(value: Any, *path: str | int, default: Any = None) -> Any:
    """The value at ``path``, or ``default`` where any step is missing or null."""
    for step in path:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and -len(value) <= step < len(value):
            value = value[step]
        else:
            return default
        if value is None:
            return default
    return value


def copy(value: Any) -> Any:
    """A deep copy of JSON, several times as fast as :func:`copy.deepcopy`."""
    if isinstance(value, dict):
        return {key: copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copy(item) for item in value]
    return value


def key_of(obj: Obj) -> Key:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def version_of(obj: Obj) -> int:
    return int(obj["metadata"]["resourceVersion"])


def group_of(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def is_deleting(obj: Obj) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def timestamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
