"""Which backups are kept: a pure function of the catalogue, the policy and the time.

Guarantee, for every database by itself: a backup is kept while it is young enough and among the newest,
and as long as anything that is kept needs it to be restored. The newest verified and the newest
restorable backup are kept whatever the policy says, so that there is always one to restore. Backups
that failed verification, or whose chain has a gap, count for nothing and protect nothing. A catalogue
with unreadable manifests loses nothing, because what they need is unknown.

Non-guarantee: nothing here looks at the store; that the artifacts are there is for verification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from controller.repository.catalogue import Catalogue
from controller.repository.chains import Saved, by_database, lineage, needs


class Verdict(StrEnum):
    """What happens to an artifact."""

    KEEP = "Keep"
    REMOVE = "Remove"
    ARCHIVE = "Archive"


@dataclass(frozen=True, slots=True)
class Policy:
    """``maxAge`` and ``maxCount`` both limit: what exceeds either goes. Neither: all is kept."""

    max_age: timedelta | None = None
    max_count: int | None = None
    """Runs, not files."""
    archive: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """About one database's artifact of one run."""

    run_id: str
    database: str
    key: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All artifacts of the catalogue, each in one of the three, oldest first within a database."""

    keep: tuple[Decision, ...]
    remove: tuple[Decision, ...]
    archive: tuple[Decision, ...]


def decide(catalogue: Catalogue, policy: Policy, now: datetime) -> Verdicts:
    """What to keep, to remove and to archive, each with its reason."""
    blocked = catalogue.problems[0].key if catalogue.problems else ""
    decisions = [
        decision
        for items in by_database(catalogue.runs).values()
        for decision in _Database(items, policy, now, blocked).decisions()
    ]
    keep, remove, archive = (tuple(one for one in decisions if one.verdict is each) for each in Verdict)
    return Verdicts(keep, remove, archive)


class _Database:
    """The backups of one database, oldest first."""

    def __init__(self, items: Sequence[Saved], policy: Policy, now: datetime, blocked: str) -> None:
        self._items = items
        self._policy = policy
        self._now = now
        self._blocked = blocked
        self._reasons: dict[int, str] = {}
        good = (index for index, item in enumerate(items) if self._is_good(index, item))
        self._good = tuple(good)

    def decisions(self) -> list[Decision]:
        self._keep_what_the_policy_keeps()
        self._keep_the_newest_good()
        self._keep_what_is_needed()
        gone = Verdict.ARCHIVE if self._policy.archive else Verdict.REMOVE
        return [
            Decision(
                item.run.run_id,
                item.artifact.database,
                item.artifact.key,
                Verdict.KEEP if index in self._reasons else gone,
                self._reasons.get(index) or self._excess(index, item),
            )
            for index, item in enumerate(self._items)
        ]

    def _keep_what_the_policy_keeps(self) -> None:
        for index, item in enumerate(self._items):
            if self._blocked:
                self._reasons[index] = f"{self._blocked} cannot be read, and may need it"
            elif not self._excess(index, item):
                self._reasons[index] = "within the policy"

    def _keep_the_newest_good(self) -> None:
        verified = [index for index in self._good if self._items[index].artifact.verified]
        for found, what in ((self._good, "restorable"), (verified, "verified")):
            if found:
                self._reasons.setdefault(found[-1], f"the newest {what} backup of the database")

    def _keep_what_is_needed(self) -> None:
        """From the newest back: a parent is always older than what needs it."""
        places = {id(item): index for index, item in enumerate(self._items)}
        for index in reversed(range(len(self._items))):
            if index not in self._reasons:
                continue
            item = self._items[index]
            for needed in needs(item, self._items[:index]):
                self._reasons.setdefault(places[id(needed)], f"needed to restore run {item.run.run_id}")

    def _excess(self, index: int, item: Saved) -> str:
        """Why the policy does not keep it by itself; empty when it does."""
        age = self._now - item.run.started
        if self._policy.max_age is not None and age > self._policy.max_age:
            return f"older than maxAge ({_days(age)} > {_days(self._policy.max_age)})"
        newer = sum(1 for good in self._good if good > index)
        if self._policy.max_count is not None and newer >= self._policy.max_count:
            return f"{newer} newer backups are kept by maxCount {self._policy.max_count}"
        return ""

    def _is_good(self, index: int, item: Saved) -> bool:
        way = lineage(item, self._items[:index])
        return bool(way) and all(one.artifact.verified is not False for one in way)


def _days(age: timedelta) -> str:
    hours = age.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
