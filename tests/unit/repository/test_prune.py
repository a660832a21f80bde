"""Removing and archiving: what goes, what stays, and that a crash anywhere in between does no harm."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.plan.retention import Policy, decide
from controller.repository import catalogue, layout
from controller.repository.chains import by_database, lineage
from controller.repository.errors import StoreError
from controller.repository.intents import GRACE, Intents, sweep
from controller.repository.manifest import Intent, RunManifest, encode
from controller.repository.prune import Excess, prune
from controller.repository.store import Store
from controller.repository.stores.memory import MemoryStore
from controller.repository.stores.s3 import S3Settings, S3Store
from tests.property.retention.histories import Database, histories, run
from tests.support.s3 import s3_server

NOW = datetime(2036, 1, 1, tzinfo=UTC)


def now() -> datetime:
    return NOW


class Crash(Exception):
    """The process is gone."""


class Crashing(MemoryStore):
    """Dies at the write or deletion number ``after``: before it, or ``late``, when it is done already."""

    def __init__(self, late: bool = False) -> None:
        super().__init__()
        self.after = -1
        self.late = late

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        self._step(partial(super().put, key, chunks))

    def delete(self, key: str) -> None:
        self._step(partial(super().delete, key))

    def _step(self, do: Callable[[], None]) -> None:
        last = self.after == 0
        self.after -= 1
        if last and not self.late:
            raise Crash
        do()
        if last:
            raise Crash


def filled(store: MemoryStore, runs: list[RunManifest]) -> None:
    for one in runs:
        for artifact in one.artifacts:
            store.put(artifact.key, [artifact.key.encode()])
        catalogue.commit(store, one)


def sized(runs: list[RunManifest]) -> list[RunManifest]:
    """With the sizes that :func:`filled` writes."""
    return [
        msgspec.structs.replace(
            one, artifacts=tuple(msgspec.structs.replace(a, size=len(a.key)) for a in one.artifacts)
        )
        for one in runs
    ]


def clean(store: Store, policy: Policy) -> None:
    """What a run does after its commit."""
    found = catalogue.read(store)
    sweep(store, found, NOW)
    verdicts = decide(found, policy, NOW)
    excess = [Excess(one.run_id, one.key) for one in verdicts.remove]
    excess += [Excess(one.run_id, one.key, archive=True) for one in verdicts.archive]
    prune(store, found.runs, excess, now)


def keys(store: Store, prefix: str = "") -> set[str]:
    return {info.key for info in store.list(prefix)}


def check_consistent(store: Store, before: dict[str, list[str]]) -> None:
    """Every manifest's artifacts are there, and what they need is too."""
    found = catalogue.read(store)
    assert not found.problems
    for items in by_database(found.runs).values():
        for index, item in enumerate(items):
            assert item.artifact.key in keys(store)
            way = [one.artifact.key for one in lineage(item, items[:index])]
            assert way == before[item.artifact.key]


def ways(runs: list[RunManifest]) -> dict[str, list[str]]:
    return {
        item.artifact.key: [one.artifact.key for one in lineage(item, items[:index])]
        for items in by_database(runs).values()
        for index, item in enumerate(items)
    }


@settings(max_examples=60, deadline=None)
@given(
    runs=histories(8).map(sized),
    count=st.integers(1, 3),
    archive=st.booleans(),
    crashes=st.lists(st.integers(0, 40), max_size=4),
)
def test_a_crash_anywhere_leaves_a_consistent_repository_and_the_next_run_finishes(
    runs: list[RunManifest], count: int, archive: bool, crashes: list[int]
) -> None:
    policy, expected, store = Policy(max_count=count, archive=archive), MemoryStore(), Crashing()
    filled(expected, runs)
    filled(store, runs)
    clean(expected, policy)
    for after in crashes:
        store.after = after
        with suppress(Crash):
            clean(store, policy)
        store.after = -1
        check_consistent(store, ways(runs))
    clean(store, policy)
    clean(store, policy)
    assert keys(store) == keys(expected)
    assert not keys(store, layout.INTENTS)


FOREIGN = ("databases/neo4j/c1/notes.txt", "archive/from-before.txt", "intents/readme.txt", "else/x.backup")


def a_history() -> list[RunManifest]:
    """Two databases, two chains each, of which one begins in the middle of a run of the other's."""
    neo4j, orders = Database("neo4j"), Database("orders")
    runs = [run(0, (neo4j.full(), orders.full()))]
    for number in range(1, 6):
        neo4j.last_tx += number
        orders.last_tx += 1
        made = (neo4j.full() if number == 3 else neo4j.diff(overlap=2), orders.diff())
        runs.append(run(number, made))
    return sized([*runs, run(6, (neo4j.diff(), orders.full()))])


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_any_step_may_be_the_last_one(archive: bool, late: bool) -> None:
    """Every prefix of the steps, with what a person put beside our own things."""
    policy, runs, expected = Policy(max_count=1, archive=archive), a_history(), MemoryStore()
    filled(expected, runs)
    clean(expected, policy)
    steps = 0
    while True:
        store = Crashing(late)
        filled(store, runs)
        for key in FOREIGN:
            store.put(key, [b"not ours"])
        store.after = steps
        try:
            clean(store, policy)
        except Crash:
            steps += 1
        else:
            break
        store.after = -1
        check_consistent(store, ways(runs))
        clean(store, policy)
        assert keys(store) == keys(expected) | set(FOREIGN)
    assert steps > 20
    assert len(keys(expected, layout.DATABASES)) == 5


