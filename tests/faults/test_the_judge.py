"""A judge that never objects would pass every seed: each kind of lie is told to it here."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from controller.repository import catalogue
from controller.wire.messages import Outcome
from tests.faults import judge
from tests.faults.plan import Kind, Trouble, trouble_of
from tests.faults.rounds import writes
from tests.faults.world import Told, World, a_world
from tests.support.s3 import s3_server


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Told]]:
    """A clean run, judged once as it is."""
    with s3_server() as s3, a_world(tmp_path_factory.mktemp("world"), s3, 0) as world:
        world.write(writes(0))
        told = world.run("run-1", None)
        judge.check(world, told, None)
        yield world, told


def objects(world: World, told: Told, *changes: tuple[str, bytes | None]) -> str:
    """What the judge says while ``changes`` are made to the store; they are undone afterwards."""
    store, before = world.store, dict[str, bytes | None]()
    for key, data in changes:
        exists = key in {info.key for info in store.list("")}
        before[key] = b"".join(store.get(key)) if exists else None
        store.delete(key) if data is None else store.put(key, [data])
    try:
        with pytest.raises((AssertionError, Exception)) as caught:
            judge.check(world, told, None)
        return f"{type(caught.value).__name__}: {caught.value}"
    finally:
        for key, data in before.items():
            store.delete(key) if data is None else store.put(key, [data])


def an_artifact(world: World) -> str:
    (run,) = catalogue.read(world.store).runs
    return next(one.key for one in run.artifacts if one.database == "orders")


def test_an_artifact_that_is_gone(told: tuple[World, Told]) -> None:
    assert "gone from the store" in objects(*told, (an_artifact(told[0]), None))


def test_an_artifact_with_one_changed_bit(told: tuple[World, Told]) -> None:
    world, key = told[0], an_artifact(told[0])
    data = bytearray(b"".join(world.store.get(key)))
    data[len(data) // 2] ^= 1
    assert "Undecryptable" in objects(*told, (key, bytes(data)))


def test_an_object_that_nobody_owns(told: tuple[World, Told]) -> None:
    assert "nobody owns" in objects(*told, ("databases/orders/lost/orders.backup", b"x"))


def test_a_good_run_without_a_manifest(told: tuple[World, Told]) -> None:
    world, said = told
    with pytest.raises(AssertionError, match="not in the catalogue"):
        judge.check(world, Told("run-2", said.result, "", 1), None)


def test_content_that_the_database_never_had(told: tuple[World, Told]) -> None:
    world, said = told
    before = dict(world.contents)
    world.contents.update(dict.fromkeys(before, "something else"))
    try:
        with pytest.raises(AssertionError, match="restored to something else"):
            judge.check(world, said, None)
    finally:
        world.contents.update(before)


def test_a_failure_with_another_cause_and_one_without_any_trouble(told: tuple[World, Told]) -> None:
    world, said = told
    assert said.result is not None
    failed = msgspec.structs.replace(
        said.result, outcome=Outcome.FAILED, error_reason="AccessDenied", error="check the credentials"
    )
    for trouble in (None, a_trouble(Kind.BUCKET_GONE)):
        with pytest.raises(AssertionError, match=r"without trouble|true cause"):
            judge.check(world, Told("run-2", failed, "", 1), trouble)
    judge.check(world, Told("run-2", failed, "", 1), a_trouble(Kind.STORE_DENIES))
    with pytest.raises(AssertionError, match="in the catalogue"):
        judge.check(world, Told("run-1", failed, "", 1), a_trouble(Kind.STORE_DENIES))


def a_trouble(kind: Kind) -> Trouble:
    return next(trouble for trouble in map(trouble_of, range(len(Kind))) if trouble.kind is kind)


def test_every_kind_of_trouble_has_its_turn_and_the_same_seed_the_same_trouble() -> None:
    for first in range(0, 216, len(Kind)):
        assert {trouble_of(seed).kind for seed in range(first, first + len(Kind))} == set(Kind)
    assert [trouble_of(seed) for seed in range(50)] == [trouble_of(seed) for seed in range(50)]
