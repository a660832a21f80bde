from __future__ import annotations

import pytest

from controller.neo4j.output import Event, Step, failures, last_error, parse_line

PREFIX = "2024-05-04 17:21:27.123+0000 INFO  [c.n.b.b.BackupOutputMonitor] "


@pytest.mark.parametrize(
    ("line", "event"),
    [
        ("Starting backup of database 'neo4j' from servers: [localhost:6362]", Event(Step.STARTED, "neo4j")),
        ("Start backup of database 'neo4j'.", Event(Step.STARTED, "neo4j")),
        ("Start full backup of database 'my-shop.v2'.", Event(Step.FULL, "my-shop.v2")),
        ("Start differential backup of database 'neo4j'.", Event(Step.DIFFERENTIAL, "neo4j")),
        ("Start receiving store files for database 'neo4j'.", Event(Step.RECEIVING, "neo4j")),
        ("Finished receiving store files for database 'neo4j', took 1s", Event(Step.RECEIVED, "neo4j")),
        (
            "Differential backup of database 'x' failed. Reason: Differential backups require a full",
            Event(Step.FAILED, "x", "Differential backups require a full"),
        ),
        (
            "Falling back to full backup of database 'x'.",
            Event(Step.FALLBACK, "x", "Falling back to full backup"),
        ),
        (
            "Finished artifact creation 'neo4j-2023-05-04T17-21-27.backup' for database 'Neo4j', took 121ms.",
            Event(Step.FINISHED, "neo4j", "neo4j-2023-05-04T17-21-27.backup"),
        ),
        (
            "Execution of backup failed. Database 'gone' was not found or not running",
            Event(Step.FAILED, "gone", "Database 'gone' was not found or not running"),
        ),
        ("Backup command completed.", None),
        ("Finished full backup of database 'neo4j'. Downloaded from tx -1 to tx 5.", None),
    ],
)
def test_lines_tell_how_far_it_is(line: str, event: Event | None) -> None:
    assert parse_line(PREFIX + line) == event
    assert parse_line(line) == event


def test_the_last_error_is_one_clean_line() -> None:
    output = f"""\
Picked up JAVA_TOOL_OPTIONS: -Dx
{PREFIX}Start backup of database 'neo4j'.
org.neo4j.cli.CommandFailedException: Execution of backup failed.
\tat org.neo4j.cli.Main.main(Main.java:1)
Caused by: java.io.IOException: No space left on device
\tat java.base/sun.nio.ch.write0(Native Method)
\t... 12 more
Run with '--verbose' for a more detailed error message.
"""
    assert last_error(output.splitlines()) == "No space left on device"


def test_usage_errors_are_found_above_the_usage() -> None:
    output = "Unknown option: '--x'\nUsage: neo4j-admin database backup\n"
    assert last_error(output.splitlines()) == "Unknown option: '--x'"


def test_silence_is_an_empty_error_and_plain_words_are_better_than_nothing() -> None:
    assert last_error([]) == ""
    assert (
        last_error(["", PREFIX + "Start backup of database 'neo4j'."]) == "Start backup of database 'neo4j'."
    )


def test_a_fallback_heals_a_failure() -> None:
    events = [
        Event(Step.FAILED, "a", "no parent"),
        Event(Step.FALLBACK, "a"),
        Event(Step.FAILED, "b", "gone"),
        Event(Step.FAILED, "c"),
    ]
    assert failures(events) == {"b": "gone", "c": "the backup failed"}
