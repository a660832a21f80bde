"""Models → the structural OpenAPI v3 schema of a CustomResourceDefinition.

Guarantee: the result is structural: every ``$ref`` is inlined, every node has a type, an optional field
is a field that may be absent, and what a structural schema cannot say (recursion, unions, free-form
objects) is refused here instead of by an API server. ``x-kubernetes-int-or-string`` never comes out:
one such field anywhere makes Kubernetes 1.20 treat every list of the kind as atomic in a server-side
apply.

Non-guarantee: that the CEL rules compile is known to a server from 1.25 on, not here.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from controller.api import partschema
from controller.api.model import JsonObject, Model
from controller.api.parts import Part

_KEPT = (
    "type",
    "description",
    "default",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_DROPPED = ("title", "properties", "required", "items", "$ref", "const", "anyOf", "$defs")


class NotStructuralError(TypeError):
    """A model says something that a CustomResourceDefinition cannot."""


def schema_of(model: type[Model], *, cel: bool) -> JsonObject:
    """The schema of ``model``; ``cel`` adds the rules as ``x-kubernetes-validations``."""
    raw: JsonObject = model.model_json_schema(by_alias=True, mode="validation")
    rules = _rules_by_title(model) if cel else {}
    return _Converter(raw.get("$defs", {}), rules).convert(raw, ())


def schema_of_part(part: type[Part]) -> JsonObject:
    """The schema of a part of a status."""
    return _Converter({}, {}).convert(partschema.json_schema(part), ())


def _rules_by_title(root: type[Model]) -> dict[str, list[JsonObject]]:
    rules: dict[str, list[JsonObject]] = {}
    queue: list[type[Model]] = [root]
    while queue:
        model = queue.pop()
        if model.__name__ in rules:
            continue
        rules[model.__name__] = [{"rule": rule.cel, "message": rule.message} for rule in model.rules]
        queue += _models_below(model)
    return rules


def _models_below(model: type[BaseModel]) -> list[type[Model]]:
    found: list[type[Model]] = []
    pending: list[Any] = [field.annotation for field in model.model_fields.values()]
    while pending:
        annotation = pending.pop()
        if isinstance(annotation, type) and issubclass(annotation, Model):
            found.append(annotation)
        pending += getattr(annotation, "__args__", ())
    return found


class _Converter:
    def __init__(self, definitions: JsonObject, rules: dict[str, list[JsonObject]]) -> None:
        self._definitions = definitions
        self._rules = rules
        self._open: list[str] = []

    def convert(self, node: JsonObject, path: tuple[str, ...]) -> JsonObject:
        node = self._resolved(node, path)
        unknown = [key for key in node if key not in _KEPT and key not in _DROPPED]
        if unknown:
            raise NotStructuralError(f"{'.'.join(path)}: {', '.join(unknown)} cannot be expressed")
        if "type" not in node:
            raise NotStructuralError(f"{'.'.join(path)}: has no type")
        result = {key: node[key] for key in _KEPT if key in node}
        if "description" in result:
            result["description"] = " ".join(result["description"].split())
        if node["type"] == "object":
            result |= self._object(node, path)
        elif node["type"] == "array":
            result["items"] = self.convert(node["items"], (*path, "[]"))
        return result

    def _object(self, node: JsonObject, path: tuple[str, ...]) -> JsonObject:
        if "properties" not in node:
            raise NotStructuralError(f"{'.'.join(path)}: an object without properties")
        if node["title"] in self._open:
            raise NotStructuralError(f"{'.'.join(path)}: {node['title']} contains itself")
        self._open.append(node["title"])
        properties = {name: self.convert(child, (*path, name)) for name, child in node["properties"].items()}
        self._open.pop()
        result: JsonObject = {"properties": properties}
        if node.get("required"):
            result["required"] = node["required"]
        if self._rules.get(node["title"]):
            result["x-kubernetes-validations"] = self._rules[node["title"]]
        return result

    def _resolved(self, node: JsonObject, path: tuple[str, ...]) -> JsonObject:
        """``node`` with references inlined, ``X or null`` made optional and constants made enums.

        What stands beside a reference (the field's own description) wins over what it refers to.
        """
        if "anyOf" in node:
            options = [option for option in node["anyOf"] if option != {"type": "null"}]
            if len(options) != 1:
                raise NotStructuralError(f"{'.'.join(path)}: a union cannot be expressed")
            rest = {key: value for key, value in node.items() if key != "anyOf"}
            return self._resolved(options[0] | rest, path)
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            rest = {key: value for key, value in node.items() if key != "$ref"}
            return self._resolved(self._definitions[name] | rest, path)
        if "const" in node:
            node = node | {"enum": [node["const"]]}
        return _with_honest_default(node)


def _with_honest_default(node: JsonObject) -> JsonObject:
    """No default that says nothing (null, an empty list) in every stored object; of an object only that
    it is there, since its fields bring their own."""
    default = node.get("default", ...)
    if isinstance(default, dict):
        return node | {"default": {}}
    if default is None or default == []:
        return {key: value for key, value in node.items() if key != "default"}
    return node
