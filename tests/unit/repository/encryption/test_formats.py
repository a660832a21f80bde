"""Both formats against foreign implementations and against everything that may happen to a file."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from controller.repository import pipeline
from controller.repository.encryption import age, age_header, tink
from controller.repository.encryption.age_header import Stanza, encode64
from controller.repository.encryption.errors import Undecryptable, WrongKey
from controller.repository.pipeline import Stage
from tests.unit.repository.encryption import foreign
from tests.unit.repository.encryption.foreign import Tink, through

KIB, MIB = 1024, 1024 * 1024
TINK_FIRST = MIB - 40 - 16
TINK_REST = MIB - 16
AGE_SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 128 * KIB, MIB - 1, MIB, MIB + 1, 5 * MIB + 7]
TINK_SIZES = [
    0, 1, 64 * KIB, TINK_FIRST - 1, TINK_FIRST, TINK_FIRST + 1, MIB - 1, MIB, MIB + 1,
    TINK_FIRST + TINK_REST - 1, TINK_FIRST + TINK_REST, TINK_FIRST + TINK_REST + 1, 5 * MIB + 7,
]  # fmt: skip
KEY = bytes(range(32))
IDENTITY = age.Identity(bytes(range(100, 132)))


def plain(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def age_sealed(data: bytes) -> bytes:
    return through(age.encryptor([IDENTITY.recipient]), data)


def age_opened(data: bytes) -> bytes:
    return through(age.Decryptor([IDENTITY]), data)


def tink_sealed(data: bytes) -> bytes:
    return through(tink.encryptor(KEY), data)


def tink_opened(data: bytes) -> bytes:
    return through(tink.Decryptor({"it": KEY}), data)


# --- foreign implementations -----------------------------------------------------------------------


@pytest.mark.parametrize("size", AGE_SIZES)
def test_pyrage_and_we_read_each_other(size: int) -> None:
    text, identity = foreign.new_identity()
    sealed = through(age.encryptor([IDENTITY.recipient, identity.recipient]), plain(size))
    assert foreign.pyrage_decrypt(text)(sealed) == plain(size)
    theirs = foreign.pyrage_encrypt(str(identity.recipient))(plain(size))
    assert through(age.Decryptor([IDENTITY, identity]), theirs) == plain(size)


@pytest.mark.parametrize("size", AGE_SIZES)
def test_the_age_command_line_and_we_read_each_other(size: int, tmp_path: Path) -> None:
    text, identity = foreign.new_identity()
    sealed = through(age.encryptor([identity.recipient]), plain(size))
    assert foreign.age_decrypt(text, tmp_path)(sealed) == plain(size)
    theirs = foreign.age_encrypt(str(identity.recipient))(plain(size))
    assert through(age.Decryptor([identity]), theirs) == plain(size)


@pytest.mark.parametrize("size", TINK_SIZES)
def test_tink_and_we_read_each_other(size: int) -> None:
    library = Tink(KEY)
    sealed = tink_sealed(plain(size))
    assert library.decrypt(sealed) == plain(size)
    theirs = library.encrypt(plain(size))
    assert tink_opened(theirs) == plain(size)
    assert len(theirs) == len(sealed)


def test_what_tink_refuses_we_refuse() -> None:
    library, sealed = Tink(KEY), tink_sealed(plain(MIB))
    with pytest.raises(Exception, match=r".+"):
        library.decrypt(sealed[:-1])
    with pytest.raises(Undecryptable):
        tink_opened(sealed[:-1])


# --- how the stream is cut does not matter -----------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 7, 39, 40, 41, 64 * KIB, MIB])
def test_the_size_of_pieces_makes_no_difference(cut: int) -> None:
    data = plain(70 * KIB if cut < 64 else 3 * MIB)
    fixed = lambda size: bytes(size - 1) + b"\x08"  # noqa: E731
    whole = age.encryptor([IDENTITY.recipient], fixed)
    assert through(age.encryptor([IDENTITY.recipient], fixed), data, cut) == through(whole, data, len(data))
    assert through(age.Decryptor([IDENTITY]), age_sealed(data), cut) == data
    assert through(tink.encryptor(KEY, fixed), data, cut) == through(tink.encryptor(KEY, fixed), data)
    assert through(tink.Decryptor({"it": KEY}), tink_sealed(data), cut) == data


def test_two_files_of_the_same_content_have_nothing_in_common() -> None:
    assert tink_sealed(b"same")[40:] != tink_sealed(b"same")[40:]
    assert age_sealed(b"same")[-20:] != age_sealed(b"same")[-20:]


@pytest.mark.parametrize("make", [lambda: age.encryptor([IDENTITY.recipient]), lambda: tink.encryptor(KEY)])
def test_memory_is_a_segment_however_long_the_stream(make: Callable[[], Stage]) -> None:
    stage, largest = make(), 0
    for _ in range(64):
        largest = max(largest, len(stage.feed(bytes(256 * KIB))))
    assert largest <= 2 * MIB
    assert len(stage.finish()) <= MIB


# --- what happens to files ----------------------------------------------------------------------------

AGE_HEAD = len(age_sealed(b"")) - 16
AGE_SEGMENT = 64 * KIB + 16
FORMATS = [
    pytest.param(age_sealed, age_opened, AGE_HEAD, AGE_HEAD + AGE_SEGMENT, AGE_SEGMENT, id="age"),
    pytest.param(tink_sealed, tink_opened, 40, MIB, MIB, id="tink"),
]
Transformation = Callable[[bytes], bytes]


@pytest.mark.parametrize(("seal", "unseal", "head", "second", "segment"), FORMATS)
def test_truncation_is_refused_wherever_it_happens(
    seal: Transformation, unseal: Transformation, head: int, second: int, segment: int
) -> None:
    sealed = seal(plain(3 * MIB))
    cuts = [0, 1, head - 1, head, head + 1, head + 16, second - 1, second, second + 1, second + segment]
    for cut in [*cuts, second + segment + 16, len(sealed) - 17, len(sealed) - 16, len(sealed) - 1]:
        with pytest.raises(Undecryptable):
            unseal(sealed[:cut])


@pytest.mark.parametrize(("seal", "unseal", "head", "second", "segment"), FORMATS)
def test_swapped_repeated_and_missing_segments_are_refused(
    seal: Transformation, unseal: Transformation, head: int, second: int, segment: int
) -> None:
    sealed = seal(plain(4 * MIB))
    start, two, three = sealed[:second], sealed[second:][:segment], sealed[second + segment :][:segment]
    rest = sealed[second + 2 * segment :]
    assert unseal(start + two + three + rest) == plain(4 * MIB)
    for forged in (start + three + two, start + two + two + three, start + three, start + two):
        with pytest.raises(Undecryptable):
            unseal(forged + rest)


@pytest.mark.parametrize(("seal", "unseal", "head", "second", "segment"), FORMATS)
def test_segments_of_another_file_are_refused(
    seal: Transformation, unseal: Transformation, head: int, second: int, segment: int
) -> None:
    one, other = seal(plain(3 * MIB)), seal(plain(3 * MIB))
    with pytest.raises(Undecryptable):
        unseal(one[:second] + other[second : second + segment] + one[second + segment :])
    with pytest.raises(Undecryptable):
        unseal(one[:head] + other[head:])


@pytest.mark.parametrize(("seal", "unseal", "head", "second", "segment"), FORMATS)
@pytest.mark.parametrize("more", [b"\0", b"x" * 16, b"x" * 100_000, bytes(2 * MIB)])
def test_trailing_data_is_refused(
    seal: Transformation, unseal: Transformation, head: int, second: int, segment: int, more: bytes
) -> None:
    sealed = seal(plain(MIB))
    with pytest.raises(Undecryptable):
        unseal(sealed + more)
    with pytest.raises(Undecryptable):
        unseal(sealed + sealed)


@pytest.mark.parametrize(("seal", "unseal", "head", "second", "segment"), FORMATS)
def test_a_flipped_bit_is_refused_wherever_it_is(
    seal: Transformation, unseal: Transformation, head: int, second: int, segment: int
) -> None:
    sealed = seal(plain(MIB + 99))
    places = {*range(head + 20), second - 1, second, second + 17, len(sealed) - 17, len(sealed) - 1}
    for place in sorted(places):
        forged = bytearray(sealed)
        forged[place] ^= 1 << place % 8
        with pytest.raises(Undecryptable):
            unseal(bytes(forged))


def test_nothing_is_yielded_that_was_not_authenticated() -> None:
    sealed = bytearray(tink_sealed(plain(3 * MIB)))
    sealed[2 * MIB + 5] ^= 1
    pieces = [bytes(sealed[start : start + 100_000]) for start in range(0, len(sealed), 100_000)]
    seen: list[bytes] = []
    with pytest.raises(Undecryptable, match="segment 2"):
        seen.extend(pipeline.run(pieces, [tink.Decryptor({"it": KEY})]))
    assert b"".join(seen) == plain(3 * MIB)[: TINK_FIRST + TINK_REST]


# --- keys ---------------------------------------------------------------------------------------------


def test_any_of_several_aes_keys_opens_and_says_which() -> None:
    stage = tink.Decryptor({"new": bytes(32), "old": KEY})
    assert through(stage, tink_sealed(b"data")) == b"data"
    assert stage.key_id == "old"


def test_a_wrong_aes_key_is_told_by_name() -> None:
    with pytest.raises(WrongKey, match="keys tried: new"):
        through(tink.Decryptor({"new": bytes(32)}), tink_sealed(b"data"))


def test_a_wrong_identity_is_told_by_its_recipient() -> None:
    other = age.Identity(bytes(range(32)))
    with pytest.raises(WrongKey, match=str(other.recipient)):
        through(age.Decryptor([other]), age_sealed(b"data"))
    with pytest.raises(WrongKey, match="none"):
        through(age.Decryptor([]), age_sealed(b"data"))


def test_every_recipient_can_open_alone() -> None:
    others = [age.Identity(bytes([number]) * 32) for number in range(1, 6)]
    sealed = through(age.encryptor([one.recipient for one in others]), b"data")
    for one in others:
        assert through(age.Decryptor([one]), sealed) == b"data"


# --- the age header -----------------------------------------------------------------------------------

FILE_KEY = bytes(16)


def file_with(covered: bytes, *, mac_text: bytes | None = None) -> bytes:
    """A file with a header of any shape, correctly authenticated."""
    mac = encode64(age._mac(FILE_KEY, covered)) if mac_text is None else mac_text
    nonce = bytes(16)
    sealed = age._payload_cipher(FILE_KEY, nonce).encrypt(age._nonce(0, True), b"data", None)
    return covered + b" " + mac + b"\n" + nonce + sealed


def stanza() -> Stanza:
    return age._wrap(FILE_KEY, IDENTITY.recipient, bytes(range(32)))


def test_a_header_made_by_hand_is_read() -> None:
    assert age_opened(file_with(age_header.render((stanza(),)))) == b"data"


def test_stanzas_of_other_kinds_are_passed_over() -> None:
    strangers = (
        Stanza((b"grease", b"a", b"b"), b""),
        Stanza((b"ssh-ed25519", b"xyz"), bytes(48)),
        Stanza((b"x",), bytes(100)),
    )
    covered = age_header.render((*strangers, stanza(), *strangers))
    assert age_opened(file_with(covered)) == b"data"
    with pytest.raises(WrongKey, match="not encrypted to an X25519 recipient"):
        age_opened(file_with(age_header.render(strangers)))


GOOD = age_header.render((stanza(),))
STANZA = GOOD.split(b"\n", 1)[1].removesuffix(b"---")
SHARE = stanza().arguments[1]
BODY = encode64(stanza().body)


def with_stanza(text: bytes) -> bytes:
    return b"age-encryption.org/v1\n" + text + b"---"


@pytest.mark.parametrize(
    "covered",
    [
        pytest.param(GOOD.replace(b"/v1", b"/v2"), id="other version"),
        pytest.param(GOOD.replace(b"\n", b"\r\n"), id="carriage returns"),
        pytest.param(with_stanza(b""), id="no stanza"),
        pytest.param(with_stanza(b"\n" + STANZA), id="empty line"),
        pytest.param(with_stanza(STANZA.replace(b"-> ", b"->")), id="no space"),
        pytest.param(with_stanza(STANZA.replace(b"-> ", b"->  ")), id="two spaces"),
        pytest.param(with_stanza(STANZA.replace(b"-> ", b"=> ")), id="other arrow"),
        pytest.param(with_stanza(STANZA.replace(b"X25519 ", b"X25519 " + "é".encode())), id="not ascii"),
        pytest.param(with_stanza(b"->\n\n" + STANZA), id="no arguments"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b" more\n" + BODY + b"\n"), id="extra argument"),
        pytest.param(with_stanza(b"-> X25519\n" + BODY + b"\n"), id="no share"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"=\n" + BODY + b"\n"), id="padded share"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE[:-2] + b"\n" + BODY + b"\n"), id="short share"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"AAAA\n" + BODY + b"\n"), id="long share"),
        pytest.param(with_stanza(b"-> X25519 " + encode64(bytes(32)) + b"\n" + BODY + b"\n"), id="low order"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"\n" + BODY + b"=\n"), id="padded body"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"\n" + BODY[:-1] + b"_\n"), id="url alphabet"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"\n" + BODY + b"AAAA\n"), id="long file key"),
        pytest.param(with_stanza(b"-> X25519 " + SHARE + b"\n" + b"A" * 65 + b"\n"), id="long line"),
        pytest.param(with_stanza(b"-> grease\n" + b"A" * 64 + b"\n" + STANZA), id="full last line"),
        pytest.param(with_stanza(b"-> grease\nAB\n" + STANZA), id="stray bits"),
    ],
)
def test_malformed_headers_are_refused_although_their_mac_is_right(covered: bytes) -> None:
    with pytest.raises(Undecryptable):
        age_opened(file_with(covered))


@pytest.mark.parametrize("mac", [b"", encode64(bytes(32)), encode64(bytes(31)), encode64(bytes(33)), b"A="])
def test_a_wrong_mac_is_refused(mac: bytes) -> None:
    with pytest.raises(Undecryptable):
        age_opened(file_with(GOOD, mac_text=mac))


def test_a_header_without_end_is_not_collected_for_ever() -> None:
    endless = itertools.chain([age_header.VERSION + b"\n"], itertools.repeat(b"-> grease\n" * 10_000))
    with pytest.raises(Undecryptable, match="does not end"):
        list(pipeline.run(endless, [age.Decryptor([IDENTITY])]))


def test_an_empty_last_segment_is_refused() -> None:
    nonce = bytes(16)
    cipher = age._payload_cipher(FILE_KEY, nonce)
    head = file_with(GOOD)[: -len(b"data") - 16]
    full = cipher.encrypt(age._nonce(0, False), bytes(64 * KIB), None)
    with pytest.raises(Undecryptable, match="empty segment"):
        age_opened(head + full + cipher.encrypt(age._nonce(1, True), b"", None))
    with pytest.raises(Undecryptable):
        age_opened(head)
