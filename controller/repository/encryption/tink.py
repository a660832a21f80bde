"""AES256: the streaming format of Tink's ``AES256_GCM_HKDF_1MB``, so that any Tink library can decrypt.

A file is a 40-byte header (its own length, a salt of 32, a nonce prefix of 7) and segments of 1 MiB of
AES-256-GCM, the first one shorter by the header. HKDF-SHA256 makes a key for each file from the user's
key and the salt; the nonce is prefix, segment number and a flag that marks the last segment.

Guarantee: decryption yields nothing that was not authenticated, in the order in which it was encrypted,
and fails for a file that was cut, extended, reordered, mixed or altered. No two files share a key.

Non-guarantee: what was yielded before a failure is a true beginning of the plain text, and no more than
that; callers throw it away. The associated data is empty: a file does not know its own name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from controller.repository.encryption.errors import Undecryptable, WrongKey
from controller.repository.encryption.segments import SegmentStage

KEY_SIZE = 32
HEADER_SIZE = 1 + KEY_SIZE + 7
SEGMENT_SIZE = 1024 * 1024
TAG_SIZE = 16
MAX_SEGMENTS = 2**32


def encryptor(key: bytes, random: Callable[[int], bytes] = os.urandom) -> SegmentStage:
    """A stage that encrypts one file; never use it for a second one."""
    salt, prefix = random(KEY_SIZE), random(7)
    cipher = _derive(key, salt)

    def seal(segment: memoryview, number: int, last: bool) -> bytes:
        return cipher.encrypt(_nonce(prefix, number, last), segment, None)

    return SegmentStage(
        seal,
        SEGMENT_SIZE - TAG_SIZE,
        first=SEGMENT_SIZE - TAG_SIZE - HEADER_SIZE,
        prefix=bytes([HEADER_SIZE]) + salt + prefix,
    )


class Decryptor:
    """A stage that decrypts one file with whichever of ``keys`` (by id) it was made with."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = keys
        self._header = bytearray()
        self._segments: SegmentStage | None = None
        self._cipher: AESGCM | None = None
        self.key_id = ""
        """The key that fits; known after the first segment."""

    def feed(self, chunk: bytes) -> bytes:
        if self._segments is not None:
            return self._segments.feed(chunk)
        self._header += chunk
        if len(self._header) < HEADER_SIZE:
            return b""
        if self._header[0] != HEADER_SIZE:
            raise Undecryptable("this is no file of the AES256 format")
        rest = bytes(self._header[HEADER_SIZE:])
        first = SEGMENT_SIZE - HEADER_SIZE
        self._segments = SegmentStage(self._open, SEGMENT_SIZE, first=first)
        return self._segments.feed(rest)

    def finish(self) -> bytes:
        if self._segments is None:
            raise Undecryptable("the file ends inside its header")
        return self._segments.finish()

    def _open(self, segment: memoryview, number: int, last: bool) -> bytes:
        nonce = _nonce(bytes(self._header[1 + KEY_SIZE : HEADER_SIZE]), number, last)
        if self._cipher is None:
            return self._open_first(segment, nonce)
        try:
            return self._cipher.decrypt(nonce, segment, None)
        except InvalidTag:
            raise Undecryptable(
                f"segment {number} of the file is damaged, or the file was cut short"
            ) from None

    def _open_first(self, segment: memoryview, nonce: bytes) -> bytes:
        salt = bytes(self._header[1 : 1 + KEY_SIZE])
        for key_id, key in self._keys.items():
            cipher = _derive(key, salt)
            try:
                plain = cipher.decrypt(nonce, segment, None)
            except InvalidTag:
                continue
            self._cipher, self.key_id = cipher, key_id
            return plain
        tried = ", ".join(self._keys) or "none"
        raise WrongKey(f"no AES256 key fits, or the beginning of the file is damaged; keys tried: {tried}")


def _derive(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), KEY_SIZE, salt=salt, info=b"").derive(key))


def _nonce(prefix: bytes, number: int, last: bool) -> bytes:
    if number >= MAX_SEGMENTS:
        raise Undecryptable("the file has more segments than its format allows")
    return prefix + number.to_bytes(4, "big") + bytes([last])
