"""What every store promises, run on every store."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from controller.repository.errors import AlreadyExists, NotFound, StoreError
from controller.repository.store import Store, read_small

MIB = 1024 * 1024


class SourceBroke(Exception):
    pass


def everything(store: Store, key: str) -> bytes:
    return b"".join(store.get(key))


def keys(store: Store, prefix: str = "") -> set[str]:
    return {info.key for info in store.list(prefix)}


@pytest.mark.parametrize("chunks", [[], [b"one"], [b"a" * 100, b"", b"b" * 100]])
def test_what_was_put_is_read_back(store: Store, chunks: list[bytes]) -> None:
    store.put("a/b.backup", chunks)
    assert everything(store, "a/b.backup") == b"".join(chunks)
    assert store.head("a/b.backup").size == len(b"".join(chunks))


def test_objects_larger_than_a_part_are_kept_whole(store: Store) -> None:
    parts = [random.Random(seed).randbytes(MIB + 7) for seed in range(19)]
    store.put("large", iter(parts), size_hint=1)
    assert everything(store, "large") == b"".join(parts)


def test_an_object_can_be_copied_within_the_store(store: Store) -> None:
    store.put("original", [b"a" * MIB] * 9)
    store.put("copy", store.get("original"))
    assert everything(store, "copy") == b"a" * 9 * MIB
    with pytest.raises(NotFound):
        store.put("copy", store.get("missing"))
    assert store.head("copy").size == 9 * MIB


def test_put_replaces(store: Store) -> None:
    store.put("key", [b"old and longer"])
    store.put("key", [b"new"])
    assert everything(store, "key") == b"new"


def test_a_source_that_fails_leaves_nothing_and_its_own_exception_comes_out(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * (17 * MIB)
        raise SourceBroke

    with pytest.raises(SourceBroke):
        store.put("half", broken())
    assert keys(store) == set()
    with pytest.raises(NotFound):
        store.head("half")


def test_a_source_that_fails_like_an_operating_system_is_not_taken_for_the_store(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x"
        raise ConnectionResetError("by the agent")

    with pytest.raises(ConnectionResetError, match="by the agent"):
        store.put("half", broken())


def test_a_source_that_fails_keeps_the_object_that_was_there(store: Store) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * MIB
        raise SourceBroke

    store.put("key", [b"old"])
    with pytest.raises(SourceBroke):
        store.put("key", broken())
    assert everything(store, "key") == b"old"


def test_create_only_creates_once(store: Store) -> None:
    store.put_if_absent("runs/1.json", b"first")
    with pytest.raises(AlreadyExists):
        store.put_if_absent("runs/1.json", b"second")
    assert everything(store, "runs/1.json") == b"first"


def test_of_many_who_create_one_wins(store: Store) -> None:
    def create(number: int) -> int | None:
        try:
            store.put_if_absent("commit", str(number).encode())
        except AlreadyExists:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(create, range(8)) if number is not None]
    assert len(winners) == 1
    assert everything(store, "commit") == str(winners[0]).encode()


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [(0, 4, b"0123"), (3, 2, b"34"), (8, 100, b"89"), (10, 1, b""), (99, 5, b"")],
)
def test_ranges_end_at_the_end(store: Store, start: int, length: int, expected: bytes) -> None:
    store.put("digits", [b"0123456789"])
    assert store.get_range("digits", start, length) == expected


def test_what_is_missing_says_so(store: Store) -> None:
    with pytest.raises(NotFound, match=r"runs/none\.json"):
        store.head("runs/none.json")
    with pytest.raises(NotFound):
        store.get_range("runs/none.json", 0, 1)
    with pytest.raises(NotFound):
        list(store.get("runs/none.json"))
    with pytest.raises(NotFound):
        read_small(store, "runs/none.json")


def test_listing_goes_by_whole_segments(store: Store) -> None:
    for key in ("runs/1.json", "runs/2.json", "runs-old/3.json", "databases/neo4j/c/a.backup"):
        store.put(key, [b"."])
    assert keys(store, "runs") == {"runs/1.json", "runs/2.json"}
    assert keys(store, "databases/neo4j") == {"databases/neo4j/c/a.backup"}
    assert len(keys(store)) == 4
    assert keys(store, "nothing/here") == set()


def test_a_listing_of_many_pages_is_complete(store: Store) -> None:
    wanted = {f"many/{number:04}.json" for number in range(1100)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: store.put_if_absent(key, b"{}"), sorted(wanted)))
    store.put_if_absent("other.json", b"{}")
    assert sorted(info.key for info in store.list("many")) == sorted(wanted)


def test_listing_tells_sizes(store: Store) -> None:
    store.put("a/b", [b"12345"])
    assert [(info.key, info.size) for info in store.list("a")] == [("a/b", 5)]


def test_deleting_twice_is_fine(store: Store) -> None:
    store.put("key", [b"."])
    store.delete("key")
    store.delete("key")
    store.delete("never/was")
    assert keys(store) == set()


def test_abandoning_a_write_leaves_the_object(store: Store) -> None:
    store.put("a/key", [b"."])
    store.abandon("a/key")
    store.abandon("a/never-was")
    store.abandon("nowhere/at/all")
    assert keys(store) == {"a/key"}


@pytest.mark.parametrize("key", ["db.with-dots_and-dashes/x.backup", "a=b/c+d/e@f", "UPPER/lower"])
def test_keys_stay_what_they_are(store: Store, key: str) -> None:
    store.put(key, [b"."])
    assert keys(store) == {key}
    assert store.head(key).key == key


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a/", "a//b", "../x", "a/../b", "a/./b", ".hidden", "a/.tmp-1", "ä", "a b", "a%2Fb", "a\nb"],
)
def test_keys_that_stores_would_bend_are_refused(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="not a valid key"):
        store.put(key, [b"."])
    with pytest.raises(StoreError, match="not a valid key"):
        store.put_if_absent(key, b".")


def test_the_location_names_the_place(store: Store) -> None:
    assert "://" in store.location
