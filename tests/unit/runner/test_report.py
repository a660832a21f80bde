"""The result, the log and the progress: what people and the operator get to read."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.repository.manifest import MissingDatabase, RunManifest, StoredArtifact
from controller.runner import report
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.wire.messages import (
    AgentProgress,
    Outcome,
    Progress,
    RunResult,
    RunState,
    SavedDatabase,
    encode,
)

NOW = datetime(2026, 3, 1, 12, 0, 5, 250_000, tzinfo=UTC)


def stored(database: str = "neo4j", *, full: bool = True) -> StoredArtifact:
    return StoredArtifact(
        database=database,
        key=f"databases/{database}/c/{database}.backup",
        size=10,
        sha256="0" * 64,
        chain="c",
        full=full,
        server="graph-3",
        role="secondary",
    )


def missing(database: str = "orders") -> MissingDatabase:
    return MissingDatabase(database=database, reason="it was offline")


@pytest.mark.parametrize(
    ("artifacts", "lost", "warnings", "expected"),
    [
        ([stored()], [], [], Outcome.SUCCEEDED),
        ([stored()], [], ["w"], Outcome.SUCCEEDED_WITH_WARNINGS),
        ([stored()], [missing()], [], Outcome.PARTIALLY_SUCCEEDED),
        ([stored()], [missing()], ["w"], Outcome.PARTIALLY_SUCCEEDED),
        ([], [missing()], [], Outcome.FAILED),
        ([], [], [], Outcome.FAILED),
    ],
)
def test_the_verdict_counts_what_is_stored(
    artifacts: list[StoredArtifact], lost: list[MissingDatabase], warnings: list[str], expected: Outcome
) -> None:
    assert report.verdict(artifacts, lost, warnings) is expected


def test_the_type_is_what_the_artifacts_are() -> None:
    assert report.backup_type([stored()]) == "FULL"
    assert report.backup_type([stored(full=False)]) == "DIFF"
    assert report.backup_type([stored(), stored(full=False)]) == "MIXED"
    assert report.backup_type([]) == ""


def manifest(lost: tuple[MissingDatabase, ...] = ()) -> RunManifest:
    return RunManifest(
        run_id="run-1",
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=1,
        spec_digest="",
        deployment="graph",
        outcome=Outcome.SUCCEEDED,
        started=NOW,
        finished=NOW.replace(second=35),
        requested_type="DIFF",
        neo4j_version="5.26.3",
        transport="exec",
        databases=("neo4j", "orders"),
        artifacts=(stored(),),
        missing=lost,
    )


def test_a_committed_run_is_reported_from_its_manifest() -> None:
    result = report.committed(manifest(), "s3://b/ns/nightly")
    assert result.type == "FULL"
    assert result.manifest == "runs/run-1.json"
    assert (result.size, result.artifact_count, result.duration_seconds) == (10, 1, 30.0)
    assert result.transport == "exec"
    assert result.databases[0] == SavedDatabase(
        name="neo4j",
        server="graph-3",
        role="secondary",
        type="FULL",
        artifact="databases/neo4j/c/neo4j.backup",
        size=10,
        sha256="0" * 64,
    )
    assert result.error == ""


def test_what_is_missing_is_in_the_error_and_in_the_list() -> None:
    result = report.committed(manifest((missing(),)), "s3://b")
    assert result.error == "1 of 2 databases not saved: orders: it was offline"
    assert result.error_reason == "DatabasesMissing"
    assert [one.name for one in result.databases if one.error] == ["orders"]


def test_a_short_result_is_left_as_it_is() -> None:
    result = report.committed(manifest((missing(),)), "s3://b")
    assert report.fit(result) == encode(result)


def test_a_long_result_fits_and_says_what_it_left_out() -> None:
    databases = tuple(
        SavedDatabase(name=f"db{number}", artifact="k" * 90, sha256="0" * 64) for number in range(99)
    )
    failed = SavedDatabase(name="failed", error="why " * 200)
    result = RunResult(
        run_id="r",
        outcome=Outcome.PARTIALLY_SUCCEEDED,
        started=NOW,
        finished=NOW,
        databases=(*databases, failed),
        artifact_count=99,
        error="e" * 5000,
        error_reason="DatabasesMissing",
        warnings=("w" * 3000,) * 9,
    )
    line = report.fit(result)
    cut = msgspec.json.decode(line, type=RunResult)
    assert len(line) <= report.LIMIT
    assert len(cut.databases) + cut.databases_omitted == 100
    assert cut.databases[0].name == "failed"
    assert cut.artifact_count == 99
    assert cut.error.startswith("eee")


def test_earlier_runs_are_left_out_before_any_database() -> None:
    runs = tuple(msgspec.structs.replace(manifest(), run_id=f"run-{number}" * 9) for number in range(30))
    before = report.earlier(runs, "r")
    assert len(before) == report.EARLIER
    databases = tuple(SavedDatabase(name=f"db{number}", artifact="k" * 60) for number in range(28))
    result = RunResult(
        run_id="r", outcome=Outcome.SUCCEEDED, started=NOW, finished=NOW, databases=databases, earlier=before
    )
    cut = msgspec.json.decode(report.fit(result), type=RunResult)
    assert cut.databases == databases
    assert len(cut.earlier) < report.EARLIER


texts = st.text(max_size=3000)
names = st.text(max_size=63)


@given(
    st.builds(
        RunResult,
        run_id=st.just("0f4d2c3b-0000-0000-0000-000000000000"),
        outcome=st.sampled_from(Outcome),
        started=st.just(NOW),
        finished=st.just(NOW),
        databases=st.lists(st.builds(SavedDatabase, name=names, error=texts), max_size=40).map(tuple),
        warnings=st.lists(texts, max_size=9).map(tuple),
        error=texts,
    )
)
def test_any_result_fits_and_stays_a_result(result: RunResult) -> None:
    line = report.fit(result)
    assert len(line) <= report.LIMIT
    assert b"\n" not in line
    cut = msgspec.json.decode(line, type=RunResult)
    assert cut.outcome is result.outcome
    assert len(cut.databases) + cut.databases_omitted == len(result.databases)


# --- log -----------------------------------------------------------------------------------------


def test_lines_are_for_people_and_stay_lines() -> None:
    stream = io.StringIO()
    log = Log(lambda: NOW, stream)
    log.info("stored", key="a/b.backup", size=5, note="", error='two\nlines and "quotes"')
    assert stream.getvalue() == (
        "time=2026-03-01T12:00:05.250Z level=info event=stored key=a/b.backup size=5 "
        'error="two\\nlines and \\"quotes\\""\n'
    )


def test_progress_and_result_end_in_their_json() -> None:
    stream = io.StringIO()
    log = Log(lambda: NOW, stream)
    log.progress(Progress(run_id="r", phase="Dumping", bytes_done=7))
    log.result(encode(report.failed("r", NOW, NOW, "NoSuchBucket", "no bucket")))
    first, last = stream.getvalue().splitlines()
    assert json.loads(first.partition(" progress ")[2])["bytesDone"] == 7
    assert json.loads(last.partition(" result ")[2])["errorReason"] == "NoSuchBucket"


# --- progress ------------------------------------------------------------------------------------


class Told:
    def __init__(self) -> None:
        self.lines: list[Progress] = []
        self.now = 100.0
        self.tracker = Tracker("r", self.lines.append, lambda: self.now)

    def dumped(self, server: str, size: int, after: float = 0.0) -> None:
        self.now += after
        state = RunState.RUNNING
        self.tracker.dumping(server, AgentProgress(run_id="r", state=state, database="db", bytes_staged=size))

    def uploaded(self, server: str, done: int, total: int, after: float = 0.0) -> None:
        self.now += after
        self.tracker.uploading(server, "db", done, total)


def test_a_new_phase_is_told_at_once_and_the_rest_now_and_then() -> None:
    told = Told()
    told.tracker.enter("Resolving")
    for step in range(100):
        told.dumped("a", step, after=0.05)
    assert [line.phase for line in told.lines][:2] == ["Resolving", "Dumping"]
    assert len(told.lines) == 2 + 2


def test_the_rate_is_over_what_was_moved() -> None:
    told = Told()
    told.uploaded("a", 1000, 9000)
    told.uploaded("a", 5000, 9000, after=4)
    assert [line.bytes_per_second for line in told.lines] == [0, 1000]
    assert (told.lines[-1].bytes_done, told.lines[-1].bytes_total) == (5000, 9000)


def test_servers_are_summed_and_dumping_goes_first() -> None:
    told = Told()
    told.dumped("a", 100)
    told.dumped("b", 50, after=3)
    assert told.lines[-1].bytes_done == 150
    told.uploaded("a", 10, 100, after=3)
    assert told.lines[-1].phase == "Dumping"
    told.tracker.idle("b")
    told.uploaded("a", 20, 100, after=3)
    assert (told.lines[-1].phase, told.lines[-1].bytes_done) == ("Uploading", 20)


def test_a_server_that_is_done_does_not_make_the_rate_negative() -> None:
    told = Told()
    told.uploaded("a", 900, 1000)
    told.uploaded("b", 500, 1000, after=3)
    told.tracker.idle("a")
    told.uploaded("b", 600, 1000, after=3)
    assert all(line.bytes_per_second >= 0 for line in told.lines)


def test_the_time_that_is_left_is_estimated_from_a_steady_rate() -> None:
    told = Told()
    told.uploaded("a", 0, 10_000)
    told.uploaded("a", 4000, 10_000, after=4)
    told.uploaded("a", 4001, 10_000, after=4)  # one slow line does not make hours of minutes
    told.uploaded("a", 10_000, 10_000, after=4)
    assert [line.seconds_left for line in told.lines] == [0, 6, 9, 0]


def test_a_dump_is_estimated_where_the_stores_are_known() -> None:
    told = Told()
    for read in (0, 500):
        told.now += 5
        told.tracker.dumping(
            "a",
            AgentProgress(
                run_id="r", state=RunState.RUNNING, bytes_staged=7, bytes_read=read, bytes_to_read=1500
            ),
        )
    last = told.lines[-1]
    assert (last.phase, last.bytes_done, last.bytes_total, last.seconds_left) == ("Dumping", 500, 1500, 10)
    told.dumped("a", 77, after=5)
    assert (told.lines[-1].bytes_done, told.lines[-1].bytes_total, told.lines[-1].seconds_left) == (77, 0, 0)
