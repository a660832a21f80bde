"""Conditions: transition times move iff the status flips, and an unchanged set stays equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.api.conditions import ConditionSet, ConditionStatus, Verdict

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
EMPTY = ConditionSet(("Ready", "JobCreated"))

STATUSES: tuple[ConditionStatus, ...] = ("True", "False", "Unknown")
VERDICTS = st.builds(
    Verdict,
    type=st.sampled_from(["Ready", "JobCreated", "Other", "Another"]),
    status=st.sampled_from(STATUSES),
    reason=st.sampled_from(["Fine", "Broken"]),
    message=st.sampled_from(["", "so it is"]),
)


def ready(status: ConditionStatus, message: str = "") -> Verdict:
    return Verdict("Ready", status, "Because", message)


def test_the_time_moves_when_the_status_flips_and_only_then() -> None:
    first = EMPTY.with_verdict(ready("False"), 1, NOW)
    same = first.with_verdict(ready("False", "still"), 2, NOW + timedelta(hours=1))
    flipped = same.with_verdict(ready("True"), 2, NOW + timedelta(hours=2))
    times = [item.last_transition_time for state in (first, same, flipped) for item in state]
    whole = NOW.replace(microsecond=0)
    assert times == [whole, whole, whole + timedelta(hours=2)]


def test_message_reason_and_generation_follow_the_verdict() -> None:
    state = EMPTY.with_verdict(ready("False"), 1, NOW).with_verdict(ready("False", "new"), 7, NOW)
    condition = state.get("Ready")
    assert condition is not None
    assert (condition.message, condition.observed_generation) == ("new", 7)


@given(st.lists(VERDICTS), VERDICTS)
def test_setting_what_already_is_gives_an_equal_set(verdicts: list[Verdict], verdict: Verdict) -> None:
    state = EMPTY
    for item in verdicts:
        state = state.with_verdict(item, 1, NOW)
    once = state.with_verdict(verdict, 1, NOW)
    assert once.with_verdict(verdict, 1, NOW + timedelta(days=1)) == once


@given(st.lists(VERDICTS, unique_by=lambda verdict: verdict.type))
def test_the_order_does_not_depend_on_who_was_set_first(verdicts: list[Verdict]) -> None:
    forwards, backwards = EMPTY, EMPTY
    for verdict in verdicts:
        forwards = forwards.with_verdict(verdict, 1, NOW)
    for verdict in reversed(verdicts):
        backwards = backwards.with_verdict(verdict, 1, NOW)
    assert forwards.as_dicts() == backwards.as_dicts()
    types = [item.type for item in forwards]
    assert types == sorted(types, key=lambda name: (name not in EMPTY.order, name != "Ready", name))


def test_a_set_that_was_read_back_is_the_same() -> None:
    state = EMPTY.with_verdict(Verdict("Other", "Unknown", "CouldNotLook", "x"), 1, NOW)
    state = state.with_verdict(ready("True"), 1, NOW)
    assert ConditionSet.read(EMPTY.order, reversed(state.items)) == state


def test_reading_and_removing() -> None:
    state = EMPTY.with_verdict(ready("True"), 1, NOW)
    assert state.is_true("Ready")
    assert not state.is_true("JobCreated")
    assert not state.with_verdict(ready("Unknown"), 1, NOW).is_true("Ready")
    assert list(state.without("Ready")) == []


def test_as_written_to_the_server() -> None:
    assert EMPTY.with_verdict(ready("True", "all is well"), 3, NOW).as_dicts() == [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-01-02T03:04:05Z",
            "reason": "Because",
            "message": "all is well",
        }
    ]


def test_a_condition_without_a_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="Ready has no reason"):
        EMPTY.with_verdict(Verdict("Ready", "True", "", "x"), 1, NOW)
