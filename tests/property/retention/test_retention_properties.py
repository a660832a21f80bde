"""The laws of retention over any history: nothing needed goes, nothing comes back, all is reasoned."""

from __future__ import annotations

import random
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.retention import Decision, Policy, Verdicts, decide
from controller.repository.catalogue import Catalogue, Problem
from controller.repository.chains import Saved, by_database, lineage
from controller.repository.manifest import RunManifest
from tests.property.retention.histories import HOUR, START, Database, histories, run

ages = st.one_of(st.none(), st.sampled_from([1, 12, 24, 48, 100, 800, 5000]).map(lambda hours: hours * HOUR))
counts = st.one_of(st.none(), st.integers(1, 8))
policies = st.builds(Policy, ages, counts, st.booleans())
later = st.integers(0, 10_000).map(lambda hours: hours * HOUR)


def now_after(runs: list[RunManifest], wait: timedelta) -> datetime:
    return max((one.finished for one in runs), default=START) + wait


def verdicts(runs: list[RunManifest], policy: Policy, now: datetime) -> Verdicts:
    return decide(Catalogue(tuple(runs)), policy, now)


def keys(decisions: tuple[Decision, ...]) -> set[str]:
    return {one.key for one in decisions}


def gone(found: Verdicts) -> set[str]:
    return keys(found.remove) | keys(found.archive)


def without(runs: list[RunManifest], removed: set[str]) -> list[Saved]:
    return [
        item for items in by_database(runs).values() for item in items if item.artifact.key not in removed
    ]


def ways(items: list[Saved]) -> dict[str, list[str]]:
    """How each artifact is restored."""
    found: dict[str, list[str]] = {}
    for index, item in enumerate(items):
        earlier = [one for one in items[:index] if one.artifact.database == item.artifact.database]
        found[item.artifact.key] = [one.artifact.key for one in lineage(item, earlier)]
    return found


