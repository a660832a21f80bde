"""Whatever Neo4j prints, a hand writes or a disk gives back: readers answer, or raise what they declare."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from controller.agent import handwritten
from controller.agent.daemon import Daemon
from controller.agent.journal import Journal, is_run_id
from controller.agent.places import Places
from controller.agent.topology import _row
from controller.agent.verdict import Call, Evidence, judge
from controller.neo4j import names, quantity, versions
from controller.neo4j.arguments import parse_arguments
from controller.neo4j.inspect import parse_inspect
from controller.neo4j.output import last_error, parse_line
from controller.neo4j.topology import parse_topology
from controller.repository.errors import RepositoryError
from controller.repository.manifest import Intent, RepositoryIdentity, RunManifest, decode
from controller.wire import messages
from controller.wire.messages import AgentProgress, AgentStatus, RunResult, RunState, TopologyAnswer
from tests.unit.neo4j.test_inspect import NEW, OLD
from tests.unit.neo4j.test_topology import OUTPUT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
BACKUP = """\
2026-01-01 02:00:01.000+0000 INFO  [c.n.b.v.OnlineBackup] Start full backup of database 'neo4j'.
2026-01-01 02:00:02.000+0000 INFO  Finished artifact creation 'a-2026-01-01T02-00-00.backup' for database 'a'
2026-01-01 02:00:03.000+0000 ERROR Backup of database 'b' failed. Reason: java.io.IOException: No space left
"""
REQUEST = '{"runId":"run","path":"/data/backups/today","type":"full","database":"neo4j","maxChainLength":3}'
DEEP = b'{"path":' + b"[" * 100_000
LONG = "9" * 5000

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def damaged(draw: st.DrawFn, text: str) -> bytes:
    """A true output with pieces cut out, repeated, replaced or put in: closer to the reader than noise."""
    data = bytearray(text.encode())
    for _ in range(draw(st.integers(0, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        piece = bytes(data[start:end])
        more = draw(st.sampled_from([b"", piece * 2, b"\0", b"\n", b'"', b"|", b",", b"\xff", LONG.encode()]))
        data[start:end] = more + draw(st.binary(max_size=3))
    return bytes(data)


def printed(data: bytes) -> str:
    """As the agent reads a child's output."""
    return data.decode(errors="replace")


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    """Beside a ``neo4j-admin`` that knows its version, and writes nothing."""
    admin = tmp_path / "bin" / "neo4j-admin"
    admin.parent.mkdir()
    admin.write_text("#!/bin/sh\necho 5.26.12\n")
    admin.chmod(0o755)
    monkeypatch.setenv("NEO4J_HOME", str(tmp_path))
    (tmp_path / "requests").mkdir()
    return Places(requests=tmp_path / "requests", backups=tmp_path / "backups", data=tmp_path / "data")


@quick
@given(st.one_of(damaged(OLD), damaged(NEW), st.binary(max_size=300)))
@example(NEW.replace("| 99 |", f"| {LONG} |").encode())
@example(NEW.replace("| 99 |", f"| {2**64} |").encode())
@example(NEW.replace("s3://bucket/dir", "s3://[::1").encode())
def test_what_inspect_prints_becomes_a_verdict_that_can_be_sent(data: bytes) -> None:
    rows = tuple(parse_inspect(printed(data)))
    evidence = Evidence(
        requested=("neo4j", "shop"),
        calls=(Call(("neo4j", "shop"), 0, (), ""),),
        inspected=rows,
        files={row.file: 1 for row in rows},
        store_sizes={},
    )
    verdict = judge(evidence)
    status = AgentStatus(run_id="r", state=RunState.SUCCEEDED, artifacts=verdict.artifacts)
    assert messages.decode(messages.encode(status), AgentStatus) == status
    assert all("/" not in artifact.file for artifact in verdict.artifacts)


@quick
@given(st.one_of(damaged(OUTPUT), st.binary(max_size=300).map(lambda tail: OUTPUT.encode()[:200] + tail)))
@example(OUTPUT.replace(" 42,", f" {LONG},").encode())
@example(OUTPUT.replace(" 42,", f" {2**64},").encode())
def test_what_show_databases_prints_becomes_an_answer_that_can_be_sent(data: bytes) -> None:
    rows = tuple(_row(row) for row in parse_topology(printed(data)))
    answer = TopologyAnswer(databases=rows)
    assert messages.decode(messages.encode(answer), TopologyAnswer) == answer


@quick
@given(damaged(BACKUP))
def test_what_a_backup_prints_is_a_hint_or_nothing(data: bytes) -> None:
    lines = printed(data).splitlines()
    events = [event for event in map(parse_line, lines) if event]
    assert all("\n" not in event.database for event in events)
    assert "\n" not in last_error(lines)


@quick
@given(st.one_of(damaged("neo4j-admin 2025.10.1\n5.26.12-enterprise"), st.text(max_size=60).map(str.encode)))
@example(f"{LONG}.1".encode())
@example(f"5.26.{LONG} is here".encode())
def test_any_version_output_is_a_version_or_none(data: bytes) -> None:
    text = printed(data)
    for found in (
        versions.parse_version(text),
        versions.parse_image(text),
        versions.parse_version_output(text),
    ):
        assert found is None or versions.parse_version(str(found)) == found


