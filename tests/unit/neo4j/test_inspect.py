# ruff: noqa: E501 - the lines of these tables are as long as Neo4j prints them
from __future__ import annotations

from controller.neo4j.inspect import Inspected, parse_inspect

OLD = """\
Executing command line: /opt/java/bin/java -cp x | y
|                                              FILE | DATABASE |  DATABASE ID |          TIME (UTC) |  FULL | COMPRESSED | LOWEST TX | HIGHEST TX |
| file:///b/neo4j-2024-10-07T16-05-37.backup | neo4j | 1f-2 | 2024-10-07 16:05:37 | true | true | 1 | 5 |
| file:///b/neo4j-2024-10-08T16-05-37.backup | neo4j | 1f-2 | 2024-10-08 16:05:37 | false | true | 0 | 0 |
"""
NEW = """\
FILE | DATABASE | DATABASE ID | TIME (UTC) | FULL | COMPRESSED | LOWEST TX | HIGHEST TX | STORE ID HASH | RECOVERED
s3://bucket/dir/my%20shop-2025-10-07T16-05-37.backup | shop | aa | 2025-10-07 16:05:37 | true | false | 1 | 99 | h4 | true
half a line | and | nothing
s3://bucket/dir/broken.backup | shop | aa | 2025-10-07 16:05:37 | yes | false | one | 99 | h4 | true
"""


def test_the_columns_of_5_26() -> None:
    full, empty = parse_inspect(OLD)
    assert full == Inspected(
        file="neo4j-2024-10-07T16-05-37.backup",
        database="neo4j",
        database_id="1f-2",
        time="2024-10-07 16:05:37",
        full=True,
        compressed=True,
        lowest_tx=1,
        highest_tx=5,
    )
    assert full.recovered is None
    assert not full.is_empty
    assert empty.is_empty


def test_the_columns_of_later_releases_and_garbage_between_the_rows() -> None:
    (row,) = parse_inspect(NEW)
    assert row.file == "my shop-2025-10-07T16-05-37.backup"
    assert row.recovered is True
    assert not row.compressed
    assert row.store_id_hash == "h4"


def test_the_older_spelling_of_time_and_plain_paths() -> None:
    (row,) = parse_inspect(
        OLD.replace(" (UTC)", "").replace("file://", "").splitlines()[1] + "\n" + OLD.splitlines()[2]
    )
    assert (row.file, row.time) == ("neo4j-2024-10-07T16-05-37.backup", "2024-10-07 16:05:37")


def test_file_names_without_metadata_are_no_rows() -> None:
    assert parse_inspect("| FILE |\n| file:///b/neo4j-2024-10-07T16-05-37.backup |\n") == []
    assert parse_inspect("") == []
