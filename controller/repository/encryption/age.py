"""ChaCha20: age version 1 (C2SP), so that ``age -d`` decrypts what we encrypt.

A file is a text header, in which a random file key is wrapped for each recipient by X25519, and
a payload of ChaCha20-Poly1305 segments of 64 KiB whose nonces count and mark the last one (STREAM).

Guarantee: only public keys are needed to encrypt. Decryption yields nothing that was not authenticated,
in order, and fails for a file that was cut, extended, reordered, mixed or altered.

Non-guarantee: what was yielded before a failure is a true beginning of the plain text, and no more than
that; callers throw it away. Whoever knows a recipient can make files for it: age does not sign.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controller.repository.encryption import age_header, bech32
from controller.repository.encryption.age_header import Header, Stanza, decode64, encode64
from controller.repository.encryption.errors import Undecryptable, WrongKey
from controller.repository.encryption.segments import SegmentStage

SEGMENT_SIZE = 64 * 1024
TAG_SIZE = 16
FILE_KEY_SIZE = 16
NONCE_SIZE = 16
_LABEL = b"age-encryption.org/v1/X25519"
_TYPE = b"X25519"
_ZERO_NONCE = bytes(12)


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key: enough to encrypt."""

    public: bytes

    def __str__(self) -> str:
        return bech32.encode("age", self.public)


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A private key. Its text never leaves this object."""

    secret: bytes

    def __repr__(self) -> str:
        return f"Identity({self.recipient})"

    @property
    def recipient(self) -> Recipient:
        return Recipient(X25519PrivateKey.from_private_bytes(self.secret).public_key().public_bytes_raw())


def parse_recipient(text: str) -> Recipient:
    """``age1…``; raises ValueError without the text."""
    prefix, data = bech32.decode(text)
    if prefix != "age" or len(data) != 32 or text != text.lower():
        raise ValueError("not an X25519 recipient of age (age1…)")
    # Raises for a point of low order: whoever encrypts to that encrypts to everybody.
    X25519PrivateKey.from_private_bytes(data).exchange(X25519PublicKey.from_public_bytes(data))
    return Recipient(data)


def parse_identity(text: str) -> Identity:
    """``AGE-SECRET-KEY-1…``; raises ValueError without the text."""
    prefix, data = bech32.decode(text)
    if prefix != "age-secret-key-" or len(data) != 32 or text != text.upper():
        raise ValueError("not an X25519 identity of age (AGE-SECRET-KEY-1…)")
    return Identity(data)


def encryptor(recipients: Sequence[Recipient], random: Callable[[int], bytes] = os.urandom) -> SegmentStage:
    """A stage that encrypts one file for all ``recipients``; never use it for a second one."""
    file_key, nonce = random(FILE_KEY_SIZE), random(NONCE_SIZE)
    covered = age_header.render(tuple(_wrap(file_key, one, random(32)) for one in recipients))
    header = covered + b" " + encode64(_mac(file_key, covered)) + b"\n" + nonce
    cipher = _payload_cipher(file_key, nonce)

    def seal(segment: memoryview, number: int, last: bool) -> bytes:
        return cipher.encrypt(_nonce(number, last), segment, None)

    return SegmentStage(seal, SEGMENT_SIZE, prefix=header)


class Decryptor:
    """A stage that decrypts one file with whichever of ``identities`` it was encrypted to."""

    def __init__(self, identities: Iterable[Identity]) -> None:
        self._identities = tuple(identities)
        self._start = bytearray()
        self._segments: SegmentStage | None = None

    def feed(self, chunk: bytes) -> bytes:
        if self._segments is not None:
            return self._segments.feed(chunk)
        self._start += chunk
        end = age_header.end_of(self._start)
        if end is None or len(self._start) < end + NONCE_SIZE:
            return b""
        file_key = _file_key(age_header.parse(bytes(self._start[:end])), self._identities)
        cipher = _payload_cipher(file_key, bytes(self._start[end : end + NONCE_SIZE]))
        self._segments = SegmentStage(_opener(cipher), SEGMENT_SIZE + TAG_SIZE)
        return self._segments.feed(bytes(self._start[end + NONCE_SIZE :]))

    def finish(self) -> bytes:
        if self._segments is None:
            raise Undecryptable("the file ends inside its header")
        return self._segments.finish()


def _opener(cipher: ChaCha20Poly1305) -> Callable[[memoryview, int, bool], bytes]:
    def unseal(segment: memoryview, number: int, last: bool) -> bytes:
        try:
            plain = cipher.decrypt(_nonce(number, last), segment, None)
        except InvalidTag:
            raise Undecryptable(
                f"segment {number} of the file is damaged, or the file was cut short"
            ) from None
        if not plain and number:
            raise Undecryptable("the file ends in an empty segment")
        return plain

    return unseal


def _file_key(header: Header, identities: Sequence[Identity]) -> bytes:
    stanzas = [stanza for stanza in header.stanzas if stanza.arguments[0] == _TYPE]
    for stanza in stanzas:
        for identity in identities:
            file_key = _unwrap(stanza, identity)
            if file_key is None:
                continue
            if not hmac.compare_digest(_mac(file_key, header.covered), header.mac):
                raise Undecryptable("the age header was altered")
            return file_key
    if not stanzas:
        raise WrongKey("the file is not encrypted to an X25519 recipient, which is all that is known here")
    tried = ", ".join(str(one.recipient) for one in identities) or "none"
    raise WrongKey(f"no age identity fits; the recipients of those tried: {tried}")


def _wrap(file_key: bytes, recipient: Recipient, ephemeral: bytes) -> Stanza:
    private = X25519PrivateKey.from_private_bytes(ephemeral)
    share = private.public_key().public_bytes_raw()
    shared = private.exchange(X25519PublicKey.from_public_bytes(recipient.public))
    wrapping = ChaCha20Poly1305(_derive(shared, share + recipient.public, _LABEL))
    return Stanza((_TYPE, encode64(share)), wrapping.encrypt(_ZERO_NONCE, file_key, None))


def _unwrap(stanza: Stanza, identity: Identity) -> bytes | None:
    """None when it is for somebody else; a malformed stanza is an error for everybody."""
    try:
        share = decode64(stanza.arguments[1]) if len(stanza.arguments) == 2 else b""
        if len(share) != 32 or len(stanza.body) != FILE_KEY_SIZE + TAG_SIZE:
            raise ValueError("wrong size")
        private = X25519PrivateKey.from_private_bytes(identity.secret)
        # Raises for a share of low order, whose shared secret anybody knows.
        shared = private.exchange(X25519PublicKey.from_public_bytes(share))
    except ValueError as error:
        raise Undecryptable(f"the age header has a malformed recipient: {error}") from None
    wrapping = ChaCha20Poly1305(_derive(shared, share + identity.recipient.public, _LABEL))
    try:
        return wrapping.decrypt(_ZERO_NONCE, stanza.body, None)
    except InvalidTag:
        return None


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(_derive(file_key, b"", b"header"), covered, "sha256")


def _payload_cipher(file_key: bytes, nonce: bytes) -> ChaCha20Poly1305:
    return ChaCha20Poly1305(_derive(file_key, nonce, b"payload"))


def _derive(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=salt, info=info).derive(key)


def _nonce(number: int, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])
