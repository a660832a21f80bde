"""Every rule: what it refuses, with which words, and that the API server and the model agree."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from controller.api import backup
from controller.api.model import InvalidObject, JsonObject
from controller.api.schema import schema_of
from tests.unit.api import cel
from tests.unit.api.cases import BROKEN, VALID

SCHEMA: JsonObject = schema_of(backup.BackupSpec, cel=True)


def refusals_by_cel(schema: JsonObject, value: Any) -> Iterator[str]:
    """The messages of an API server that evaluates the rules of ``schema``."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if not cel.evaluate(rule["rule"], value):
            yield rule["message"]
    for name, child in schema.get("properties", {}).items():
        if name in value and child["type"] == "object":
            yield from refusals_by_cel(child, value[name])


def refusals_by_model(value: JsonObject) -> str:
    try:
        backup.parse_spec(json.dumps(value).encode())
    except InvalidObject as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", VALID)
def test_a_valid_spec_passes_both(name: str) -> None:
    assert refusals_by_model(VALID[name]) == ""
    assert list(refusals_by_cel(SCHEMA, VALID[name])) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_spec_gets_the_same_words_from_both(name: str) -> None:
    value, message = BROKEN[name]
    by_cel = list(refusals_by_cel(SCHEMA, value))
    assert any(message in text for text in by_cel)
    by_model = refusals_by_model(value)
    assert all(text in by_model for text in by_cel)


def all_rules() -> list[str]:
    found: list[str] = []
    pending = [SCHEMA]
    while pending:
        schema = pending.pop()
        found += [rule["message"] for rule in schema.get("x-kubernetes-validations", ())]
        pending += schema.get("properties", {}).values()
    return found


def test_every_rule_has_a_spec_that_breaks_it() -> None:
    broken = {text for value, _ in BROKEN.values() for text in refusals_by_cel(SCHEMA, value)}
    assert set(all_rules()) == broken


def test_what_a_server_without_cel_lets_through_is_refused_with_the_place() -> None:
    assert refusals_by_model(BROKEN["no bucket"][0]) == (
        "spec.storage: bucket is required for storage types s3, gcs and azure"
    )


def test_all_problems_of_a_spec_are_told_at_once() -> None:
    value = BROKEN["no bucket"][0] | {"retention": {"maxAge": "x"}, "options": {"pageCache": "y"}}
    with pytest.raises(InvalidObject) as refused:
        backup.parse_spec(json.dumps(value).encode())
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "spec.storage",
        "spec.retention",
        "spec.options",
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"storage": {"type": "pvc", "pvc": {"size": "1Gi"}}}, "spec.target: is required"),
        (
            BROKEN["no bucket"][0] | {"storage": {"type": "nfs"}},
            "spec.storage.type: must be 's3', 'gcs', 'azure' or 'pvc', not 'nfs'",
        ),
        (
            VALID["plain"] | {"retention": {"maxCount": 0}},
            "spec.retention.maxCount: must be greater than or equal to 1, not 0",
        ),
        (
            VALID["new claim"] | {"options": {"additionalArgs": [1]}},
            "spec.options.additionalArgs[0]: must be a valid string, not 1",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write(value: JsonObject, problem: str) -> None:
    assert refusals_by_model(value) == problem


def test_text_that_is_no_json_is_refused_and_not_a_crash() -> None:
    with pytest.raises(InvalidObject):
        backup.parse_spec(b"[1")
