"""What a cache packs comes back to the byte."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from controller.api.packed import pack, unpack
from hack.benchmarks import objects

documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
texts = documents.map(lambda document: json.dumps(document, ensure_ascii=False).encode()) | st.just(b"")


@given(texts, texts)
def test_packed_texts_come_back_to_the_byte(spec: bytes, status: bytes) -> None:
    kept = pack(spec, status)
    assert unpack(kept) == (spec, status)
    assert pack(bytes(bytearray(spec)), status) == kept


@given(texts, texts, texts)
def test_a_state_shares_exactly_what_is_the_same(spec: bytes, before: bytes, after: bytes) -> None:
    known = pack(spec, before)
    kept = pack(spec, after, known)
    assert unpack(kept) == (spec, after)
    assert (kept is known) == (before == after)


def test_a_backup_takes_a_quarter_of_its_text() -> None:
    backup = json.loads(objects.render(1, 1_000_001))
    spec, status = (json.dumps(backup[part], separators=(",", ":")).encode() for part in ("spec", "status"))
    assert len(pack(spec, status)) < (len(spec) + len(status)) / 4
