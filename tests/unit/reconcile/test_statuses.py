"""A status is written as the smallest merge patch that makes the new one of the old."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.api.status import BackupProgress, BackupStats, BackupStatus, Phase
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


def test_only_what_differs_is_written() -> None:
    before = {"phase": "Running", "progress": {"phase": "Dumping", "percent": 3}, "message": "m"}
    after = {"phase": "Running", "progress": {"phase": "Dumping"}, "stats": {"size": "1"}}
    assert difference(before, after) == {
        "message": None,
        "progress": {"percent": None},
        "stats": {"size": "1"},
    }
