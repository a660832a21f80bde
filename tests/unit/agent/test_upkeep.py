"""Retention of backups by hand: what goes, what stays, and what is never touched."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.agent import upkeep
from controller.agent.daemon import Daemon
from controller.agent.upkeep import Limits, Record, excess, limits
from tests.unit.agent.conftest import Container
from tests.unit.agent.test_with_simulator import a_server

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def record(age: int, database: str = "neo4j", path: str = "/data/backups/d", **more: Any) -> Record:
    values: dict[str, Any] = {"size": 1, "highest_tx": 10, "lowest_tx": 1, "database_id": "id"} | more
    return Record(
        path=path, file=f"{database}-{age:03}", database=database, finished=NOW - age * DAY, **values
    )


def diff(age: int, lowest: int, highest: int, **more: Any) -> Record:
    return record(age, full=False, lowest_tx=lowest, highest_tx=highest, **more)


def gone(records: list[Record], **rule: Any) -> list[str]:
    return [one.file for one, _ in excess(records, Limits(**rule), NOW)]


def test_age_and_count_both_limit_and_each_database_is_looked_at_by_itself() -> None:
    records = [record(age) for age in (1, 2, 3, 9)] + [record(age, "orders") for age in (8, 9)]
    assert gone(records, age=7 * DAY) == ["neo4j-009", "orders-009"]
    assert gone(records, count=2) == ["neo4j-009", "neo4j-003"]
    assert gone(records, age=2 * DAY, count=3) == ["neo4j-009", "orders-009", "neo4j-003"]
    assert gone(records) == []


def test_the_newest_stays_however_old_it_is() -> None:
    assert gone([record(900)], age=DAY, count=1) == []


def test_what_a_kept_differential_needs_stays() -> None:
    chain = [record(9), diff(8, 11, 20), diff(7, 21, 30), diff(1, 31, 40)]
    assert gone(chain, age=2 * DAY, count=1) == []
    assert gone([*chain, record(0)], age=DAY / 2, count=1) == [one.file for one in chain]


def test_an_empty_differential_keeps_its_chain_and_is_no_parent() -> None:
    chain = [record(9), diff(8, 11, 20), diff(7, 0, 0), diff(1, 21, 40)]
    assert gone(chain, count=1) == []
    assert gone([record(9), diff(1, 0, 0)], count=1) == []


def test_a_chain_that_spans_full_backups_is_kept_by_its_transactions() -> None:
    """2025.04's --prefer-diff-as-parent continues the older differentials beside a newer FULL."""
    records = [record(9), diff(8, 11, 20), record(7, highest_tx=25), diff(1, 21, 40)]
    assert gone(records, count=1) == []


def test_where_the_chain_cannot_be_told_all_beside_it_stays() -> None:
    assert gone([record(9), record(8), diff(1, 90, 99)], count=1) == []


@pytest.mark.parametrize("text", ["7d", "-1", "1e3", "99999999", "٣"])
def test_a_variable_that_is_no_number_removes_nothing_and_says_so(text: str) -> None:
    assert "BACKUP_RETENTION_COUNT" in limits({"BACKUP_RETENTION_COUNT": text}).problem


def test_the_documented_variables() -> None:
    assert limits({"BACKUP_RETENTION_DAYS": "7", "BACKUP_RETENTION_COUNT": "10"}) == Limits(7 * DAY, 10)
    assert limits({"BACKUP_RETENTION_DAYS": "0", "BACKUP_RETENTION_COUNT": ""}) == Limits()


