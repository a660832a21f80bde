# ruff: noqa: E501 - the lines of these tables are as long as Neo4j prints them
from __future__ import annotations

from controller.neo4j.topology import parse_topology

OUTPUT = """\
Picked up JAVA_TOOL_OPTIONS: -Dquote="odd
name, type, address, role, writer, requestedStatus, currentStatus, databaseID, lastCommittedTxn, replicationLag, statusMessage
"neo4j", "standard", "core-0.ns:7687", "primary", TRUE, "online", "online", "AA11", 42, 0, ""
"neo4j", "standard", "read-0.ns:7687", "secondary", FALSE, "online", "online", "AA11", 40, -2, ""
"Odd", "standard", "core-0.ns:7687", "primary", FALSE, "online", "offline", "BB", NULL, NULL, "said \\"no, never\\",
and a second line"
"all", "composite", NULL, NULL, FALSE, "online", "online", "CC", NULL, NULL, ""
"lost", "standard", NULL, "unknown", FALSE, "online", "unknown", NULL, NULL, NULL, "Server is unavailable"
"""


def test_rows_are_one_database_on_one_server() -> None:
    rows = parse_topology(OUTPUT)
    assert [row.name for row in rows] == ["neo4j", "neo4j", "odd", "all", "lost"]
    writer, reader = rows[:2]
    assert writer.writer
    assert (writer.address, writer.role, writer.last_committed_tx) == ("core-0.ns:7687", "primary", 42)
    assert (reader.role, reader.replication_lag, reader.writer) == ("secondary", -2, False)


def test_text_with_quotes_commas_and_line_breaks_spoils_nothing() -> None:
    odd = parse_topology(OUTPUT)[2]
    assert odd.status_message == 'said "no, never",\nand a second line'
    assert odd.last_committed_tx is None


def test_only_physical_databases_that_are_online_can_be_backed_up() -> None:
    assert [row.name for row in parse_topology(OUTPUT) if row.can_be_backed_up] == ["neo4j", "neo4j"]


def test_null_is_empty_and_not_the_word() -> None:
    lost = parse_topology(OUTPUT)[4]
    assert (lost.address, lost.database_id) == ("", "")


def test_columns_are_found_by_name_and_rows_that_do_not_fit_are_dropped() -> None:
    text = "name, currentStatus, writer\n" + '"a", "online", true\n"b", "online"\n'
    (row,) = parse_topology(text)
    assert (row.name, row.current_status, row.writer) == ("a", "online", True)
    assert parse_topology("The client is unauthorized due to authentication failure.") == []
