from __future__ import annotations

import pytest

from controller.neo4j.arguments import Extra, parse_arguments
from controller.neo4j.versions import Version

OLD, NEW = Version(5, 26, 3), Version(2026, 1)


def test_the_examples_of_the_reference_work() -> None:
    assert parse_arguments(["--temp-path=/tmp/backup", "--parallel-recovery"], OLD) == Extra(
        flags=("--parallel-recovery",), temp_path="/tmp/backup"
    )
    # --verbose is always set by us: taken, and not repeated
    assert parse_arguments(["--parallel-recovery", "--verbose"], OLD) == Extra(flags=("--parallel-recovery",))


@pytest.mark.parametrize(
    ("argument", "instead"),
    [
        ("--from=evil:6362", "chooses the server"),
        ("--to-path=s3://elsewhere/", "spec.storage"),
        ("--type=FULL", "spec.options.backupType"),
        ("--compress=false", "spec.options.compress"),
        ("--pagecache=2G", "spec.options.pageCache"),
        ("--inspect-path=/x", "leave it out"),
        ("--additional-config=/x", "configure Neo4j"),
        ("--expand-commands", "run commands"),
        ("--expand-commands=true", "run commands"),
        ("--help", "leave it out"),
        ("-h", "leave it out"),
        ("@/etc/passwd", "argument files"),
        ("neo4j", "spec.target"),
        ("/tmp/backup", "spec.target"),
        ("--no-such", "it is not one of"),
        ("--TEMP-PATH=/x", "it is not one of"),
        ("--parallel-recovery=yes", "=true or"),
        ("--temp-path", "/an/absolute/path"),
        ("--temp-path=", "/an/absolute/path"),
        ("--temp-path=relative", "/an/absolute/path"),
        ("--temp-path=/a/../etc", "/an/absolute/path"),
        ("--include-metadata=everything", "one of none"),
        ("--include-metadata=users=", "one of none"),
        ("--include-metadata=roles=a", "one of none"),
        ("--prefer-diff-as-parent=false", "without a value"),
        ("--verbose=maybe", "write --verbose"),
        ("--parallel-recovery\n--from=x", "control character"),
        ("", "one element"),
    ],
)
def test_a_refusal_says_what_to_write_instead(argument: str, instead: str) -> None:
    extra = parse_arguments([argument], NEW)
    assert len(extra.refusals) == 1
    assert instead in extra.refusals[0]
    assert repr(argument) in extra.refusals[0]
    assert extra.flags == ()


def test_every_refusal_is_collected_and_the_good_ones_stay() -> None:
    extra = parse_arguments(["--from=x", "--keep-failed=TRUE", "--keep-failed", "-h"], NEW)
    assert extra.flags == ("--keep-failed=true",)
    assert len(extra.refusals) == 3
    assert "twice" in extra.refusals[1]


@pytest.mark.parametrize(
    ("argument", "first"),
    [
        ("--prefer-diff-as-parent", Version(2025, 4)),
        ("--remote-address-resolution", Version(2025, 9)),
        ("--parallel-download=true", Version(2025, 11)),
        ("--skip-recovery=false", Version(2025, 11)),
    ],
)
def test_options_are_gated_by_version(argument: str, first: Version) -> None:
    before = Version(first.major, first.minor - 1, 5)
    assert parse_arguments([argument], first).flags == (argument,)
    refused = parse_arguments([argument], before).refusals
    assert f"{first.major}.{first.minor:02d} is the first that does" in refused[0]
    # a floating image tag says nothing: the agent parses again with the version it was told
    assert parse_arguments([argument], None).flags == (argument,)


def test_a_list_of_users_is_gated_too() -> None:
    argument = "--include-metadata=users=alice,bob"
    assert parse_arguments([argument], Version(2025, 10)).include_metadata == "users=alice,bob"
    assert "2025.10 on" in parse_arguments([argument], Version(2025, 9)).refusals[0]


def test_a_bare_flag_with_true_is_written_bare() -> None:
    assert parse_arguments(["--prefer-diff-as-parent=true"], NEW).flags == ("--prefer-diff-as-parent",)