@settings(max_examples=200, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from(["full", "diff", "empty"]), st.sampled_from("ab")), max_size=10),
    age=st.none() | st.integers(1, 12).map(lambda days: days * DAY),
    count=st.none() | st.integers(1, 4),
)
def test_no_chain_is_ever_torn(
    steps: list[tuple[str, str]], age: timedelta | None, count: int | None
) -> None:
    """What is left of a directory restores as it did before."""
    records: list[Record] = []
    last: dict[str, int] = {}
    for index, (kind, place) in enumerate(steps):
        path, tx = f"/data/backups/{place}", index * 10 + 10
        if kind == "full" or place not in last:
            records.append(record(len(steps) - index, path=path, highest_tx=tx))
            last[place] = tx
        elif kind == "empty":
            records.append(diff(len(steps) - index, 0, 0, path=path))
        else:
            records.append(diff(len(steps) - index, last[place] + 1, tx, path=path))
            last[place] = tx
    removed = {id(one) for one, _ in excess(records, Limits(age, count), NOW)}
    left = [one for one in records if id(one) not in removed]
    if records:
        assert records[-1] in left
    for one in left:
        before = [other for other in records if other.path == one.path and other.finished < one.finished]
        full = max((index for index, other in enumerate(before) if other.full), default=None)
        if not one.full and full is not None:
            assert all(other in left for other in before[full:])


# --- on a disk ------------------------------------------------------------------------------------


def by_hand(container: Container, daemon: Daemon, path: str, kind: str = "FULL") -> None:
    request = container.root / "backup-requests" / "backup.request"
    request.write_text(f'{{"path":"{path}","type":"{kind}","database":"neo4j"}}')
    assert daemon.step()


def test_the_sidecar_keeps_what_its_variables_say_and_touches_nothing_else(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_RETENTION_COUNT", "2")
    backups = container.root / "data/backups"
    theirs = backups / "person" / "neo4j-2020-01-01T00-00-00.backup"
    theirs.parent.mkdir()
    theirs.write_bytes(b"x")
    chain = backups / ".chains/ns.nightly/neo4j/chain.json"
    chain.parent.mkdir(parents=True)
    chain.write_text("{}")
    with a_server(container, monkeypatch, "5.26.3"):
        daemon = Daemon(container.places)
        for number in range(4):
            by_hand(container, daemon, f"/data/backups/day-{number}")
    assert sorted(entry.name for entry in backups.iterdir() if entry.name.startswith("day-")) == [
        "day-2",
        "day-3",
    ]
    assert theirs.exists()
    assert chain.exists()


def test_a_directory_in_which_somebody_else_put_artifacts_is_left_alone(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_RETENTION_COUNT", "1")
    with a_server(container, monkeypatch, "5.26.3"):
        daemon = Daemon(container.places)
        by_hand(container, daemon, "/data/backups/a")
        (ours,) = (container.root / "data/backups/a").iterdir()
        (ours.parent / "neo4j-2026-01-01T00-00-00.backup").write_bytes(b"a differential of somebody else")
        by_hand(container, daemon, "/data/backups/b")
    assert ours.exists()


def test_what_was_changed_by_hand_is_forgotten_and_not_removed(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKUP_RETENTION_COUNT", "1")
    with a_server(container, monkeypatch, "5.26.3"):
        daemon = Daemon(container.places)
        by_hand(container, daemon, "/data/backups/a")
        (ours,) = (container.root / "data/backups/a").iterdir()
        ours.write_bytes(b"other")
        by_hand(container, daemon, "/data/backups/b")
    assert ours.read_bytes() == b"other"
    register = json.loads((container.root / "data/backups" / upkeep.LIST).read_text())
    # Not by the artifact's name: both runs may end within the same second, and names have no more than that.
    assert [Path(entry["path"]).name for entry in register["artifacts"]] == ["b"]


def test_age_is_obeyed_while_nobody_asks_for_anything(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_server(container, monkeypatch, "5.26.3"):
        daemon = Daemon(container.places)
        by_hand(container, daemon, "/data/backups/a")
        by_hand(container, daemon, "/data/backups/b")
    upkeep.tidy(container.places, Limits(age=DAY), time.time() + 2 * 86400, lambda _: None)
    assert _left(container.root) == ["b"]


def _left(root: Path) -> list[str]:
    return sorted(entry.name for entry in (root / "data/backups").iterdir() if not entry.name.startswith("."))
