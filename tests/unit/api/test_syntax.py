"""Durations and cron expressions: one meaning, or refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given
from hypothesis import strategies as st

from controller.api.syntax import cron_problem, parse_duration


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30d", timedelta(days=30)),
        ("720h", timedelta(days=30)),
        ("1h30m", timedelta(minutes=90)),
        ("90m", timedelta(minutes=90)),
        ("2w3d", timedelta(days=17)),
        ("45s", timedelta(seconds=45)),
    ],
)
def test_a_duration_means_what_it_says(text: str, expected: timedelta) -> None:
    assert parse_duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "30", "d", "0d", "0h0m", "-1d", "1 d", "1.5h", "30m1h", "1d1d", "1y", "٣d"]
)
def test_what_is_not_clearly_a_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@given(st.integers(0, 999), st.integers(0, 999), st.integers(1, 999))
def test_a_duration_is_the_sum_of_its_parts(days: int, hours: int, minutes: int) -> None:
    assert parse_duration(f"{days}d{hours}h{minutes}m") == timedelta(days=days, hours=hours, minutes=minutes)


@pytest.mark.parametrize(
    "text",
    [
        "0 2 * * *",
        "*/15 * * * *",
        "0 0 1,15 * MON-FRI",
        "30 4 ? jan-mar sun",
        "5/10 0-6/2 * * *",
        "0 0 29 2 *",
        "@daily",
        "@hourly",
        "@yearly",
    ],
)
def test_a_schedule_that_kubernetes_takes_is_accepted(text: str) -> None:
    assert cron_problem(text) == ""
    croniter(text, datetime(2026, 1, 1, tzinfo=UTC)).get_next(datetime)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("daily", "five cron fields"),
        ("0 2 * *", "five cron fields"),
        ("0 0 2 * * *", "five cron fields"),
        ("@every 1h", "five cron fields"),
        ("@reboot", "five cron fields"),
        ("CRON_TZ=UTC 0 2 * * *", "five cron fields"),
        ("60 2 * * *", "minute '60'"),
        ("0 24 * * *", "hour '24'"),
        ("0 2 0 * *", "day of month '0'"),
        ("0 2 * 13 *", "month '13'"),
        ("0 2 * * 7", "day of week '7'"),
        ("0 2 L * *", "day of month 'L'"),
        ("0 2 * * FRI-MON", "day of week 'FRI-MON'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("1-2-3 * * * *", "minute '1-2-3'"),
        (", * * * *", "minute ','"),
        ("H 2 * * *", "minute 'H'"),
        ("0 0 31 2 *", "never fires"),
    ],
)
def test_a_schedule_that_would_not_fire_is_refused_with_the_reason(text: str, why: str) -> None:
    assert why in cron_problem(text)
