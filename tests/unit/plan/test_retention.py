"""Retention told by example, with the words that a person reads."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from controller.plan.retention import Policy, Verdicts, decide
from controller.repository.catalogue import Catalogue
from controller.repository.chains import Saved, lineage, needs
from controller.repository.manifest import RunManifest, StoredArtifact
from tests.property.retention.histories import HOUR, START, Database, run

DAY = 24 * HOUR


def fulls(count: int, *, verified: bool | None = None) -> list[RunManifest]:
    """One a day, the first on day 0."""
    database = Database("neo4j")
    return [run(number, (database.full(verified=verified),)) for number in range(count)]


def decided(runs: list[RunManifest], policy: Policy, day: float) -> Verdicts:
    return decide(Catalogue(tuple(runs)), policy, START + day * DAY)


def removed(found: Verdicts) -> list[str]:
    return [one.run_id for one in found.remove]


def kept(found: Verdicts) -> dict[str, str]:
    return {one.run_id: one.reason for one in found.keep}


def test_without_limits_all_is_kept() -> None:
    assert removed(decided(fulls(9), Policy(), 900)) == []


def test_max_count_keeps_the_newest() -> None:
    found = decided(fulls(5), Policy(max_count=2), 5)
    assert removed(found) == ["run-000", "run-001", "run-002"]
    assert found.remove[-1].reason == "2 newer backups are kept by maxCount 2"


def test_max_age_is_exact_to_the_second() -> None:
    policy = Policy(max_age=timedelta(hours=36))
    runs = fulls(2)
    at = START + timedelta(hours=36)
    assert removed(decide(Catalogue(tuple(runs)), policy, at)) == []
    found = decide(Catalogue(tuple(runs)), policy, at + timedelta(seconds=1))
    assert removed(found) == ["run-000"]
    assert found.remove[0].reason == "older than maxAge (36.0 hours > 36.0 hours)"


def test_either_limit_is_enough_to_go() -> None:
    runs = fulls(10)
    assert removed(decided(runs, Policy(timedelta(days=30), 2), 9)) == [f"run-00{i}" for i in range(8)]
    assert removed(decided(runs, Policy(timedelta(days=2), 8), 9)) == [f"run-00{i}" for i in range(7)]


def test_the_last_good_backup_survives_every_age() -> None:
    found = decided(fulls(3), Policy(max_age=HOUR), 4000)
    assert kept(found) == {"run-002": "the newest restorable backup of the database"}


def test_the_newest_verified_one_stays_beside_the_newest() -> None:
    database = Database("neo4j")
    runs = [run(0, (database.full(verified=True),)), *(run(i, (database.full(),)) for i in (1, 2, 3))]
    found = decided(runs, Policy(max_count=1), 9)
    assert kept(found) == {
        "run-000": "the newest verified backup of the database",
        "run-003": "within the policy",
    }


def test_a_backup_that_failed_verification_counts_for_nothing() -> None:
    database = Database("neo4j")
    runs = [run(0, (database.full(),)), run(1, (database.full(verified=False),))]
    found = decided(runs, Policy(max_count=1), 9)
    assert "run-000" in kept(found)
    found = decided(runs, Policy(max_age=HOUR), 9)
    assert removed(found) == ["run-001"]
    assert list(kept(found)) == ["run-000"]


def test_a_differential_keeps_its_chain() -> None:
    database = Database("neo4j")
    runs = [run(0, (database.full(),))]
    for number in (1, 2, 3):
        database.last_tx += 5
        runs.append(run(number, (database.diff(),)))
    found = decided(runs, Policy(max_count=1), 9)
    assert removed(found) == []
    assert kept(found)["run-000"] == "needed to restore run run-003"
    runs.append(run(4, (database.full(),)))
    assert removed(decided(runs, Policy(max_count=1), 9)) == ["run-000", "run-001", "run-002", "run-003"]
    assert removed(decided(runs, Policy(max_count=2), 9)) == []


def test_databases_are_counted_by_themselves() -> None:
    one, other = Database("neo4j"), Database("orders")
    runs = [run(0, (one.full(), other.full())), run(1, (one.full(),)), run(2, (one.full(),))]
    found = decided(runs, Policy(max_count=2), 9)
    assert [(item.run_id, item.database) for item in found.remove] == [("run-000", "neo4j")]


def test_archive_is_another_word_for_the_same() -> None:
    found = decided(fulls(3), Policy(max_count=1, archive=True), 9)
    assert [one.run_id for one in found.archive] == ["run-000", "run-001"]
    assert found.remove == ()


# --- chains -------------------------------------------------------------------------------------------


def saved(*artifacts: StoredArtifact) -> list[Saved]:
    return [Saved(run(number, (one,)), one) for number, one in enumerate(artifacts)]


def artifact(name: str, low: int, high: int, *, chain: str = "c", **more: object) -> StoredArtifact:
    plain = StoredArtifact(
        database="neo4j",
        key=name,
        size=1,
        sha256="",
        chain=chain,
        full=low == 1,
        lowest_tx=low,
        highest_tx=high,
        database_id="id",
    )
    return msgspec.structs.replace(plain, **more)


def way(*artifacts: StoredArtifact) -> str:
    items = saved(*artifacts)
    return "".join(item.artifact.key for item in lineage(items[-1], items[:-1]))


def test_the_way_back_follows_the_transactions() -> None:
    full, one, two = artifact("F", 1, 10), artifact("a", 11, 20), artifact("b", 21, 30)
    assert way(full) == "F"
    assert way(full, one, two) == "Fab"
    assert way(full, artifact("e", 0, 0), one) == "Fa"
    assert way(full, one, artifact("e", 0, 0)) == "Fae"
    assert way(full, one, artifact("e", 0, 0), two) == "Fab"


def test_only_the_first_differential_may_overlap() -> None:
    assert way(artifact("F", 1, 10), artifact("a", 8, 20)) == "Fa"
    assert way(artifact("F", 1, 10), artifact("a", 11, 20), artifact("b", 18, 30)) == ""


@pytest.mark.parametrize(
    "artifacts",
    [
        (artifact("a", 11, 20),),
        (artifact("F", 1, 10), artifact("a", 12, 20)),
        (artifact("F", 1, 10), artifact("b", 21, 30)),
        (artifact("F", 1, 10, database_id="other"), artifact("a", 11, 20)),
    ],
)
def test_a_gap_is_a_gap(artifacts: tuple[StoredArtifact, ...]) -> None:
    assert way(*artifacts) == ""


def test_a_chain_that_spans_two_full_ones_stays_with_its_own() -> None:
    """A DIFF preferred as parent (2025.04): ``b`` continues ``a``, although a full one came between."""
    full, one = artifact("F", 1, 10), artifact("a", 11, 20)
    between = artifact("G", 1, 25, chain="d")
    assert way(full, one, between, artifact("b", 21, 30)) == "Fab"
    assert way(full, one, between, artifact("b", 21, 30, chain="d")) == "Gb"


def test_a_chain_whose_record_is_incomplete_is_found_by_its_transactions() -> None:
    full, one = artifact("F", 1, 10, chain="x"), artifact("a", 11, 20, chain="y")
    assert way(full, one, artifact("b", 21, 30, chain="z")) == "Fab"
    items = saved(full, one, artifact("b", 21, 30, chain="z"))
    assert [item.artifact.key for item in needs(items[2], items[:2])] == ["F", "a"]


def test_all_that_the_chain_holds_before_it_is_needed() -> None:
    items = saved(
        artifact("F", 1, 10), artifact("e", 0, 0), artifact("a", 11, 20), artifact("f", 0, 0, chain="other")
    )
    found = needs(saved(artifact("b", 21, 30))[0], items)
    assert [item.artifact.key for item in found] == ["F", "e", "a"]
