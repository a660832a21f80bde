"""What is read of the Secret, and what is refused with which words."""

from __future__ import annotations

import base64

import pytest

from controller.repository.encryption import age, bech32
from controller.repository.encryption.codec import Decryptor, open_encryption, plain_name
from controller.repository.encryption.errors import KeyUnusable, Undecryptable
from controller.repository.encryption.keys import read_keys
from tests.unit.repository.encryption import foreign
from tests.unit.repository.encryption.foreign import through

KEY = bytes(range(1, 33))
OTHER = bytes(range(150, 182))
IDENTITY = age.Identity(KEY)
RECIPIENT = str(IDENTITY.recipient)
IDENTITY_TEXT = bech32.encode("age-secret-key-", KEY).upper()


@pytest.mark.parametrize(
    "text",
    [
        KEY,
        KEY.hex().encode(),
        KEY.hex().upper().encode() + b"\n",
        base64.b64encode(KEY),
        base64.b64encode(KEY) + b"\n",
        base64.urlsafe_b64encode(KEY).rstrip(b"="),
    ],
)
def test_an_aes_key_may_be_raw_hexadecimal_or_base64(text: bytes) -> None:
    assert read_keys({"aes256-2026": text}).aes == {"aes256-2026": KEY}
    assert read_keys({"key": text}).aes == {"key": KEY}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"replace-me",
        b"correct horse battery staple 123",  # 32 characters: a password
        KEY[:16].hex().encode(),  # half a key: 32 characters
        KEY[:31],
        KEY + b"\xff",
        base64.b64encode(KEY[:31]),
        base64.b64encode(KEY + b"!"),
        KEY.hex().encode()[:-1] + b"g",
    ],
)
def test_what_is_no_key_is_refused_by_name_and_not_shown(text: bytes) -> None:
    with pytest.raises(KeyUnusable, match=r"'aes256-a' .* openssl rand -base64 32") as caught:
        read_keys({"aes256-a": text})
    assert len(text) < 4 or text.decode("utf-8", "replace") not in str(caught.value)


def test_one_aes_key_needs_no_active() -> None:
    found = open_encryption("AES256", {"aes256-a": KEY})
    assert found.key_ids[0].startswith("aes256-a/")
    assert found.suffix == ".aes256"


def test_of_several_aes_keys_active_names_the_one() -> None:
    files = {"aes256-a": KEY, "aes256-b": OTHER}
    with pytest.raises(KeyUnusable, match=r"aes256-a, aes256-b.*no key 'active' names one"):
        open_encryption("AES256", files)
    for active in (b"aes256-b", b"b\n"):
        assert open_encryption("AES256", files | {"active": active}).key_ids[0].startswith("aes256-b/")
    with pytest.raises(KeyUnusable, match="'active' of the keySecret names no AES256 key"):
        open_encryption("AES256", files | {"active": b"c"})


def test_after_a_rotation_old_files_still_open() -> None:
    old = through(open_encryption("AES256", {"key": KEY}).encryptor(), b"old")
    files = {"key": KEY, "aes256-2027": OTHER, "active": b"2027"}
    new = through(open_encryption("AES256", files).encryptor(), b"new")
    assert through(Decryptor(read_keys(files)), old) == b"old"
    assert through(Decryptor(read_keys(files)), new) == b"new"
    with pytest.raises(Undecryptable):
        through(Decryptor(read_keys({"key": KEY})), new)


def test_a_recipient_is_enough_to_encrypt_and_an_identity_to_decrypt() -> None:
    encryption = open_encryption("ChaCha20", {"age-recipients": f"# team\n{RECIPIENT}\n\n".encode()})
    assert encryption.key_ids == (RECIPIENT,)
    assert encryption.suffix == ".age"
    sealed = through(encryption.encryptor(), b"data")
    keys = read_keys({"age-identity": f"# created: today\n{IDENTITY_TEXT}\n".encode()})
    assert through(Decryptor(keys), sealed) == b"data"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "ChaCha20 needs the key age-recipients"),
        ({"age-identity": IDENTITY_TEXT.encode()}, "age-keygen -y"),
        ({"age-recipients": b"# nothing\n"}, "ChaCha20 needs the key age-recipients"),
        ({"age-recipients": RECIPIENT[:-1].encode() + b"q"}, "line 1 of 'age-recipients'.*checksum"),
        ({"age-recipients": b"\nssh-ed25519 AAAA"}, "line 2 of 'age-recipients'"),
        ({"age-recipients": IDENTITY_TEXT.encode()}, "not an X25519 recipient"),
        ({"age-recipients": bech32.encode("age", bytes(32)).encode()}, "line 1 of 'age-recipients'"),
        ({"age-recipients": b"\xff\xfe"}, "'age-recipients' in the keySecret is no text"),
        ({"age-recipients": RECIPIENT.encode(), "age-identity": b"secret"}, "line 1 of 'age-identity'"),
    ],
)
def test_age_keys_that_cannot_work_are_refused(files: dict[str, bytes], said: str) -> None:
    with pytest.raises(KeyUnusable, match=said) as caught:
        open_encryption("ChaCha20", files)
    assert IDENTITY_TEXT not in str(caught.value)


def test_an_empty_secret_says_how_to_make_a_key() -> None:
    with pytest.raises(KeyUnusable, match=r"aes256-<id>.*openssl rand -base64 32"):
        open_encryption("AES256", {"unrelated": b"x"})


def test_no_text_of_these_objects_shows_a_key() -> None:
    keys = read_keys({"key": KEY, "age-identity": IDENTITY_TEXT.encode()})
    shown = f"{keys!r} {keys} {keys.identities!r} {keys.identities}"
    for secret in (IDENTITY_TEXT, IDENTITY_TEXT.lower(), KEY.hex(), repr(KEY)[2:20]):
        assert secret not in shown


def test_key_ids_tell_keys_apart_and_give_nothing_away() -> None:
    [one] = open_encryption("AES256", {"key": KEY}).key_ids
    [other] = open_encryption("AES256", {"key": OTHER}).key_ids
    [again] = open_encryption("AES256", {"key": KEY.hex().encode()}).key_ids
    assert one == again != other
    assert KEY.hex()[:16] not in one


def test_recipients_and_identities_are_spelled_as_age_spells_them() -> None:
    text, identity = foreign.new_identity()
    assert bech32.encode("age-secret-key-", identity.secret).upper() == text
    foreign.pyrage_encrypt(str(identity.recipient))(b"accepted")


@pytest.mark.parametrize(
    "text", ["", "1", "age", "age1", "AGE1qqqqqqqqqq", "age1bbbbbbbb", "agé1qqqqqqqq", RECIPIENT.upper()]
)
def test_what_is_no_recipient_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        age.parse_recipient(text)


@pytest.mark.parametrize("data", [b"", b"neo4j backup", b"\x00" * 100])
def test_files_in_neither_format_are_refused(data: bytes) -> None:
    with pytest.raises(Undecryptable):
        through(Decryptor(read_keys({"key": KEY})), data)


def test_names_lose_the_suffix_of_encryption_only() -> None:
    assert plain_name("neo4j-2026.backup.age") == plain_name("neo4j-2026.backup.aes256")
    assert plain_name("neo4j-2026.backup") == "neo4j-2026.backup"
