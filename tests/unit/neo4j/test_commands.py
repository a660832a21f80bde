from __future__ import annotations

import pytest

from controller.neo4j import commands
from controller.neo4j.quantity import GIB
from controller.neo4j.versions import Version


def a_backup(*databases: str) -> commands.Backup:
    return commands.Backup(databases=databases, to_path="/to", temp_path="/temp", page_cache=2 * GIB)


def test_a_backup_names_everything_and_puts_databases_last() -> None:
    assert a_backup("neo4j", "shop").argv("/bin/neo4j-admin") == [
        "/bin/neo4j-admin",
        "database",
        "backup",
        "--to-path=/to",
        "--temp-path=/temp",
        "--type=AUTO",
        "--compress=true",
        "--from=localhost:6362",
        "--include-metadata=all",
        "--pagecache=2048m",
        "--verbose",
        "neo4j",
        "shop",
    ]


def test_the_star_is_an_argument_of_its_own() -> None:
    assert a_backup("*").argv("x")[-1] == "*"


def test_system_is_called_without_metadata() -> None:
    assert not any("metadata" in argument for argument in a_backup("system").argv("x"))


def test_no_databases_would_mean_the_default_one_and_is_refused() -> None:
    with pytest.raises(ValueError, match="silently"):
        a_backup().argv("x")


@pytest.mark.parametrize(
    ("databases", "calls"),
    [
        ((), [("*",)]),
        (("neo4j", "*"), [("*",)]),
        (("system", "neo4j", "shop", "neo4j"), [("neo4j", "shop"), ("system",)]),
        (("system",), [("system",)]),
        (("neo4j",), [("neo4j",)]),
    ],
)
def test_system_gets_a_call_of_its_own(databases: tuple[str, ...], calls: list[tuple[str, ...]]) -> None:
    assert commands.split_calls(databases) == calls


def test_inspect_asks_for_metadata_where_that_is_not_the_default() -> None:
    old = commands.inspect("x", Version(5, 26, 3), "/to")
    new = commands.inspect("x", Version(2025, 7), "/to")
    assert old == ["x", "backup", "inspect", "--show-metadata", "--empty", "--format=TABULAR", "/to"]
    assert new == ["x", "backup", "inspect", "--empty", "--format=TABULAR", "/to"]


def test_the_other_command_lines() -> None:
    assert commands.version("x") == ["x", "--version"]
    shown = commands.show_databases("cypher-shell", "bolt://localhost:7687")
    assert shown[:3] == ["cypher-shell", "-a", "bolt://localhost:7687"]
    assert shown[-1].startswith("SHOW DATABASES YIELD name, ")


PLACES = commands.CheckPlaces(
    source="/from", temporary="/temp", report="/report", config="/conf", off_heap=2 * GIB
)


def test_a_check_says_what_it_may_use_and_where_it_may_write() -> None:
    assert commands.check("x", "shop", PLACES) == [
        "x",
        "database",
        "check",
        "--from-path=/from",
        "--temp-path=/temp",
        "--report-path=/report",
        "--additional-config=/conf",
        "--max-off-heap-memory=2048m",
        "--verbose",
        "shop",
    ]


@pytest.mark.parametrize(
    ("version", "words"),
    [
        (Version(5, 26, 3), ["database", "aggregate-backup"]),
        (Version(2025, 1, 0), ["backup", "aggregate"]),
    ],
)
def test_an_aggregation_has_its_releases_name_and_keeps_the_chain(version: Version, words: list[str]) -> None:
    command = commands.aggregate("x", version, PLACES)
    assert command[:3] == ["x", *words]
    assert "--keep-old-backup=true" in command
