"""The custom resource type of the contract suite, and objects for it."""

from __future__ import annotations

from typing import Any

from tests.contract.api import Json

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def _named(*required: str, **properties: Json) -> Json:
    """An object type."""
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer"}


def _by(key: str, items: Json) -> Json:
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": [key],
        "items": items,
    }


def schema() -> Json:
    spec = _named(
        "size",
        size=NUMBER | {"minimum": 1, "maximum": 100},
        color=TEXT | {"enum": ["red", "blue"], "default": "red"},
        code=TEXT | {"pattern": "^[a-z]+$", "maxLength": 5},
        owner=TEXT | {"nullable": True},
        parts=_by("name", _named("name", name=TEXT, count=NUMBER, unit=TEXT | {"default": "piece"})),
        tags={"type": "array", "items": TEXT, "maxItems": 3},
        labels={"type": "object", "additionalProperties": TEXT},
        free={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    condition = _named("type", "status", type=TEXT, status=TEXT, reason=TEXT)
    status = _named(phase=TEXT, conditions=_by("type", condition))
    return _named("spec", spec=spec, status=status)


def definition(group: str) -> Json:
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
            {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "schema": {"openAPIV3Schema": schema()},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "shortNames": ["wd"]},
            "versions": [version],
        },
    }


def widget(group: str, name: str, metadata: Json | None = None, **spec: Any) -> Json:
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": name, **(metadata or {})},
        "spec": {"size": 1, **spec},
    }


def stateful_set(name: str, *containers: Json) -> Json:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": 0,
            "serviceName": name,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": list(containers) or [{"name": "main", "image": "example.com/main:1"}]},
            },
        },
    }