@quick
@given(st.one_of(st.text(max_size=30), damaged("neo4j-2026-01-01T02-00-00.backup").map(printed)))
@example("neo4j-2026-01-01T02-00-00.backup\n")
@example("a\nb-2026-01-01T02-00-00.backup")
def test_an_artifact_s_name_is_understood_whole_or_not_at_all(text: str) -> None:
    name = names.parse_artifact(text)
    assert name is None or str(name) == text
    assert name is None or not set(name.database) & set("/\0\r\n")


@quick
@given(
    st.one_of(
        st.text(max_size=20), st.from_regex(r"[0-9]{1,40}(Ki|Mi|e[+-]?[0-9]{1,12}|m|E)?", fullmatch=True)
    )
)
@example("1e999999999999")
@example("1e-999999999999")
@example(LONG)
@example("9" * 30 + "e99")
def test_any_quantity_is_a_number_or_refused(text: str) -> None:
    for parse in (quantity.parse_kubernetes, quantity.parse_size):
        with contextlib.suppress(quantity.BadSize):
            assert parse(text) >= 0


@quick
@given(st.lists(st.text(st.characters(), max_size=30), max_size=4))
def test_any_argument_is_taken_or_refused(arguments: list[str]) -> None:
    extra = parse_arguments(arguments, None)
    assert len(extra.refusals) <= len(arguments)


@quick
@given(st.one_of(damaged(REQUEST), st.binary(max_size=100)))
@example(DEEP)
@example(b'{"path":"\xff"}')
@example(b'{"type":"\xc3\x9f"}')
@example(b'{"maxChainLength":1e400}')
@example(b'{"path":"/data/backups/a\\u0000b"}')
def test_a_request_by_hand_is_queued_or_refused_in_words(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    (tmp_path / handwritten.REQUEST).write_bytes(content)
    run_id = handwritten.take(journal, datetime.max.replace(tzinfo=UTC))
    status = messages.decode((tmp_path / handwritten.STATUS).read_bytes(), AgentStatus)
    assert status.state is (RunState.QUEUED if run_id else RunState.FAILED)
    assert run_id or "write for example" in status.error
    journal.forget(run_id or "none")


@quick
@given(st.one_of(damaged(REQUEST), st.binary(max_size=100)))
@example(b'{"type":"FULL","database":"neo4j"}')
@example(b'{"runId":"run","path":"/data/backups/a\\u0000b"}')
@example(b'{"runId":"run","path":"/data/backups/' + b"a" * 5000 + b'"}')
@example(b'{"runId":"run","pageCache":"' + LONG.encode() + b'"}')
@example(b'{"runId":"run","fromAddresses":["a\\n"]}')
@example(b'{"runId":"run","additionalArgs":["--temp-path=/a\\u0000b"]}')
@example(b'{"runId":"run","chain":"../..","databases":["neo4j"]}')
@example(DEEP)
def test_the_agent_outlives_every_request(places: Places, content: bytes) -> None:
    daemon = Daemon(places)
    (places.requests / "run.request").write_bytes(content)
    daemon.step()
    status = daemon.journal.status("run")
    assert status is not None
    assert status.state is RunState.FAILED
    assert status.error
    daemon.journal.forget("run")


@quick
@given(st.one_of(st.binary(max_size=60), st.just(DEEP), damaged('{"runId":"r","state":"Running"}')))
def test_a_journal_of_garbage_is_an_empty_journal(tmp_path: Path, content: bytes) -> None:
    journal = Journal(tmp_path)
    for suffix in ("request", "progress", "status"):
        (tmp_path / f"r.{suffix}").write_bytes(content)
    read: list[Callable[[str], object]] = [journal.request, journal.progress, journal.status]
    for look in read:
        look("r")
    assert journal.known() == {"r"}


@given(st.text(max_size=12))
@example("run\n")
@example("..")
def test_a_run_id_is_never_a_path_nor_two_lines(text: str) -> None:
    if is_run_id(text):
        assert Path(text).name == text
        assert text.isprintable()


@quick
@given(st.one_of(st.binary(max_size=100), st.just(DEEP), damaged('{"formatVersion":1,"runId":"r"}')))
def test_a_document_of_a_repository_is_read_or_refused_in_words(data: bytes) -> None:
    with contextlib.suppress(RepositoryError):
        decode(data, RunManifest, "runs/r.json")
    with contextlib.suppress(RepositoryError):
        decode(data, Intent, "intents/r.json")
    with contextlib.suppress(RepositoryError):
        decode(data, RepositoryIdentity, "repository.json")


@quick
@given(st.one_of(st.binary(max_size=100), st.just(DEEP)))
def test_a_message_is_read_or_unreadable(data: bytes) -> None:
    for type_ in (RunResult, AgentProgress, TopologyAnswer):
        with contextlib.suppress(messages.Unreadable):
            messages.decode(data, type_)


def test_the_damage_reaches_the_readers() -> None:
    """Guards the tests above: an undamaged output is read in full."""
    assert len(parse_inspect(OLD)) == 2
    assert len(parse_topology(OUTPUT)) == 5
    assert sum(parse_line(line) is not None for line in BACKUP.splitlines()) == 3
    with pytest.raises(messages.Unreadable):
        messages.decode(DEEP, RunResult)
