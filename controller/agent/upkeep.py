"""Retention of the backups that were asked for by hand: ``BACKUP_RETENTION_DAYS`` and ``_COUNT``.

What those runs wrote is listed in ``/data/backups/.handwritten.json``, on the volume because a pod is not
for ever. For each database by itself an artifact is kept while it is young enough and among the newest,
as long as something that is kept needs it to be restored, and when it is the newest.

Guarantee: nothing is removed that is not in the list as it was written; a directory in which somebody else
put artifacts of the same database keeps all of its own, because those may continue them. The runner's
staging and the open chains are not in the list. Non-guarantee: what was removed or moved by hand is
forgotten, not looked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from controller.agent.destination import Refused, below_backups
from controller.agent.places import Places
from controller.neo4j.chains import Link, continues
from controller.neo4j.names import parse_artifact
from controller.wire.messages import AgentStatus, Message, Unreadable, decode

LIST = ".handwritten.json"
DAYS = "BACKUP_RETENTION_DAYS"
COUNT = "BACKUP_RETENTION_COUNT"


class Record(Message, frozen=True, kw_only=True):
    """One artifact that a run by hand wrote."""

    path: str
    file: str
    size: int
    database: str
    finished: datetime
    database_id: str = ""
    full: bool = True
    lowest_tx: int = 0
    highest_tx: int = 0

    @property
    def link(self) -> Link:
        return Link(self.file, self.database_id, self.full, self.lowest_tx, self.highest_tx)


class Register(Message, frozen=True, kw_only=True):
    """``.handwritten.json``, oldest first."""

    artifacts: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """What both variables say; ``None`` is no limit."""

    age: timedelta | None = None
    count: int | None = None
    problem: str = ""
    """Why they are not obeyed: nothing is removed then."""


def limits(env: Mapping[str, str]) -> Limits:
    """A variable that is absent, empty or 0 is no limit."""
    for name in (DAYS, COUNT):
        text = env.get(name, "").strip()
        if text and not (text.isascii() and text.isdigit() and len(text) < 7):
            return Limits(problem=f"{name}={text!r} is no whole number: backups by hand are kept until it is")
    days, count = (int(env.get(name, "").strip() or 0) for name in (DAYS, COUNT))
    return Limits(timedelta(days=days) if days else None, count or None)


def note(places: Places, status: AgentStatus) -> None:
    """List what a run by hand wrote."""
    finished = datetime.fromisoformat(status.finished)
    fresh = tuple(
        Record(
            path=status.path,
            file=one.file,
            size=one.size,
            database=one.database,
            finished=finished,
            database_id=one.database_id,
            full=one.full,
            lowest_tx=one.lowest_tx,
            highest_tx=one.highest_tx,
        )
        for one in status.artifacts
    )
    _write(places, (*_read(places), *fresh))


def tidy(places: Places, rule: Limits, now: float, say: Callable[[str], None]) -> None:
    """Remove what exceeds ``rule``, newest first, so that no differential outlives its parent."""
    before = _read(places)
    if not before or rule.problem or (rule.age is None and rule.count is None):
        return
    records = tuple(record for record in before if _is_there(places, record))
    foreign = {(record.path, record.database) for record in records if _has_others(places, record, records)}
    going = excess(records, rule, datetime.fromtimestamp(now, UTC), foreign)
    for record, reason in reversed(going):
        say(f"removed {record.path}/{record.file}: {reason}")
        file = _file(places, record)
        file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            file.parent.rmdir()  # when it was the last one
    gone = {id(record) for record, _ in going}
    left = tuple(record for record in records if id(record) not in gone)
    if left != before:
        _write(places, left)


def excess(
    records: Sequence[Record], rule: Limits, now: datetime, foreign: Iterable[tuple[str, str]] = ()
) -> list[tuple[Record, str]]:
    """What goes, and why, oldest first. Pure."""
    untouchable = set(foreign)
    ordered = sorted(records, key=lambda record: (record.finished, record.file))
    found = []
    for name in {record.database for record in ordered}:
        found += _excess_of([record for record in ordered if record.database == name], rule, now, untouchable)
    return sorted(found, key=lambda item: (item[0].finished, item[0].file))


def _excess_of(
    records: Sequence[Record], rule: Limits, now: datetime, untouchable: set[tuple[str, str]]
) -> list[tuple[Record, str]]:
    reasons = {index: _reason(index, records, rule, now) for index in range(len(records))}
    kept = {
        index
        for index, record in enumerate(records)
        if not reasons[index] or index == len(records) - 1 or (record.path, record.database) in untouchable
    }
    for index in sorted(kept, reverse=True):
        kept |= _needed(index, records)
    return [(record, reasons[index]) for index, record in enumerate(records) if index not in kept]


def _reason(index: int, records: Sequence[Record], rule: Limits, now: datetime) -> str:
    newer = len(records) - 1 - index
    if rule.age is not None and now - records[index].finished > rule.age:
        return f"older than {DAYS}={rule.age.days}"
    if rule.count is not None and newer >= rule.count:
        return f"{newer} newer backups of {records[index].database} are kept by {COUNT}={rule.count}"
    return ""


def _needed(index: int, records: Sequence[Record]) -> set[int]:
    """Its chain and whatever lies in between; everything before it, where no way to a FULL is found.

    The list does not know which release wrote an artifact, so both rules of overlapping are followed.
    """
    if records[index].full:
        return set()
    beside = [other for other in range(index) if records[other].path == records[index].path]
    starts = [_start(records[index], beside, records, may_overlap) for may_overlap in (False, True)]
    found = [start for start in starts if start is not None]
    return {other for other in beside if not found or other >= min(found)}


def _start(item: Record, beside: Sequence[int], records: Sequence[Record], may_overlap: bool) -> int | None:
    """The FULL artifact that ``item`` leads back to."""
    child = item.link
    for other in reversed(beside):
        link = records[other].link
        if child.is_empty or continues(child, link, may_overlap=may_overlap):
            if link.full:
                return other
            child = link
    return None


def _is_there(places: Places, record: Record) -> bool:
    """As it was written, and not behind a link that leads out."""
    try:
        file = _file(places, record)
        return (
            not file.is_symlink()
            and file.stat().st_size == record.size
            and file.resolve().is_relative_to(places.backups.resolve())
        )
    except (OSError, Refused):
        return False


def _has_others(places: Places, record: Record, records: Iterable[Record]) -> bool:
    ours = {other.file for other in records if other.path == record.path}
    beside = (entry.name for entry in _file(places, record).parent.iterdir() if entry.name not in ours)
    return any((found := parse_artifact(name)) and found.database == record.database for name in beside)


def _file(places: Places, record: Record) -> Path:
    if "/" in record.file:
        raise Refused(f"{record.file!r} is no file name")
    return places.backups / below_backups(record.path) / record.file


def _read(places: Places) -> tuple[Record, ...]:
    try:
        return decode((places.backups / LIST).read_bytes(), Register).artifacts
    except (OSError, Unreadable):
        return ()


def _write(places: Places, records: tuple[Record, ...]) -> None:
    aside = places.backups / f"{LIST}.new"
    aside.write_bytes(msgspec.json.encode(Register(artifacts=records)) + b"\n")
    aside.replace(places.backups / LIST)
