"""A status as it is stored: what is read of it, what of it is read again, and what counts as none."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from controller.api.conditions import Condition
from controller.api.model import JsonObject
from controller.api.status import (
    BackupProgress,
    BackupRun,
    BackupStats,
    BackupStatus,
    Phase,
    RunArtifact,
    SidecarRecord,
    parse_status,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RUN: JsonObject = {"startTime": "2026-01-02T03:04:05Z", "status": "Running"}

STORED: dict[str, tuple[JsonObject, BackupStatus]] = {
    "new": (
        {
            "conditions": [
                {
                    "type": "Ready",
                    "status": "Unknown",
                    "observedGeneration": 3,
                    "lastTransitionTime": "2026-01-02T03:04:05Z",
                    "reason": "CouldNotLook",
                    "message": "",
                }
            ],
            "phase": "Pending",
            "message": "the deployment Straßen is waited for",
            "observedGeneration": 3,
        },
        BackupStatus(
            conditions=(
                Condition(
                    type="Ready",
                    status="Unknown",
                    observed_generation=3,
                    last_transition_time=AT,
                    reason="CouldNotLook",
                    message="",
                ),
            ),
            phase=Phase.PENDING,
            message="the deployment Straßen is waited for",
            observed_generation=3,
        ),
    ),
    "running": (
        {
            "phase": "Running",
            "history": [RUN | {"runID": "r1", "type": "AUTO"}],
            "progress": {
                "runID": "r1",
                "phase": "Dumping",
                "database": "orders",
                "databasesDone": 0,
                "databasesTotal": 2,
                "bytesDone": 5_000_000_000,
                "bytesTotal": 10_000_000_000,
                "percent": 50,
                "throughput": "8.0Mi/s",
                "remaining": "2m10s",
                "message": "receiving",
                "updated": "2026-01-02T03:04:05Z",
            },
            "sidecar": [{"statefulSet": "graph-server", "hash": "abc", "patches": 1, "request": "1/"}],
        },
        BackupStatus(
            phase=Phase.RUNNING,
            history=(BackupRun(start_time=AT, status="Running", run_id="r1", type="AUTO"),),
            progress=BackupProgress(
                run_id="r1",
                phase="Dumping",
                database="orders",
                databases_done=0,
                databases_total=2,
                bytes_done=5_000_000_000,
                bytes_total=10_000_000_000,
                percent=50,
                throughput="8.0Mi/s",
                remaining="2m10s",
                message="receiving",
                updated=AT,
            ),
            sidecar=(SidecarRecord(stateful_set="graph-server", hash="abc", patches=1, request="1/"),),
        ),
    ),
    "verified": (
        {
            "phase": "Scheduled",
            "lastRunTime": "2026-01-02T03:04:05Z",
            "lastSuccessTime": "2026-01-02T03:04:05Z",
            "nextRunTime": "2026-01-02T03:04:05Z",
            "stats": {"size": "1.4Gi", "duration": "1m30s", "throughput": "15.9Mi/s", "fileCount": 1},
            "history": [
                {
                    "startTime": "2026-01-02T03:04:05Z",
                    "completionTime": "2026-01-02T03:04:05Z",
                    "status": "Completed",
                    "stats": {},
                    "runID": "r1",
                    "databases": ["orders"],
                    "artifacts": [
                        {
                            "database": "orders",
                            "path": "artifacts/orders.backup",
                            "type": "DIFF",
                            "bytes": 5_000_000_000,
                            "sha256": "ab" * 32,
                            "server": "graph-server-1",
                            "role": "secondary",
                        }
                    ],
                    "source": "graph-server-1 (secondary)",
                    "repository": "s3://backups/prod/nightly",
                    "manifest": "runs/r1.json",
                    "verified": True,
                    "verificationLevel": "Chain",
                    "verificationTime": "2026-01-02T03:04:05Z",
                    "outcome": "SucceededWithWarnings",
                    "warnings": ["slow"],
                },
            ],
            "answered": "1/again",
        },
        BackupStatus(
            phase=Phase.SCHEDULED,
            last_run_time=AT,
            last_success_time=AT,
            next_run_time=AT,
            stats=BackupStats(size="1.4Gi", duration="1m30s", throughput="15.9Mi/s", file_count=1),
            history=(
                BackupRun(
                    start_time=AT,
                    completion_time=AT,
                    status="Completed",
                    stats=BackupStats(),
                    run_id="r1",
                    databases=("orders",),
                    artifacts=(
                        RunArtifact(
                            database="orders",
                            path="artifacts/orders.backup",
                            type="DIFF",
                            bytes=5_000_000_000,
                            sha256="ab" * 32,
                            server="graph-server-1",
                            role="secondary",
                        ),
                    ),
                    source="graph-server-1 (secondary)",
                    repository="s3://backups/prod/nightly",
                    manifest="runs/r1.json",
                    verified=True,
                    verification_level="Chain",
                    verification_time=AT,
                    outcome="SucceededWithWarnings",
                    warnings=("slow",),
                ),
            ),
            answered="1/again",
        ),
    ),
    "failed": (
        {
            "phase": "Failed",
            "history": [
                RUN | {"status": "Failed", "error": "no such bucket", "verified": False, "outcome": "Failed"}
            ],
            "progress": {"phase": "", "percent": 0},
        },
        BackupStatus(
            phase=Phase.FAILED,
            history=(
                BackupRun(
                    start_time=AT, status="Failed", error="no such bucket", verified=False, outcome="Failed"
                ),
            ),
            progress=BackupProgress(phase="", percent=0),
        ),
    ),
}

ODD: dict[str, tuple[JsonObject, BackupStatus]] = {
    "fields of a later version": (
        {"later": {"a": [1]}, "stats": {"later": 1}, "history": [RUN | {"later": None}]},
        BackupStatus(stats=BackupStats(), history=(BackupRun(start_time=AT, status="Running"),)),
    ),
    "absent and empty": (
        {"phase": None, "stats": None, "message": "", "history": [], "conditions": []},
        BackupStatus(message=""),
    ),
    "another zone": ({"lastRunTime": "2026-01-02T05:04:05+02:00"}, BackupStatus(last_run_time=AT)),
    "small letters": ({"lastRunTime": "2026-01-02t03:04:05z"}, BackupStatus(last_run_time=AT)),
    "a fraction": (
        {"lastRunTime": "2026-01-02T03:04:05.25Z"},
        BackupStatus(last_run_time=AT + timedelta(milliseconds=250)),
    ),
    "a Python name is not the field's": ({"run_id": "r1", "last_run_time": 1}, BackupStatus()),
}

UNREADABLE = {
    "no object": b"[]",
    "null": b"null",
    "no JSON": b"{",
    "no UTF-8": b'{"message": "\xff"}',
    "too deep": b'{"later": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "no phase of ours": b'{"phase": "Nonsense"}',
    "a number for a text": b'{"message": 5}',
    "a text for a number": b'{"observedGeneration": "5"}',
    "null for a list": b'{"history": null}',
    "a run without its start": b'{"history": [{"status": "Running"}]}',
    "a time without a zone": b'{"lastRunTime": "2026-01-02T03:04:05"}',
    "a day": b'{"lastRunTime": "2026-01-02"}',
    "more than all": b'{"progress": {"phase": "Dumping", "percent": 101}}',
    "a condition without a reason": b'{"conditions": [{"type": "Ready", "status": "True", "reason": "",'
    b'"lastTransitionTime": "2026-01-02T03:04:05Z", "message": ""}]}',
}


@pytest.mark.parametrize("name", STORED)
def test_a_stored_status_is_read_and_written_as_it_is(name: str) -> None:
    stored, status = STORED[name]
    assert parse_status(json.dumps(stored).encode()) == status
    assert status.as_dict() == stored


@pytest.mark.parametrize("name", ODD)
def test_of_an_odd_status_is_read_what_can_be(name: str) -> None:
    stored, status = ODD[name]
    assert parse_status(json.dumps(stored).encode()) == status


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_status_that_cannot_be_read_counts_as_none(name: str) -> None:
    assert parse_status(UNREADABLE[name]) == BackupStatus()


@pytest.mark.parametrize("raw", [b"", b"{}"])
def test_no_status_is_none(raw: bytes) -> None:
    assert parse_status(raw) == BackupStatus()


@pytest.mark.parametrize(
    "moment",
    [
        AT,
        AT + timedelta(microseconds=999_999),
        AT.astimezone(timezone(timedelta(hours=-5, minutes=-30))),
    ],
)
def test_times_are_written_in_utc_and_whole_seconds(moment: datetime) -> None:
    status = BackupStatus(next_run_time=moment, history=(BackupRun(start_time=moment, status="Running"),))
    assert status.as_dict() == {"nextRunTime": "2026-01-02T03:04:05Z", "history": [RUN]}


def test_what_is_written_is_lists_and_plain_text() -> None:
    written = BackupStatus(
        phase=Phase.COMPLETED, history=(BackupRun(start_time=AT, status="Completed", databases=("a",)),)
    ).as_dict()
    assert type(written["phase"]) is str
    assert written["history"][0]["databases"] == ["a"]


def test_a_status_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        BackupStatus().message = "other"  # type: ignore[misc]


def test_reading_a_status_does_not_load_the_models_of_a_spec() -> None:
    code = "import sys, controller.api.status; assert 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
