"""Installs manifests without kubectl, for the demo: what kustomize does with the base, and nothing more.

Guarantee: the objects are those of the files, with the namespace and the image that were asked for.
Non-guarantee: of a kustomization only ``resources`` and ``namespace`` are understood; end-to-end tests
install with kubectl itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from controller.kube.client import Client
from controller.kube.resource import Resource

Json = dict[str, Any]
FIELD_MANAGER = "demo"

_CLUSTER_WIDE = frozenset({"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"})
_PLURALS = {
    "Neo4jEnterpriseCluster": "neo4jenterpriseclusters",
    "Neo4jEnterpriseStandalone": "neo4jenterprisestandalones",
    "Neo4jBackup": "neo4jbackups",
}


def load(kustomization: Path) -> list[Json]:
    """All objects below a directory with a ``kustomization.yaml``, in the order of its resources."""
    settings: Json = yaml.safe_load((kustomization / "kustomization.yaml").read_text(encoding="utf-8"))
    objects: list[Json] = []
    for entry in settings["resources"]:
        path = kustomization / entry
        objects += load(path) if path.is_dir() else _documents(path)
    return [_placed(obj, settings.get("namespace", "")) for obj in objects]


def with_image(objects: Iterable[Json], name: str, image: str) -> Iterator[Json]:
    """Every mention of an image ``name``, in containers and in variables, as ``image``."""
    for obj in objects:
        text = yaml.safe_dump(obj)
        replaced = "\n".join(
            line.split(name)[0] + image if _mentions(line, name) else line for line in text.splitlines()
        )
        yield yaml.safe_load(replaced)


async def apply(client: Client, objects: Iterable[Json]) -> None:
    """Server-side apply, one after the other. Raises KubeError."""
    for obj in objects:
        await client.apply(resource_of(obj), obj, field_manager=FIELD_MANAGER)


def resource_of(obj: Json) -> Resource:
    group, _, version = obj["apiVersion"].rpartition("/")
    kind: str = obj["kind"]
    plural = _PLURALS.get(kind, kind.lower() + "s")
    return Resource(group, version, plural, kind, kind not in _CLUSTER_WIDE)


def _documents(path: Path) -> list[Json]:
    return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]


def _placed(obj: Json, namespace: str) -> Json:
    if namespace and obj["kind"] not in _CLUSTER_WIDE:
        return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}
    return obj


def _mentions(line: str, name: str) -> bool:
    key, _, value = line.strip().removeprefix("- ").partition(": ")
    return key in ("image", "value") and value.split(":")[0] == name
