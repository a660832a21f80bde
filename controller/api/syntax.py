"""The small languages inside a Neo4jBackup: durations, sizes, paths, names and cron expressions.

Guarantee: what is accepted has exactly one meaning. ``1h30m`` is ninety minutes and never rounded;
a cron expression is accepted only if the CronJob controller of Kubernetes and croniter agree on it.
The patterns are RE2 (no look-around), because the API server evaluates the very same text in CEL.

Non-guarantee: no clock here; a schedule is checked for ever firing, not for when.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from croniter import CroniterBadDateError, croniter

DNS_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
DNS_SUBDOMAIN = rf"{DNS_LABEL}([.]{DNS_LABEL})*"
DATABASE_NAME = "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
BUCKET = "[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_CHAR = "[A-Za-z0-9_=+@,!~-]"
_SEGMENT = rf"[.]{{0,2}}{_CHAR}({_CHAR}|[.])*"
PATH = rf"/?({_SEGMENT}(/{_SEGMENT})*)?/?"
"""Segments separated by single slashes; ``.`` and ``..`` are not segments."""
DURATION = "([0-9]{1,6}w)?([0-9]{1,6}d)?([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?"
QUANTITY = "[0-9]+([.][0-9]+)?(Ki|Mi|Gi|Ti|Pi|Ei|k|M|G|T|P|E)?"
MEMORY = "[1-9][0-9]{0,11}([kKmMgGtT]i?)?"
ENDPOINT = r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?"
ARGUMENT = "--[a-z][a-z0-9]*(-[a-z0-9]+)*(=[ -~]+)?"
CRON = "@(yearly|annually|monthly|weekly|daily|midnight|hourly)|[0-9A-Za-z*?,/-]+( +[0-9A-Za-z*?,/-]+){4}"
CRON_HELP = (
    "must be five cron fields (minute hour day month weekday) or one of "
    "@hourly, @daily, @weekly, @monthly, @yearly"
)

RESERVED_ARGUMENTS = (
    "from",
    "to-path",
    "type",
    "compress",
    "pagecache",
    "inspect-path",
    "additional-config",
    "expand-commands",
    "help",
)
"""Set by the operator, or able to read or run what a backup must not (``--expand-commands``)."""

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_MONTHS = {"JAN": 1, "FEB": 2, "MAR": 3, "APR": 4, "MAY": 5, "JUN": 6}
_MONTHS |= {"JUL": 7, "AUG": 8, "SEP": 9, "OCT": 10, "NOV": 11, "DEC": 12}
_DAYS = {"SUN": 0, "MON": 1, "TUE": 2, "WED": 3, "THU": 4, "FRI": 5, "SAT": 6}
_NO_NAMES: dict[str, int] = {}
_CRON_FIELDS = (
    ("minute", 0, 59, _NO_NAMES),
    ("hour", 0, 23, _NO_NAMES),
    ("day of month", 1, 31, _NO_NAMES),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_CRON_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def whole(pattern: str) -> str:
    """``pattern`` anchored at both ends, as CEL's ``matches`` searches."""
    return f"^({pattern})$"


def matches(pattern: str, text: str) -> bool:
    """True when all of ``text`` is ``pattern``."""
    return re.fullmatch(pattern, text, re.ASCII) is not None


def parse_duration(text: str) -> timedelta:
    """``30d``, ``720h``, ``1h30m``; raises ValueError for anything else, zero included."""
    if not matches(DURATION, text) or not re.search("[1-9]", text):
        raise ValueError(f"{text!r} is not a duration such as 30d, 720h or 1h30m")
    return timedelta(**{_UNITS[unit]: int(number) for number, unit in re.findall("([0-9]+)([wdhms])", text)})


def argument_name(argument: str) -> str:
    """``--temp-path=/x`` → ``temp-path``."""
    return argument.removeprefix("--").partition("=")[0]


def cron_problem(expression: str) -> str:
    """Why ``expression`` cannot be a schedule; empty when it can."""
    if not matches(CRON, expression):
        return CRON_HELP
    if not expression.startswith("@"):
        for text, (label, low, high, names) in zip(expression.split(), _CRON_FIELDS, strict=True):
            if not all(_is_term(term, low, high, names) for term in text.split(",")):
                return f"{label} {text!r} is not valid: use {low}-{high}, lists, ranges and steps"
    try:
        croniter(expression.replace("?", "*"), _CRON_EPOCH).get_next(datetime)
    except (CroniterBadDateError, ValueError) as error:
        return f"never fires: {error}" if isinstance(error, CroniterBadDateError) else str(error)
    return ""


def _is_term(term: str, low: int, high: int, names: dict[str, int]) -> bool:
    span, slash, step = term.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        return False
    if span in ("*", "?"):
        return True
    first, dash, last = span.partition("-")
    start, end = _number(first, names), _number(last if dash else first, names)
    return start is not None and end is not None and low <= start <= end <= high


def _number(text: str, names: dict[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text.upper())