def test_what_is_archived_gets_its_storage_class_and_nothing_else_does() -> None:
    runs = a_history()
    with s3_server() as server:
        bucket = server.make_bucket()
        place = S3Settings(bucket, endpoint=server.endpoint, access_key_id="a", secret_access_key="b")
        store = S3Store(place)
        for one in runs:
            for artifact in one.artifacts:
                store.put(artifact.key, [artifact.key.encode()])
            catalogue.commit(store, one)
        found = decide(catalogue.read(store), Policy(max_count=1, archive=True), NOW)
        excess = [Excess(one.run_id, one.key, archive=True) for one in found.archive]
        prune(store, runs, excess, now, S3Store(replace(place, storage_class="GLACIER_IR")))
        classes = server.storage_classes(bucket)
    cold = {key for key, found in classes.items() if found == "GLACIER_IR"}
    assert cold == {f"archive/{one.key}" for one in excess}
    assert {found for key, found in classes.items() if key not in cold} == {"STANDARD"}


@settings(max_examples=60, deadline=None)
@given(runs=histories(8).map(sized), count=st.integers(1, 3))
def test_archived_artifacts_are_a_repository_of_their_own(runs: list[RunManifest], count: int) -> None:
    store = MemoryStore()
    filled(store, runs)
    everything = keys(store, layout.DATABASES)
    clean(store, Policy(max_count=count, archive=True))
    moved = {key.removeprefix("archive/") for key in keys(store, f"{layout.ARCHIVE}/{layout.DATABASES}")}
    assert moved | keys(store, layout.DATABASES) == everything
    assert not moved & keys(store, layout.DATABASES)
    archive = MemoryStore()
    for key in keys(store, layout.ARCHIVE):
        archive.put(key.removeprefix("archive/"), store.get(key))
    found = catalogue.read(archive)
    assert {artifact.key for one in found.runs for artifact in one.artifacts} == moved


def test_an_artifact_that_two_runs_name_stays_with_the_one_that_is_kept() -> None:
    shared = Database("neo4j").full()
    runs = sized([run(0, (shared,)), run(1, (shared,))])
    store = MemoryStore()
    filled(store, runs)
    assert prune(store, runs, [], now) == 0
    prune(store, runs, [Excess("run-000", shared.key)], now)
    assert shared.key in keys(store)
    assert [one.run_id for one in catalogue.read(store).runs] == ["run-000", "run-001"]


# --- leftovers ----------------------------------------------------------------------------------------


def test_what_a_dead_run_left_goes_after_the_grace_and_nothing_else() -> None:
    store = MemoryStore()
    for key in ("databases/neo4j/c/dead.backup", "databases/neo4j/c/mine.backup", "notes/readme.txt"):
        store.put(key, [b"x"])
    Intents(store, "dead", lambda: NOW - GRACE).add("databases/neo4j/c/dead.backup")
    Intents(store, "alive", lambda: NOW - GRACE + timedelta(seconds=1)).add("databases/neo4j/c/mine.backup")
    assert sweep(store, catalogue.read(store), NOW) == 1
    assert keys(store) == {"databases/neo4j/c/mine.backup", "notes/readme.txt", "intents/alive.json"}


def test_what_a_manifest_names_is_never_swept() -> None:
    store, artifact = MemoryStore(), Database("neo4j").full()
    filled(store, [run(0, (artifact,))])
    Intents(store, "late", lambda: NOW - 2 * GRACE).add(artifact.key)
    sweep(store, catalogue.read(store), NOW)
    assert artifact.key in keys(store)
    assert not keys(store, layout.INTENTS)


def test_an_unreadable_manifest_or_note_stops_the_sweeping() -> None:
    store = MemoryStore()
    store.put("databases/neo4j/c/a.backup", [b"x"])
    Intents(store, "dead", lambda: NOW - 2 * GRACE).add("databases/neo4j/c/a.backup")
    store.put("runs/broken.json", [b"{"])
    assert sweep(store, catalogue.read(store), NOW) == 0
    store.delete("runs/broken.json")
    store.put("intents/dead.json", [b"{"])
    assert sweep(store, catalogue.read(store), NOW) == 0
    assert "databases/neo4j/c/a.backup" in keys(store)


def test_a_note_cannot_reach_outside() -> None:
    store = MemoryStore()
    evil = Intent(created=NOW - 2 * GRACE, keys=("../other/runs/1.json",))
    store.put("intents/evil.json", [encode(evil)])
    with pytest.raises(StoreError, match="not a valid key"):
        sweep(store, catalogue.read(store), NOW)


def test_a_committed_run_keeps_a_note_only_of_what_it_did_not_commit() -> None:
    store = MemoryStore()
    note = Intents(store, "r", now)
    note.add("a")
    note.add("b")
    note.settle(["a"])
    assert msgspec.json.decode(store._find("intents/r.json"))["keys"] == ["b"]
    note.settle(["b"])
    assert keys(store) == set()
