from __future__ import annotations

import pytest

from controller.neo4j.names import ArtifactName, normalise, parse_artifact, refusal


@pytest.mark.parametrize(
    ("file", "database"),
    [
        ("neo4j-2024-10-07T16-05-37.backup", "neo4j"),
        ("my-shop.v2-2024-10-07T16-05-37.backup", "my-shop.v2"),
        ("a-2020-01-01T00-00-00-2024-10-07T16-05-37.backup", "a-2020-01-01T00-00-00"),
    ],
)
def test_artifact_names_are_taken_apart_from_the_right(file: str, database: str) -> None:
    found = parse_artifact(file)
    assert found == ArtifactName(database, "2024-10-07T16-05-37")
    assert str(found) == file


@pytest.mark.parametrize(
    "file",
    [
        "neo4j.dump",
        "neo4j-2024-10-07.backup",
        "neo4j-2024-10-07T16-05-37.backup.failed",
        "x/neo4j-2024-10-07T16-05-37.backup",
    ],
)
def test_everything_else_is_no_artifact(file: str) -> None:
    assert parse_artifact(file) is None


@pytest.mark.parametrize("name", ["neo4j", "System", "a-b.c1", "*", "x" * 63])
def test_exact_names_and_the_star_are_taken(name: str) -> None:
    assert refusal(name) == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sales*", "pattern"),
        ("foo?", "pattern"),
        ("a b", "no database name"),
        ("--from=x", "no database name"),
        ("", "no database name"),
        ("x" * 64, "no database name"),
        ("../x", "no database name"),
        ("neo4j\n", ""),
    ],
)
def test_patterns_and_nonsense_are_refused(name: str, told: str) -> None:
    assert (told in refusal(name)) if told else refusal(name) == ""


def test_names_are_case_insensitive() -> None:
    assert normalise(" Neo4j ") == "neo4j"
