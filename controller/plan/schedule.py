"""When a scheduled backup is due next.

Guarantee: pure; UTC, as the CronJob controller runs; aliases and ``?`` mean what Kubernetes says.
"""

from __future__ import annotations

from datetime import UTC, datetime

from croniter import CroniterBadDateError, croniter


def next_run(expression: str, now: datetime) -> datetime | None:
    """The first time after ``now``; None for a date that never comes."""
    try:
        moment: datetime = croniter(expression.replace("?", "*"), now.astimezone(UTC)).get_next(datetime)
    except CroniterBadDateError:
        return None
    return moment
