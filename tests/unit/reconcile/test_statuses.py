"""A status is written as the smallest merge patch that makes the new one of the old."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from controller.api.status import BackupProgress, BackupRun, BackupStats, BackupStatus, Phase, parse_status
from controller.reconcile.statuses import changes, difference

leaves = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves.filter(lambda leaf: leaf is not None), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)

moments = st.datetimes(timezones=st.just(UTC)) | st.none()
statuses = st.builds(
    BackupStatus,
    phase=st.sampled_from(Phase) | st.none(),
    message=st.sampled_from(["a", "b"]) | st.none(),
    next_run_time=moments,
    stats=st.builds(BackupStats, size=st.sampled_from(["1", "2"]) | st.none(), file_count=st.just(1))
    | st.none(),
    progress=st.builds(BackupProgress, phase=st.just("Dumping"), percent=st.just(3) | st.none()) | st.none(),
    history=st.lists(
        st.builds(
            BackupRun,
            start_time=st.datetimes(timezones=st.just(UTC)),
            status=st.just("Completed"),
            databases=st.lists(st.sampled_from("ab")).map(tuple),
        ),
        max_size=2,
    ).map(tuple),
)


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386, as the server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(documents, documents)
def test_the_patch_makes_the_new_of_the_old(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, difference(before, after)) == after


@given(documents)
def test_nothing_is_written_when_nothing_differs(document: dict[str, Any]) -> None:
    assert difference(document, document) == {}


@given(statuses, statuses)
def test_the_patch_of_a_status_makes_the_new_of_the_old(before: BackupStatus, after: BackupStatus) -> None:
    assert merged(before.as_dict(), changes(before, after)) == after.as_dict()
    assert changes(after, after) == {}


def test_a_difference_that_the_server_would_not_see_is_none() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    before = BackupStatus(next_run_time=moment)
    assert changes(before, BackupStatus(next_run_time=moment + timedelta(microseconds=7))) == {}


def test_a_fraction_of_a_second_in_a_run_is_no_difference_to_what_was_read_back() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 7, tzinfo=UTC)
    computed = BackupStatus(history=(BackupRun(start_time=moment, status="Running"),))
    stored = parse_status(json.dumps(computed.as_dict()).encode())
    assert stored != computed
    assert changes(stored, computed) == {}


def test_a_field_comes_and_goes_and_a_list_is_replaced_whole() -> None:
    first = BackupRun(start_time=datetime(2026, 1, 2, tzinfo=UTC), status="Completed")
    second = BackupRun(start_time=datetime(2026, 1, 3, tzinfo=UTC), status="Running")
    before = BackupStatus(message="m", history=(first,))
    after = BackupStatus(phase=Phase.RUNNING, history=(second, first))
    assert changes(before, after) == {
        "message": None,
        "phase": "Running",
        "history": [
            {"startTime": "2026-01-03T00:00:00Z", "status": "Running"},
            {"startTime": "2026-01-02T00:00:00Z", "status": "Completed"},
        ],
    }
    assert changes(before, replace(before, history=())) == {"history": None}


def test_only_what_differs_is_written() -> None:
    before = {"phase": "Running", "progress": {"phase": "Dumping", "percent": 3}, "message": "m"}
    after = {"phase": "Running", "progress": {"phase": "Dumping"}, "stats": {"size": "1"}}
    assert difference(before, after) == {
        "message": None,
        "progress": {"percent": None},
        "stats": {"size": "1"},
    }
