"""The cache: single steps, tombstones, namesakes, indexes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from controller.kube.store import Delta, Indexes, StoreWriter
from tests.unit.kube.things import Thing, thing

A1, A2, B1 = thing("a", "1"), thing("a", "2"), thing("b", "1")


def a_writer(*items: Thing, version: str = "1") -> StoreWriter[Thing]:
    writer: StoreWriter[Thing] = StoreWriter({"color": lambda item: [item.color] if item.color else []})
    writer.replace(items, version)
    return writer


def test_a_new_store_is_empty_and_has_no_version() -> None:
    store = StoreWriter[Thing]().store
    assert (store.list(), store.version, len(store)) == ([], "", 0)


def test_objects_are_found_by_name_and_by_namespace() -> None:
    other = thing("a", "1", namespace="other")
    store = a_writer(A1, B1, other).store
    assert store.get("ns", "a") is A1
    assert store.get("ns", "c") is None
    assert store.list("ns") == [A1, B1]
    assert store.list("other") == [other]
    assert store.list("empty") == []


def test_events_change_one_object_and_the_version() -> None:
    writer = a_writer(A1)
    assert writer.put(B1) == [Delta(None, B1)]
    assert writer.put(A2) == [Delta(A1, A2)]
    assert writer.store.version == "2"
    gone = thing("a", "3")
    assert writer.remove(gone) == [Delta(gone, None)]
    assert (writer.store.list(), writer.store.version) == ([B1], "3")


def test_the_same_version_again_is_no_change() -> None:
    writer = a_writer(A1)
    assert writer.put(thing("a", "1", color="ignored")) == []
    assert writer.store.get("ns", "a") is A1


def test_an_event_that_is_told_again_after_the_end_does_not_bring_the_object_back() -> None:
    writer: StoreWriter[Thing] = StoreWriter()
    writer.put(thing("a", "5"))
    writer.remove(thing("a", "7"))
    assert writer.put(thing("a", "5")) == []
    assert (writer.store.list(), writer.store.version) == ([], "7")


def test_a_deletion_of_something_unknown_moves_only_the_version() -> None:
    writer = a_writer(A1)
    assert writer.remove(thing("z", "9")) == []
    assert (writer.store.list(), writer.store.version) == ([A1], "9")


def test_a_bookmark_moves_the_version_only() -> None:
    writer = a_writer(A1)
    writer.bookmark("50")
    assert (writer.store.list(), writer.store.version) == ([A1], "50")


def test_a_namesake_is_a_deletion_and_an_addition() -> None:
    writer, namesake = a_writer(A1), thing("a", "5", uid="another")
    assert writer.put(namesake) == [Delta(A1, None), Delta(None, namesake)]


def test_the_deletion_of_a_namesake_reports_the_one_that_was_known() -> None:
    writer = a_writer(A1)
    assert writer.remove(thing("a", "5", uid="another")) == [Delta(A1, None)]


def test_a_relist_reports_what_vanished_first_then_what_is_new_or_changed() -> None:
    writer = a_writer(A1, B1, thing("c", "1"))
    new, namesake = thing("d", "9"), thing("c", "9", uid="another")
    deltas = writer.replace([A2, new, namesake], "9")
    assert deltas[:2] == [Delta(B1, None), Delta(thing("c", "1"), None)]
    assert sorted(deltas[2:], key=str) == sorted(
        [Delta(A1, A2), Delta(None, new), Delta(None, namesake)], key=str
    )
    assert writer.store.version == "9"


def test_a_relist_keeps_the_objects_that_are_the_same() -> None:
    writer = a_writer(A1)
    assert writer.replace([thing("a", "1")], "4") == []
    assert writer.store.get("ns", "a") is A1


def test_a_list_that_was_handed_out_does_not_change() -> None:
    writer = a_writer(A1)
    before = writer.store.list()
    writer.put(B1)
    assert before == [A1]


def test_an_index_follows_every_kind_of_change() -> None:
    red, blue = thing("a", "1", color="red"), thing("a", "2", color="blue")
    writer = a_writer(red)
    assert writer.store.by_index("color", "red") == [red]
    writer.put(blue)
    assert writer.store.by_index("color", "red") == []
    assert writer.store.by_index("color", "blue") == [blue]
    writer.replace([thing("b", "3", color="red")], "3")
    assert [item.name for item in writer.store.by_index("color", "red")] == ["b"]
    writer.remove(thing("b", "4"))
    assert writer.store.by_index("color", "red") == []


def test_nothing_is_worked_out_for_states_that_are_alike() -> None:
    asked: list[str] = []

    def color(item: Thing) -> Iterable[str]:
        asked.append(item.resource_version)
        return [item.color]

    alike: Indexes[Thing] = Indexes(
        ("color",), lambda item: [tuple(color(item))], lambda old, new: old.color == new.color
    )
    writer: StoreWriter[Thing] = StoreWriter(alike)
    writer.replace([thing("a", "1", color="red")], "1")
    newer = thing("a", "2", color="red")
    writer.put(newer)
    assert asked == ["1"]
    assert writer.store.by_index("color", "red") == [newer]
    writer.remove(thing("a", "3", color="red"))
    assert writer.store.by_index("color", "red") == []


def test_an_index_function_that_raises_leaves_everything_as_it_was() -> None:
    def picky(item: Thing) -> Iterable[str]:
        if item.color == "bad":
            raise RuntimeError("cannot look at this")
        return [item.color]

    writer: StoreWriter[Thing] = StoreWriter({"color": picky})
    writer.replace([thing("a", "1", color="red")], "1")
    with pytest.raises(RuntimeError):
        writer.put(thing("a", "2", color="bad"))
    with pytest.raises(RuntimeError):
        writer.replace([thing("a", "2", color="bad")], "2")
    assert [item.color for item in writer.store.by_index("color", "red")] == ["red"]
    assert [item.color for item in writer.store.list()] == ["red"]


def test_an_unknown_index_is_a_mistake_and_not_an_empty_answer() -> None:
    with pytest.raises(KeyError):
        a_writer().store.by_index("size", 1)


class Told:
    """A keeper that notes what it is told."""

    def __init__(self) -> None:
        self.listed_: list[tuple[Thing, Thing | None]] = []
        self.changed_: list[tuple[Thing, Thing | None]] = []

    def listed(self, item: Thing, known: Thing | None) -> None:
        self.listed_.append((item, known))

    def changed(self, item: Thing, known: Thing | None) -> None:
        self.changed_.append((item, known))


def test_a_keeper_is_told_once_of_an_object_and_of_what_was_known_before() -> None:
    keeper = Told()
    writer: StoreWriter[Thing] = StoreWriter(None, keeper)
    writer.replace([A1], "1")
    writer.replace([thing("a", "1")], "2")
    newer = thing("a", "3")
    writer.put(newer)
    writer.put(thing("a", "2"))
    assert keeper.listed_ == [(A1, None)]
    assert keeper.changed_ == [(newer, A1)]
