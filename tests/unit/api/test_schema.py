"""The schema of the custom resource: structural, complete against the reference, safe on old servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pydantic import Field

from controller.api.crds import backup_schema
from controller.api.model import JsonObject, Model
from controller.api.parts import Part
from controller.api.schema import NotStructuralError, schema_of, schema_of_part

SCHEMA = backup_schema(cel=True)
LEGACY = backup_schema(cel=False)

REFERENCE = {
    "spec": "target storage schedule cloud retention options suspend",
    "spec.target": "kind name namespace",
    "spec.storage": "type bucket path cloud pvc",
    "spec.storage.cloud": "provider region credentialsSecret",
    "spec.cloud": "provider region credentialsSecret",
    "spec.storage.pvc": "name size storageClass accessModes",
    "spec.retention": "maxAge maxCount deletePolicy",
    "spec.options": "backupType maxChainLength compress pageCache encryption verifyBackup verify "
    "additionalArgs",
    "spec.options.encryption": "enabled keySecret algorithm",
    "status": "conditions phase message lastRunTime lastSuccessTime nextRunTime stats history",
    "status.stats": "size duration throughput fileCount",
    "status.history.[]": "startTime completionTime status error stats",
    "status.conditions.[]": "type status observedGeneration lastTransitionTime reason message",
}
ENUMS = {
    "spec.target.kind": ["Cluster", "Database"],
    "spec.storage.type": ["s3", "gcs", "azure", "pvc"],
    "spec.cloud.provider": ["aws", "gcp", "azure"],
    "spec.retention.deletePolicy": ["Delete", "Archive"],
    "spec.options.backupType": ["FULL", "DIFF", "AUTO"],
    "spec.options.encryption.algorithm": ["AES256", "ChaCha20"],
    "status.phase": ["Pending", "Running", "Completed", "Failed", "Scheduled", "Suspended"],
}
DEFAULTS = {
    "spec.suspend": False,
    "spec.options": {},
    "spec.storage.pvc.accessModes": ["ReadWriteOnce"],
    "spec.retention.deletePolicy": "Delete",
    "spec.options.backupType": "AUTO",
    "spec.options.maxChainLength": 14,
    "spec.options.compress": True,
    "spec.options.encryption.enabled": False,
    "spec.options.encryption.algorithm": "AES256",
}


def at(path: str, schema: JsonObject = SCHEMA) -> JsonObject:
    for step in path.split("."):
        schema = schema["items"] if step == "[]" else schema["properties"][step]
    return schema


def nodes(schema: JsonObject) -> Iterator[JsonObject]:
    yield schema
    for child in schema.get("properties", {}).values():
        yield from nodes(child)
    if "items" in schema:
        yield from nodes(schema["items"])


@pytest.mark.parametrize("path", REFERENCE)
def test_every_field_of_the_reference_is_there(path: str) -> None:
    assert set(REFERENCE[path].split()) <= set(at(path)["properties"])


@pytest.mark.parametrize("path", ENUMS)
def test_every_enum_of_the_reference_is_there(path: str) -> None:
    assert at(path)["enum"] == ENUMS[path]


def test_the_defaults_are_those_of_the_reference_and_no_others() -> None:
    def collected(schema: JsonObject, path: str) -> Iterator[tuple[str, object]]:
        if "default" in schema:
            yield path, schema["default"]
        for name, child in schema.get("properties", {}).items():
            yield from collected(child, f"{path}.{name}" if path else name)

    assert dict(collected(SCHEMA, "")) == DEFAULTS


def test_what_is_required_is_what_the_reference_requires() -> None:
    assert at("spec")["required"] == ["target", "storage"]
    assert at("spec.target")["required"] == ["kind", "name"]
    assert at("spec.storage")["required"] == ["type"]
    assert at("spec.cloud")["required"] == ["provider", "region"]
    assert "required" not in at("spec.options")
    assert "required" not in at("status")


@pytest.mark.parametrize("schema", [SCHEMA, LEGACY])
def test_it_is_structural(schema: JsonObject) -> None:
    for node in nodes(schema):
        assert node["type"] in {"object", "array", "string", "integer", "boolean"}
        assert not {"$ref", "anyOf", "oneOf", "allOf", "title", "const", "nullable"} & set(node)
        assert ("items" in node) == (node["type"] == "array")
        assert ("properties" in node) == (node["type"] == "object")


@pytest.mark.parametrize("schema", [SCHEMA, LEGACY])
def test_nothing_is_int_or_string(schema: JsonObject) -> None:
    assert not [node for node in nodes(schema) if "x-kubernetes-int-or-string" in node]


def test_only_the_current_variant_has_rules_and_nothing_else_differs() -> None:
    def without_rules(schema: JsonObject) -> JsonObject:
        result = {key: value for key, value in schema.items() if key != "x-kubernetes-validations"}
        if "properties" in result:
            result["properties"] = {
                name: without_rules(child) for name, child in result["properties"].items()
            }
        if "items" in result:
            result["items"] = without_rules(result["items"])
        return result

    assert SCHEMA != LEGACY
    assert without_rules(SCHEMA) == LEGACY


def test_every_field_is_explained_in_one_line() -> None:
    for node in nodes(SCHEMA):
        for name, child in node.get("properties", {}).items():
            assert child.get("description"), name
            assert "\n" not in child["description"]


def test_conditions_merge_by_type() -> None:
    conditions = at("status.conditions")
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert "type" in conditions["items"]["required"]


def test_times_and_numbers_have_their_formats() -> None:
    assert at("status.lastRunTime") | {"description": ""} == {
        "type": "string",
        "format": "date-time",
        "description": "",
    }
    assert at("spec.retention.maxCount")["format"] == "int32"
    assert at("spec.retention.maxCount")["minimum"] == 1


def test_what_rules_look_at_is_bounded_as_their_cost_estimate_needs() -> None:
    for node in nodes(at("spec")):
        for name, child in node.get("properties", {}).items():
            if child["type"] == "string" and "enum" not in child:
                assert "maxLength" in child, name
            if child["type"] == "array":
                assert "maxItems" in child, name


class Recursive(Model):
    """Holds itself."""

    child: Recursive | None = None
    """Itself."""


class Union(Model):
    """Holds one of two."""

    value: int | str = 1
    """Either."""


class Free(Model):
    """Holds anything."""

    value: dict[str, str] = Field(default_factory=dict)
    """Anything."""


@pytest.mark.parametrize("model", [Recursive, Union, Free])
def test_what_a_definition_cannot_say_is_refused(model: type[Model]) -> None:
    with pytest.raises(NotStructuralError):
        schema_of(model, cel=True)


class EitherPart(Part, frozen=True, gc=False, kw_only=True):
    """Holds one of two."""

    value: int | str = 1
    """Either."""


class FreePart(Part, frozen=True, gc=False, kw_only=True):
    """Holds anything."""

    value: dict[str, str] | None = None
    """Anything."""


class ListPart(Part, frozen=True, gc=False, kw_only=True):
    """Holds what can be changed."""

    value: list[str]
    """Not frozen."""


@pytest.mark.parametrize("part", [EitherPart, FreePart, ListPart])
def test_what_a_definition_cannot_say_is_refused_in_a_status(part: type[Part]) -> None:
    with pytest.raises(TypeError, match="a part of a status cannot hold"):
        schema_of_part(part)


class Explained(Part, frozen=True, gc=False, kw_only=True):
    """Holds

    two."""

    LIMIT = 3
    """No field."""
    first_one: str | None = None
    """What it is,
    in two lines."""
    second: bool
    """What it is."""


def test_a_part_is_explained_by_the_strings_under_its_fields() -> None:
    assert schema_of_part(Explained) == {
        "type": "object",
        "description": "Holds two.",
        "properties": {
            "firstOne": {"type": "string", "description": "What it is, in two lines."},
            "second": {"type": "boolean", "description": "What it is."},
        },
        "required": ["second"],
    }


class Unexplained(Part, frozen=True, gc=False, kw_only=True):
    """Says nothing of its field."""

    first: str | None = None


def test_a_field_that_nothing_explains_is_refused() -> None:
    with pytest.raises(KeyError, match="first"):
        schema_of_part(Unexplained)
