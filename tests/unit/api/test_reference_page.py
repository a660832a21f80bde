"""The reference page: every field of the definition, every command of the user's reference."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from controller.api.crds import backup_schema
from controller.api.model import JsonObject
from controller.api.status import CONDITION_TYPES
from controller.api.syntax import RESERVED_ARGUMENTS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "reference" / "neo4jbackup.md").read_text(encoding="utf-8")
CODE = set(re.findall(r"`([^`\n]+)`", PAGE))


def values(schema: JsonObject, wanted: str) -> Iterator[str]:
    yield from schema.get("properties", {}) if wanted == "name" else schema.get("enum", ())
    for child in [*schema.get("properties", {}).values(), *filter(None, [schema.get("items")])]:
        yield from values(child, wanted)


def test_every_field_is_on_the_page() -> None:
    assert set(values(backup_schema(cel=False), "name")) - {"spec"} - CODE == set()


def test_every_value_of_an_enum_is_on_the_page() -> None:
    modes = {"ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod", "True", "False", "Unknown"}
    assert set(values(backup_schema(cel=False), "enum")) - modes - CODE == set()


def test_every_condition_and_every_refused_argument_is_on_the_page() -> None:
    assert set(CONDITION_TYPES) <= CODE
    assert {f"--{name}" for name in RESERVED_ARGUMENTS} <= CODE


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / "reference" / link).exists(), link
