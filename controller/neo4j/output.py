"""What ``neo4j-admin database backup`` prints while it works.

Guarantee: an event is a hint for people who watch; no outcome is decided from it alone.
Non-guarantee: the text is not a stable API of Neo4j, so a line that is not recognised is no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from controller.neo4j.names import normalise


class Step(StrEnum):
    """How far one database is."""

    STARTED = "started"
    FULL = "full"
    DIFFERENTIAL = "differential"
    RECEIVING = "receiving"
    RECEIVED = "received"
    FALLBACK = "fallback"
    FINISHED = "finished"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One recognised line."""

    step: Step
    database: str
    detail: str = ""


_PATTERNS: tuple[tuple[Step, re.Pattern[str]], ...] = (
    (
        Step.FINISHED,
        re.compile(r"Finished artifact creation '(?P<d>.+?\.backup)' for database '(?P<db>.+?)'"),
    ),
    (Step.FALLBACK, re.compile(r"(?P<d>Falling back to full backup) of database '(?P<db>.+?)'")),
    (Step.FAILED, re.compile(r"ackup of database '(?P<db>.+?)' failed\.(?: Reason: (?P<d>.*))?")),
    (Step.FAILED, re.compile(r"(?P<d>Database '(?P<db>.+?)' was not found or not running)")),
    (Step.RECEIVED, re.compile(r"Finished receiving store files for database '(?P<db>.+?)'(?P<d>)")),
    (Step.RECEIVING, re.compile(r"Start receiving store files for database '(?P<db>.+?)'(?P<d>)")),
    (Step.FULL, re.compile(r"Start full backup of database '(?P<db>.+?)'(?P<d>)")),
    (Step.DIFFERENTIAL, re.compile(r"Start differential backup of database '(?P<db>.+?)'(?P<d>)")),
    (Step.STARTED, re.compile(r"Start(?:ing)? backup of database '(?P<db>.+?)'(?P<d>)")),
)
_PREFIX = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}\.\d{3}\S* +[A-Z]+ +(?:\[[^\]]*\] *)?")
_NOISE = re.compile(
    r"^\s*(at \S|\.\.\. \d+ more|Run with '--verbose'|Picked up JAVA|Full exception details|"
    r"Possible solutions|Usage:|WARNING|Suppressed:)"
)
_EXCEPTION = re.compile(r"^(?:Caused by: )?(?:[a-z]\w*\.)+[A-Z]\w*(?:Exception|Error): ")
_TROUBLE = re.compile(
    r"\b(error|fail(?:ed|ure)?|exception|unknown|invalid|not found|cannot|lost|refused|no space|"
    r"does not|denied|unable)\b",
    re.IGNORECASE,
)


def parse_line(line: str) -> Event | None:
    """The event that a line tells of, if it tells of one."""
    for step, pattern in _PATTERNS:
        match = pattern.search(line)
        if match:
            return Event(step, normalise(match["db"]), match["d"] or "")
    return None


def last_error(lines: Iterable[str]) -> str:
    """The last line that says what went wrong, without time stamp, logger and Java class names.

    Falls back to the last line that says anything; empty when nothing was printed.
    """
    said = [line.rstrip() for line in lines if line.strip() and not _NOISE.match(line)]
    troubled = [line for line in said if _TROUBLE.search(line)]
    chosen = (troubled or said or [""])[-1]
    return _EXCEPTION.sub("", _PREFIX.sub("", chosen.strip()))


def failures(events: Iterable[Event]) -> dict[str, str]:
    """The databases that failed for good, with the reason: a fallback or an artifact heals a failure."""
    failed: dict[str, str] = {}
    for event in events:
        if event.step is Step.FAILED:
            failed[event.database] = event.detail or "the backup failed"
        elif event.step in {Step.FALLBACK, Step.FINISHED}:
            failed.pop(event.database, None)
    return failed


def fallbacks(events: Iterable[Event]) -> dict[str, str]:
    """The databases of which Neo4j made a FULL backup because a differential failed, with its reason."""
    reasons: dict[str, str] = {}
    found: dict[str, str] = {}
    for event in events:
        if event.step is Step.FAILED:
            reasons[event.database] = event.detail
        elif event.step is Step.FALLBACK:
            found[event.database] = reasons.get(event.database) or "Neo4j gave no reason"
    return found