@settings(max_examples=100, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_everything_is_decided_once_and_with_a_reason(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    found = verdicts(runs, policy, now_after(runs, wait))
    every = [*found.keep, *found.remove, *found.archive]
    assert sorted(one.key for one in every) == sorted(one.key for item in runs for one in item.artifacts)
    assert all(one.reason for one in every)
    assert not (found.remove if policy.archive else found.archive)


@settings(max_examples=133, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_what_is_kept_is_restored_in_the_same_way_as_before(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    found = verdicts(runs, policy, now_after(runs, wait))
    before, after = ways(without(runs, set())), ways(without(runs, gone(found)))
    assert after == {key: before[key] for key in keys(found.keep)}


@settings(max_examples=100, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_the_newest_restorable_and_the_newest_verified_stay_whatever_the_policy(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    found = verdicts(runs, policy, now_after(runs, wait))
    for items in by_database(runs).values():
        good = [
            item
            for index, item in enumerate(items)
            if (way := lineage(item, items[:index]))
            and all(one.artifact.verified is not False for one in way)
        ]
        verified = [item for item in good if item.artifact.verified]
        for newest in (good[-1:], verified[-1:]):
            assert {item.artifact.key for item in newest} <= keys(found.keep)


@settings(max_examples=100, deadline=None)
@given(runs=histories(), policy=policies, wait=later, more_age=later, more=st.integers(0, 5))
def test_a_larger_policy_keeps_no_less(
    runs: list[RunManifest], policy: Policy, wait: timedelta, more_age: timedelta, more: int
) -> None:
    larger = Policy(
        None if policy.max_age is None else policy.max_age + more_age,
        None if policy.max_count is None else policy.max_count + more,
    )
    now = now_after(runs, wait)
    assert keys(verdicts(runs, policy, now).keep) <= keys(verdicts(runs, larger, now).keep)


@settings(max_examples=100, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_time_alone_brings_nothing_back(runs: list[RunManifest], policy: Policy, wait: timedelta) -> None:
    now = now_after(runs, timedelta(0))
    assert gone(verdicts(runs, policy, now)) <= gone(verdicts(runs, policy, now + wait))


@settings(max_examples=100, deadline=None)
@given(runs=histories(), policy=policies, wait=later, cut=st.integers(0, 14))
def test_a_new_backup_keeps_no_older_one_but_its_own_parents(
    runs: list[RunManifest], policy: Policy, wait: timedelta, cut: int
) -> None:
    older, now = runs[:cut], now_after(runs, wait)
    before, after = verdicts(older, policy, now), verdicts(runs, policy, now)
    new = {artifact.key for item in runs[cut:] for artifact in item.artifacts}
    parents = {key for new_key in new for key in ways(without(runs, set()))[new_key]}
    newly = (keys(after.keep) & gone(before)) - parents
    # All that is left may only be a chain mate of a new one, which is kept for caution's sake.
    chains = {artifact.chain for item in runs[cut:] for artifact in item.artifacts}
    assert all(key.split("/")[2] in chains for key in newly)


@settings(max_examples=66, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_deciding_again_after_the_removal_removes_nothing_more(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    now = now_after(runs, wait)
    removed = gone(verdicts(runs, policy, now))
    left = [_only(one, removed) for one in runs]
    assert not gone(verdicts([one for one in left if one.artifacts], policy, now))


def _only(one: RunManifest, removed: set[str]) -> RunManifest:
    import msgspec

    kept = tuple(artifact for artifact in one.artifacts if artifact.key not in removed)
    return msgspec.structs.replace(one, artifacts=kept)


@settings(max_examples=66, deadline=None)
@given(runs=histories(), policy=policies, wait=later, seed=st.integers())
def test_the_order_in_which_manifests_are_read_does_not_matter(
    runs: list[RunManifest], policy: Policy, wait: timedelta, seed: int
) -> None:
    now, shuffled = now_after(runs, wait), list(runs)
    random.Random(seed).shuffle(shuffled)
    assert verdicts(runs, policy, now) == verdicts(shuffled, policy, now)


@settings(max_examples=66, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_databases_do_not_influence_each_other(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    now = now_after(runs, wait)
    together = gone(verdicts(runs, policy, now))
    alone: set[str] = set()
    for name in by_database(runs):
        others = {key for one in runs for key in (a.key for a in one.artifacts if a.database != name)}
        only = [_only(one, others) for one in runs]
        alone |= gone(verdicts([one for one in only if one.artifacts], policy, now))
    assert together == alone


@settings(max_examples=60, deadline=None)
@given(runs=histories(), policy=policies, wait=later)
def test_an_unreadable_manifest_stops_all_removal(
    runs: list[RunManifest], policy: Policy, wait: timedelta
) -> None:
    damaged = Catalogue(tuple(runs), (Problem("runs/x.json", "damaged"),))
    assert not gone(decide(damaged, policy, now_after(runs, wait)))


@settings(max_examples=66, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from([0, 1, 4]), st.sampled_from([0, 2, 9])), max_size=10),
    count=st.integers(1, 3),
)
def test_differentials_with_overlaps_and_empty_ones_keep_their_way_back(
    steps: list[tuple[int, int]], count: int
) -> None:
    database, runs = Database("neo4j"), []
    runs.append(run(0, (database.full(),)))
    for number, (transactions, overlap) in enumerate(steps, 1):
        database.last_tx += transactions
        runs.append(run(number, (database.diff(overlap=overlap),)))
    runs.append(run(90, (database.full(),)))
    database.last_tx += 3
    runs.append(run(91, (database.diff(overlap=2),)))
    found = verdicts(runs, Policy(max_count=count), START + 10_000 * HOUR)
    newest = ways(without(runs, gone(found)))[runs[-1].artifacts[0].key]
    assert newest == [runs[-2].artifacts[0].key, runs[-1].artifacts[0].key]
    if count <= 2:
        assert len(keys(found.keep)) == 2
    else:
        assert len(keys(found.keep)) == len(runs)
