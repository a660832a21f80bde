"""Properties of what reads Neo4j's text and writes its command lines."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from controller.neo4j import commands
from controller.neo4j.arguments import parse_arguments
from controller.neo4j.inspect import parse_inspect
from controller.neo4j.memory import AGENT, LAUNCHER, OVERHEAD, SMALLEST_LIMIT, plan_memory
from controller.neo4j.names import ArtifactName, parse_artifact
from controller.neo4j.output import last_error, parse_line
from controller.neo4j.quantity import GIB, MIB, format_size, parse_size
from controller.neo4j.topology import parse_topology
from controller.neo4j.versions import Version

FORBIDDEN = (
    "--from",
    "--to-path",
    "--type",
    "--inspect-path",
    "--additional-config",
    "--expand-commands",
    "-h",
    "@",
)
databases = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,62}", fullmatch=True)
options = st.sampled_from(
    ["--from", "--temp-path", "--verbose", "--skip-recovery", "--include-metadata", "@x", "-h"]
)
arguments = st.one_of(st.text(max_size=30), st.builds("{}={}".format, options, st.text(max_size=10)), options)


@given(databases, st.datetimes())
def test_artifact_names_survive_the_round_trip(database: str, when: object) -> None:
    name = ArtifactName(database, f"{when:%Y-%m-%dT%H-%M-%S}".rjust(19, "0"))
    assert parse_artifact(str(name)) == name


@given(st.lists(arguments, max_size=6))
def test_no_accepted_argument_is_a_forbidden_one(given_arguments: list[str]) -> None:
    extra = parse_arguments(given_arguments, Version(2026, 1))
    names = [flag.partition("=")[0] for flag in extra.flags]
    assert not any(flag.startswith(FORBIDDEN) for flag in extra.flags)
    assert all(flag.startswith("--") and flag.isprintable() for flag in extra.flags)
    assert len(names) == len(set(names))


@given(st.lists(arguments, max_size=6))
def test_every_argument_is_either_taken_or_refused(given_arguments: list[str]) -> None:
    extra = parse_arguments(given_arguments, Version(2026, 1))
    taken = len(extra.flags) + bool(extra.temp_path) + bool(extra.include_metadata)
    verbose = sum(argument.startswith("--verbose") for argument in given_arguments)
    assert len(given_arguments) - verbose <= taken + len(extra.refusals) <= len(given_arguments)


@given(st.integers(SMALLEST_LIMIT + MIB, 64 * GIB), st.none() | st.integers(0, 128 * GIB))
def test_memory_never_exceeds_the_limit(limit: int, wanted: int | None) -> None:
    plan = plan_memory(limit, wanted)
    assert (plan.heap + plan.page_cache + LAUNCHER + AGENT) * OVERHEAD <= limit + MIB
    assert plan.heap > 0
    assert plan.page_cache > 0


@given(st.integers(1024, 2**50))
def test_a_written_size_is_never_more_than_what_was_meant(size: int) -> None:
    assert size - MIB < parse_size(format_size(size)) <= size


@given(st.lists(databases, max_size=6))
def test_the_calls_cover_exactly_what_was_asked_for(asked: list[str]) -> None:
    calls = commands.split_calls(tuple(asked))
    covered = [name for call in calls for name in call]
    assert set(covered) == (set(asked) or {"*"})
    assert len(covered) == len(set(covered))
    assert all("system" not in call or call == ("system",) for call in calls)


@given(st.text(max_size=300))
def test_garbage_is_no_error(text: str) -> None:
    parse_inspect(text)
    parse_inspect("FILE | DATABASE\n" + text)
    parse_topology("name, currentStatus\n" + text)
    for line in text.splitlines():
        parse_line(line)
    last_error(text.splitlines())


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_any_status_message_is_read_back(message: str) -> None:
    quoted = message.replace("\\", "\\\\").replace('"', '\\"')
    (row, other) = parse_topology(
        f'name, currentStatus, statusMessage\n"a", "online", "{quoted}"\n"b", "online", ""\n'
    )
    assert row.status_message == message
    assert other.name == "b"
