"""Reads manifests the way kustomize does: resources, directories of resources, one namespace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml

from controller.api.model import JsonObject

ROOT = Path(__file__).parents[3] / "manifests"


def documents(path: Path) -> list[JsonObject]:
    """The objects of one file."""
    return [item for item in yaml.safe_load_all(path.read_text(encoding="utf-8")) if item]


def built(directory: Path) -> Iterator[JsonObject]:
    """The objects of a kustomization, without its transformations."""
    for name in documents(directory / "kustomization.yaml")[0]["resources"]:
        path = (directory / name).resolve()
        if path.is_dir():
            yield from built(path)
        else:
            yield from documents(path)


def only(objects: list[JsonObject], kind: str, name: str = "") -> JsonObject:
    """The one object of that kind (and name)."""
    (found,) = [o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"])]
    return found
