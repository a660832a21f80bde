"""Reads the Secret of ``options.encryption.keySecret``, mounted as one file a key.

| key of the Secret | what it is |
|---|---|
| ``age-recipients`` | ChaCha20: one ``age1…`` a line; all of them can decrypt. Enough to encrypt. |
| ``age-identity`` | ChaCha20: what ``age-keygen`` wrote; only to decrypt, one a line. |
| ``aes256-<id>`` | AES256: 32 bytes, raw, hexadecimal or base64. Several, so that keys can be changed. |
| ``key`` | AES256: the same, for whoever has only one. |
| ``active`` | AES256: the name of the key to encrypt with; needed only when there are several. |

Guarantee: whatever is used was understood completely; a file that is no key is refused by its name, and
no message or ``repr`` holds what is in it. Other keys of the Secret are not looked at.

Non-guarantee: a key of 32 good-looking bytes may still be a bad secret.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controller.repository.encryption import tink
from controller.repository.encryption.age import Identity, Recipient, parse_identity, parse_recipient
from controller.repository.encryption.errors import KeyUnusable

AGE_RECIPIENTS = "age-recipients"
AGE_IDENTITY = "age-identity"
AES_PREFIX = "aes256-"
AES_ONLY = "key"
ACTIVE = "active"

_AES_NAME = re.compile(rf"{AES_ONLY}|{AES_PREFIX}[A-Za-z0-9._-]+")
_FINGERPRINT_INFO = b"neo4j-backup-operator/key-fingerprint"
_HOW_AES = "make one with: openssl rand -base64 32"
_HOW_AGE = "make one with: age-keygen -o identity.txt; age-keygen -y identity.txt > age-recipients"

K = TypeVar("K")


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """Everything that the Secret holds. ``aes`` is by the name in the Secret."""

    recipients: tuple[Recipient, ...] = ()
    identities: tuple[Identity, ...] = ()
    aes: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    active: str = ""

    def __repr__(self) -> str:
        return (
            f"Keys(recipients={len(self.recipients)}, identities={len(self.identities)}, aes={len(self.aes)})"
        )

    @property
    def aes_by_id(self) -> dict[str, bytes]:
        """By the id that manifests name, the active one first."""
        names = sorted(self.aes, key=lambda name: (name != self.active, name))
        return {aes_key_id(name, self.aes[name]): self.aes[name] for name in names}

    def recipients_to_encrypt_to(self) -> tuple[Recipient, ...]:
        """Raises KeyUnusable."""
        if not self.recipients:
            raise KeyUnusable(f"ChaCha20 needs the key {AGE_RECIPIENTS} in the keySecret; {_HOW_AGE}")
        return self.recipients

    def aes_to_encrypt_with(self) -> tuple[str, bytes]:
        """Its id and the key; raises KeyUnusable."""
        if not self.aes:
            raise KeyUnusable(f"AES256 needs a key {AES_PREFIX}<id> in the keySecret; {_HOW_AES}")
        if not self.active and len(self.aes) > 1:
            names = ", ".join(sorted(self.aes))
            raise KeyUnusable(
                f"the keySecret has several AES256 keys ({names}) and no key {ACTIVE!r} names one"
            )
        name = self.active or next(iter(self.aes))
        return aes_key_id(name, self.aes[name]), self.aes[name]


def read_keys(files: Mapping[str, bytes]) -> Keys:
    """The keys in a Secret's files; raises KeyUnusable for one that is none."""
    aes = {name: _aes_key(name, data) for name, data in sorted(files.items()) if is_aes_name(name)}
    active = _text(ACTIVE, files.get(ACTIVE, b"")).strip()
    if active and active not in aes:
        active = AES_PREFIX + active
    if active and active not in aes:
        names = ", ".join(sorted(aes)) or "none"
        raise KeyUnusable(f"{ACTIVE!r} of the keySecret names no AES256 key that is there ({names})")
    return Keys(
        recipients=_lines(AGE_RECIPIENTS, files, parse_recipient),
        identities=_lines(AGE_IDENTITY, files, parse_identity),
        aes=MappingProxyType(aes),
        active=active,
    )


def is_aes_name(name: str) -> bool:
    """Whether a key of the Secret called ``name`` is an AES256 key."""
    return _AES_NAME.fullmatch(name) is not None


def aes_key_id(name: str, key: bytes) -> str:
    """What a manifest may say of a key: its name and a fingerprint that gives nothing of it away."""
    fingerprint = HKDF(SHA256(), 8, salt=b"", info=_FINGERPRINT_INFO).derive(key).hex()
    return f"{name}/{fingerprint}"


def _lines(name: str, files: Mapping[str, bytes], parse: Callable[[str], K]) -> tuple[K, ...]:
    """One key a line; empty lines and comments as in the files of age."""
    found: list[K] = []
    for number, line in enumerate(_text(name, files.get(name, b"")).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            found.append(parse(line.strip()))
        except ValueError as error:
            raise KeyUnusable(f"line {number} of {name!r} in the keySecret: {error}") from None
    return tuple(found)


def _aes_key(name: str, data: bytes) -> bytes:
    text = data.strip()
    if len(data) == tink.KEY_SIZE and not _is_text(data):
        return data
    for decode in (binascii.unhexlify, _base64):
        try:
            key = decode(text)
        except ValueError:
            continue
        if len(key) == tink.KEY_SIZE:
            return key
    raise KeyUnusable(
        f"{name!r} in the keySecret is no AES256 key: 32 bytes are needed, in hexadecimal or base64 "
        f"(a password is no key); {_HOW_AES}"
    )


def _base64(text: bytes) -> bytes:
    standard = text.translate(bytes.maketrans(b"-_", b"+/")).rstrip(b"=")
    return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)


def _is_text(data: bytes) -> bool:
    """32 random bytes never are; a password of 32 characters, or half a key in hexadecimal, is."""
    return all(0x20 <= byte < 0x7F or byte in b"\t\r\n" for byte in data)


def _text(name: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise KeyUnusable(f"{name!r} in the keySecret is no text") from None
