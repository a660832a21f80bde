"""What a status gets back from the repository after it, its backup or the whole cluster was lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from controller.api.objects import Job
from controller.api.status import BackupRun
from controller.plan import history
from controller.plan.runs import Run
from controller.wire.messages import EarlierRun, Outcome, RunResult

NOW = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def earlier(age: int, outcome: Outcome = Outcome.SUCCEEDED) -> EarlierRun:
    started = NOW - age * DAY
    return EarlierRun(
        run_id=f"run-{age}",
        outcome=outcome,
        started=started,
        finished=started + timedelta(seconds=90),
        type="FULL",
        size=3 * 2**20,
        artifact_count=2,
        verified=True,
    )


def a_run(*before: EarlierRun) -> Run:
    job = msgspec.json.decode(b'{"metadata":{"name":"j","uid":"new"}}', type=Job)
    result = RunResult(
        run_id="new",
        outcome=Outcome.SUCCEEDED,
        started=NOW,
        finished=NOW,
        repository="s3://b/ns/nightly",
        earlier=before,
    )
    return Run(job, "Completed", scheduled=False, result=result, finished=NOW)


def merged(run: Run, *known: BackupRun) -> tuple[BackupRun, ...]:
    return history.merged(known, [run], NOW)


def test_a_new_status_gets_the_runs_back_that_the_repository_has() -> None:
    found = merged(a_run(earlier(1), earlier(2, Outcome.PARTIALLY_SUCCEEDED)))
    told = {entry.run_id: entry for entry in found}
    assert told.keys() == {"new", "run-1", "run-2"}
    one = told["run-1"]
    assert (one.status, one.outcome, one.type, one.verified) == ("Completed", "Succeeded", "FULL", True)
    assert one.manifest == "runs/run-1.json"
    assert one.repository == "s3://b/ns/nightly"
    assert one.stats is not None
    assert (one.stats.size, one.stats.duration, one.stats.file_count) == ("3.0Mi", "1m30s", 2)
    assert (told["run-2"].status, told["run-2"].outcome) == ("Failed", "PartiallySucceeded")


def test_what_a_status_knows_already_is_left_as_it_is() -> None:
    known = BackupRun(
        start_time=NOW - DAY,
        status="Failed",
        error="it knows better",
        run_id="run-1",
        manifest="runs/run-1.json",
    )
    found = merged(a_run(earlier(1)), known)
    assert [entry.error for entry in found if entry.run_id == "run-1"] == ["it knows better"]


def test_a_run_that_was_called_failed_for_want_of_a_result_is_what_the_repository_says() -> None:
    known = BackupRun(start_time=NOW - DAY, status="Failed", error="its Job disappeared", run_id="run-1")
    found = merged(a_run(earlier(1)), known)
    (one,) = (entry for entry in found if entry.run_id == "run-1")
    assert (one.status, one.outcome, one.error) == ("Completed", "Succeeded", None)
    assert one.warnings == ("its Job told nothing of it: its Job disappeared",)
    assert merged(a_run(earlier(1)), *found) == found


def test_the_history_stays_bounded_and_the_same_when_it_is_told_again() -> None:
    run = a_run(*(earlier(age) for age in range(1, 30)))
    found = merged(run)
    assert len(found) == history.LIMIT
    assert merged(run, *found) == found
