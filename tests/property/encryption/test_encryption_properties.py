"""Laws of both formats, over any content, any cutting, any damage."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.repository import pipeline
from controller.repository.encryption import age, age_header, bech32, tink
from controller.repository.encryption.errors import Undecryptable
from controller.repository.pipeline import Stage
from tests.unit.repository.encryption import foreign

KEY = bytes(range(32))
IDENTITY = age.Identity(bytes(range(50, 82)))
Maker = Callable[[], Stage]
FORMATS: list[tuple[Maker, Maker]] = [
    (lambda: age.encryptor([IDENTITY.recipient]), lambda: age.Decryptor([IDENTITY])),
    (lambda: tink.encryptor(KEY), lambda: tink.Decryptor({"it": KEY})),
]
# Sizes around what segments and their headers are made of, and anything else.
sizes = st.one_of(
    st.integers(0, 300),
    st.integers(-60, 60).map(lambda off: 64 * 1024 + off),
    st.integers(-60, 60).map(lambda off: 1024 * 1024 + off),
    st.integers(-120, 60).map(lambda off: 2 * 1024 * 1024 + off),
)
cuts = st.lists(st.integers(1, 400_000), max_size=20)
formats = st.sampled_from(FORMATS)


def content(size: int, seed: int = 7) -> bytes:
    return bytes((seed * 31 + index) % 251 for index in range(251)) * (size // 251 + 1)


def pieces(data: bytes, cut: list[int]) -> list[bytes]:
    edges = [0, *(edge for edge in itertools.accumulate(cut) if edge < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def through(stage: Stage, data: bytes, cut: list[int] | None = None) -> bytes:
    return b"".join(pipeline.run(pieces(data, cut or []), [stage]))


@settings(max_examples=60, deadline=None)
@given(which=formats, size=sizes, there=cuts, back=cuts)
def test_what_goes_in_comes_out_however_it_is_cut(
    which: tuple[Maker, Maker], size: int, there: list[int], back: list[int]
) -> None:
    seal, unseal = which
    data = content(size)[:size]
    assert through(unseal(), through(seal(), data, there), back) == data


@settings(max_examples=80, deadline=None)
@given(which=formats, size=sizes, at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_single_bit_can_be_changed(which: tuple[Maker, Maker], size: int, at: float, bit: int) -> None:
    seal, unseal = which
    sealed = bytearray(through(seal(), content(size)[:size]))
    sealed[int(at * len(sealed))] ^= 1 << bit
    with pytest.raises(Undecryptable):
        through(unseal(), bytes(sealed))


@settings(max_examples=80, deadline=None)
@given(which=formats, size=sizes, at=st.floats(0, 1, exclude_max=True), more=st.binary(max_size=40))
def test_no_file_can_be_cut_or_added_to(
    which: tuple[Maker, Maker], size: int, at: float, more: bytes
) -> None:
    seal, unseal = which
    sealed = through(seal(), content(size)[:size])
    with pytest.raises(Undecryptable):
        through(unseal(), sealed[: int(at * len(sealed))] + (more if at < 0.5 else b""))
    with pytest.raises(Undecryptable):
        through(unseal(), sealed + more + b"\0")


@settings(max_examples=300, deadline=None)
@given(which=formats, garbage=st.binary(max_size=400), like=st.booleans())
def test_garbage_is_refused_and_never_breaks_the_reader(
    which: tuple[Maker, Maker], garbage: bytes, like: bool
) -> None:
    start = b"age-encryption.org/v1\n-> X25519 " if like else b""
    with pytest.raises(Undecryptable):
        through(which[1](), start + garbage)


@settings(max_examples=25, deadline=None)
@given(size=sizes)
def test_foreign_implementations_agree(size: int) -> None:
    data = content(size)[:size]
    text = bech32.encode("age-secret-key-", IDENTITY.secret).upper()
    library = foreign.Tink(KEY)
    assert foreign.pyrage_decrypt(text)(through(FORMATS[0][0](), data)) == data
    assert through(FORMATS[0][1](), foreign.pyrage_encrypt(str(IDENTITY.recipient))(data)) == data
    assert library.decrypt(through(FORMATS[1][0](), data)) == data
    assert through(FORMATS[1][1](), library.encrypt(data)) == data


@given(prefix=st.sampled_from(["age", "age-secret-key-"]), data=st.binary(max_size=64))
def test_bech32_reads_back_what_it_wrote(prefix: str, data: bytes) -> None:
    assert bech32.decode(bech32.encode(prefix, data)) == (prefix, data)


@given(data=st.binary(min_size=32, max_size=32), at=st.integers(4, 61), char=st.sampled_from("qpzry9x8gf2"))
def test_bech32_notices_a_mistyped_character(data: bytes, at: int, char: str) -> None:
    text = bech32.encode("age", data)
    mistyped = text[:at] + char + text[at + 1 :]
    if mistyped != text:
        with pytest.raises(ValueError, match="checksum"):
            bech32.decode(mistyped)


@given(
    stanzas=st.lists(
        st.builds(
            age_header.Stanza,
            st.lists(st.binary(min_size=1, max_size=8).map(age_header.encode64), min_size=1, max_size=3).map(
                tuple
            ),
            st.binary(max_size=120),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_headers_read_back_what_was_written(stanzas: list[age_header.Stanza]) -> None:
    covered = age_header.render(tuple(stanzas))
    text = covered + b" " + age_header.encode64(bytes(32)) + b"\n"
    assert age_header.end_of(text + b"payload") == len(text)
    assert age_header.parse(text).stanzas == tuple(stanzas)
    assert age_header.parse(text).covered == covered
