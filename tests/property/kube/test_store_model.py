"""The cache against a dict: what it holds, what it reports, what its indexes find."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from controller.kube.lines import LineSplitter, lines_of
from controller.kube.store import Delta, StoreWriter
from tests.unit.kube.things import Thing, thing

NAMES, COLORS, UIDS = st.sampled_from("abcd"), st.sampled_from(["", "red", "blue"]), st.sampled_from("12")


class StoreAgainstDict(RuleBasedStateMachine):
    """A handler that replays the deltas ends with the store's content, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.writer: StoreWriter[Thing] = StoreWriter({"color": lambda item: [item.color]})
        self.model: dict[str, Thing] = {}
        self.replayed: dict[str, Thing] = {}
        self.version = 0

    def made(self, name: str, color: str, uid: str) -> Thing:
        self.version += 1
        return thing(name, str(self.version), uid=uid, color=color)

    def replay(self, deltas: list[Delta[Thing]]) -> None:
        for delta in deltas:
            old, new = delta.old, delta.new
            if old is None:
                assert new is not None
                assert new.name not in self.replayed, "added twice"
            else:
                assert old.name in self.replayed, "changed or deleted without having been added"
                assert self.replayed[old.name].uid == old.uid
            if new is None:
                assert old is not None
                del self.replayed[old.name]
            else:
                assert old is None or old.uid == new.uid, "a namesake is not a change"
                self.replayed[new.name] = new

    @rule(name=NAMES, color=COLORS, uid=UIDS)
    def put(self, name: str, color: str, uid: str) -> None:
        item = self.made(name, color, uid)
        deltas = self.writer.put(item)
        assert deltas, "a new version is a change"
        self.model[name] = item
        self.replay(deltas)

    @rule(name=NAMES)
    def put_again(self, name: str) -> None:
        if name in self.model:
            same = self.model[name]
            assert self.writer.put(thing(name, same.resource_version, uid=same.uid)) == []

    @rule(name=NAMES, uid=UIDS, deleted=st.booleans())
    def an_old_event_arrives_late(self, name: str, uid: str, deleted: bool) -> None:
        known = self.model.get(name)
        if known is not None and int(known.resource_version) > 1:
            late = thing(name, str(int(known.resource_version) - 1), uid=uid)
            assert (self.writer.remove(late) if deleted else self.writer.put(late)) == []

    @rule(name=NAMES, uid=UIDS)
    def remove(self, name: str, uid: str) -> None:
        known = self.model.pop(name, None)
        deltas = self.writer.remove(self.made(name, "", uid))
        assert len(deltas) == (known is not None)
        self.replay(deltas)

    @rule(wanted=st.dictionaries(NAMES, st.tuples(COLORS, UIDS, st.booleans())))
    def replace(self, wanted: dict[str, tuple[str, str, bool]]) -> None:
        before = dict(self.model)
        items = [
            before[name] if keep and name in before else self.made(name, color, uid)
            for name, (color, uid, keep) in wanted.items()
        ]
        self.version += 1
        deltas = self.writer.replace(items, str(self.version))
        self.model = {item.name: item for item in items}
        kinds = [delta.new is not None for delta in deltas]
        assert kinds == sorted(kinds), "deletions come first"
        gone = {delta.old.name for delta in deltas if delta.old and not delta.new}
        assert gone >= before.keys() - self.model.keys()
        touched = {item.name for delta in deltas if (item := delta.old or delta.new)}
        assert not touched & {name for name, item in self.model.items() if item is before.get(name)}
        self.replay(deltas)

    @rule()
    def bookmark(self) -> None:
        self.version += 1
        self.writer.bookmark(str(self.version))

    @invariant()
    def it_holds_what_the_model_holds(self) -> None:
        store = self.writer.store
        assert {item.name: item for item in store.list()} == self.model == self.replayed
        assert store.list("ns") == [*store.list("ns")]
        assert len(store) == len(self.model)
        assert all(store.get("ns", name) == item for name, item in self.model.items())

    @invariant()
    def its_indexes_are_what_a_search_finds(self) -> None:
        for color in ("", "red", "blue"):
            found = {item.name for item in self.writer.store.by_index("color", color)}
            assert found == {item.name for item in self.model.values() if item.color == color}

    @invariant()
    def its_version_is_the_newest(self) -> None:
        assert self.writer.store.version in ("", str(self.version))


TestStore = StoreAgainstDict.TestCase


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(0, 60)), st.integers(1, 4))
def test_lines_do_not_depend_on_how_they_are_cut(lines: list[bytes], cuts: list[int], together: int) -> None:
    whole = b"".join(line.replace(b"\n", b"") + b"\n" for line in lines)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    chunks = [whole[start:end] for start, end in itertools.pairwise(places)]
    splitter = LineSplitter()
    texts = [splitter.feed(chunks[at : at + together]) for at in range(0, len(chunks), together)]
    assert b"".join(texts) == whole
    assert all(text.endswith(b"\n") for text in texts if text)
    assert splitter.pending == 0
    assert lines_of(whole) == [line.replace(b"\n", b"") for line in lines if line.replace(b"\n", b"").strip()]
