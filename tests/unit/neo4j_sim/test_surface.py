"""What each version of ``neo4j-admin`` accepts, and how it refuses the rest."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim import names, sizes, surface
from hack.devcluster.neo4j_sim.picocli import Parsed, UsageError, parse
from hack.devcluster.neo4j_sim.versions import parse_version
from tests.unit.neo4j_sim.conftest import MakeTool
from tests.unit.neo4j_sim.support import Tool


def _parse(version: str, *arguments: str) -> Parsed:
    return parse(surface.commands(parse_version(version))[("database", "backup")], arguments)


@pytest.mark.parametrize(
    ("option", "last_without", "first_with"),
    [
        ("--prefer-diff-as-parent", "2025.03.0", "2025.04.0"),
        ("--remote-address-resolution", "2025.08.0", "2025.09.0"),
        ("--include-metadata=users=alice,bob", "2025.09.0", "2025.10.0"),
        ("--parallel-download", "2025.10.1", "2025.11.0"),
        ("--skip-recovery", "2025.10.1", "2025.11.0"),
    ],
)
def test_an_option_exists_from_its_release_on(option: str, last_without: str, first_with: str) -> None:
    for version in ("5.26.29", last_without):
        with pytest.raises(UsageError):
            _parse(version, option, "neo4j")
    for version in (first_with, "2026.08.0"):
        assert _parse(version, option, "neo4j").positionals == ["neo4j"]


@pytest.mark.parametrize(
    "option",
    [
        "--encryption=AES256",
        "--verify",
        "--check-consistency",
        "--backup-dir=/b",
        "--database=neo4j",
        "--fallback-to-full",
        "--name=x",
        "--source-database=x",
        "--username=x",
        "--skip-producing-empty-diff",
        "--comp",
        "-x",
    ],
)
@pytest.mark.parametrize("version", ["5.26.0", "2026.08.0"])
def test_what_was_never_an_option_is_unknown(version: str, option: str) -> None:
    with pytest.raises(UsageError, match="Unknown option"):
        _parse(version, option, "neo4j")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--type=weekly"], r"expected one of \[FULL, DIFF, AUTO\] \(case-insensitive\) but was 'weekly'"),
        (["--type="], "but was ''"),
        (["--compress=yes"], "'yes' is not a boolean"),
        (["--pagecache=2Gi"], "not a valid byte size"),
        (["--pagecache=50%"], "not a valid byte size"),
        (["--include-metadata=everything"], "expected one of"),
        (["--type=FULL", "--type=DIFF"], "should be specified only once"),
        (["--verbose", "--verbose"], "should be specified only once"),
        (["--to-path"], "Missing required parameter"),
        (["--to-path", "--verbose"], "Expected parameter for option '--to-path' but found '--verbose'"),
        (["--from=host:port"], "not a valid host:port"),
        (["neo 4j"], "Invalid database name"),
        (["a_b"], "Invalid database name"),
        (["x" * 64], "Invalid database name"),
        ([""], "Invalid database name"),
    ],
)
def test_refusals(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _parse("5.26.3", *arguments)


def test_an_option_without_arity_refuses_a_value() -> None:
    with pytest.raises(UsageError, match="without 'true' parameter"):
        _parse("2025.04.0", "--prefer-diff-as-parent=true")
    assert _parse("5.26.3", "--verbose=true", "--expand-commands=true").flag("--verbose")


def test_accepted_spellings() -> None:
    parsed = _parse(
        "5.26.3",
        "neo4j",
        "--type=full",
        "--compress",
        "FALSE",
        "--from=a:1,b",
        "--from",
        "c:3",
        "--keep-failed",
        "Foo.Bar",
    )
    assert parsed.value("--type") == "full"
    assert parsed.flag("--compress", default=True) is False
    assert parsed.many("--from") == ["a:1", "b", "c:3"]
    assert parsed.flag("--keep-failed")
    assert parsed.positionals == ["neo4j", "Foo.Bar"]


def test_an_argument_file_is_expanded(tmp_path: Path) -> None:
    file = tmp_path / "arguments"
    file.write_text("--type=DIFF neo4j", encoding="utf-8")
    assert _parse("5.26.3", f"@{file}").value("--type") == "DIFF"


@pytest.mark.parametrize(
    ("words", "versions"),
    [
        (("backup", "aggregate"), ["2025.01.0"]),
        (("backup", "validate"), ["2025.12.0"]),
        (("database", "aggregate-backup"), ["5.26.0", "2026.08.0"]),
        (("backup", "inspect"), ["5.26.0", "2026.08.0"]),
    ],
)
def test_commands_by_version(words: tuple[str, str], versions: list[str]) -> None:
    assert all(words in surface.commands(parse_version(version)) for version in versions)


def test_commands_that_are_later() -> None:
    assert ("backup", "aggregate") not in surface.commands((5, 26, 29))
    assert ("backup", "validate") not in surface.commands((2025, 11, 2))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([], 2),
        (["foo"], 2),
        (["backup", "validate", "--from-path=/b", "--database=x"], 2),
        (["database", "backup", "--nonsense", "neo4j"], 64),
        (["database", "backup", "neo4j"], 64),
        (["database", "restore", "neo4j"], 64),
        (["database", "restore", "--from-path=/b", "--source-database=x"], 64),
        (["database", "check", "--from-path=/b"], 64),
        (["backup", "inspect"], 64),
        (["backup", "inspect", "/a", "/b"], 64),
        (["backup", "inspect", "--latest-chain", "--latest-backup", "/"], 64),
        (["backup", "inspect", "--latest-chain", "/"], 64),
        (["--version"], 0),
        (["database", "backup", "--help"], 0),
    ],
)
def test_exit_codes_of_usage(tool: Tool, arguments: list[str], code: int) -> None:
    result = tool(*arguments)
    assert result.code == code
    assert bool(result.err) == (code != 0)


def test_bad_usage_has_no_side_effect(tool: Tool, target: Path) -> None:
    result = tool.backup(target, "--encryption=AES256", "neo4j")
    assert result.code == 64
    assert "Unknown option: '--encryption=AES256'" in result.err
    assert list(target.iterdir()) == []


def test_help_lists_what_the_version_has(make_tool: MakeTool) -> None:
    assert "--skip-recovery" in make_tool("2025.11.0")("database", "backup", "--help").out
    assert "--skip-recovery" not in make_tool("2025.10.0")("database", "backup", "--help").out


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("*", ["neo4j", "neo4j2", "foo", "foo1", "foo12"]),
        ("neo4j*", ["neo4j2"]),
        ("foo?", ["foo", "foo1"]),
        ("foo", ["foo"]),
        ("f*1", ["foo1"]),
        ("n.o4j", []),
    ],
)
def test_patterns_are_not_those_of_a_shell(pattern: str, matches: list[str]) -> None:
    assert names.matching(pattern, ["neo4j", "neo4j2", "foo", "foo1", "foo12"]) == matches


@pytest.mark.parametrize(
    ("text", "size"),
    [("512m", 512 << 20), ("1GiB", 1 << 30), ("2G", 2 << 30), ("8MB", 8 << 20), ("100", 100), ("1kB", 1024)],
)
def test_byte_sizes(text: str, size: int) -> None:
    assert sizes.setting_bytes(text) == size


@pytest.mark.parametrize("text", ["2Gi", "512Mi", "10%", "", "m", "-1", "1.5g"])
def test_what_is_no_byte_size(text: str) -> None:
    with pytest.raises(ValueError, match="byte size"):
        sizes.setting_bytes(text)


@pytest.mark.parametrize("text", ["2Gi", "512MB", "1.5g", "10%"])
def test_what_the_jvm_refuses_as_heap(
    tool: Tool, monkeypatch: pytest.MonkeyPatch, text: str, target: Path
) -> None:
    monkeypatch.setenv("HEAP_SIZE", text)
    result = tool("backup", "inspect", target)
    assert result.code == 1
    assert "Could not create the Java Virtual Machine" in result.err


def test_java_opts_replace_the_heap_size(tool: Tool, monkeypatch: pytest.MonkeyPatch, target: Path) -> None:
    monkeypatch.setenv("HEAP_SIZE", "2Gi")
    monkeypatch.setenv("JAVA_OPTS", "-Xmx1g")
    result = tool("backup", "inspect", target)
    assert result.code == 0
    assert "HEAP_SIZE is ignored, because JAVA_OPTS is set" in result.err


def test_the_servers_heap_setting_is_inherited(tool: Tool, target: Path) -> None:
    conf = tool.installation.conf / "neo4j.conf"
    conf.write_text("server.memory.heap.max_size=2Gi\n", encoding="utf-8")
    assert tool("backup", "inspect", target).code == 1
    (tool.installation.conf / "neo4j-admin.conf").write_text(
        "server.memory.heap.max_size=2g\n", encoding="utf-8"
    )
    assert tool("backup", "inspect", target).code == 0


def test_a_command_in_the_configuration_needs_consent(tool: Tool, target: Path) -> None:
    (tool.installation.conf / "neo4j.conf").write_text("server.id=$(hostname)\n", encoding="utf-8")
    result = tool("backup", "inspect", target)
    assert result.code == 1
    assert "Failed to read config" in result.err
    assert tool("backup", "inspect", "--expand-commands", target).code == 0


def test_a_missing_additional_configuration(tool: Tool, target: Path) -> None:
    result = tool("backup", "inspect", "--additional-config=/no/such/file", target)
    assert (result.code, "File /no/such/file does not exist" in result.err) == (1, True)
