"""Chooses an algorithm: from the spec to encrypt, from the bytes themselves to decrypt.

Guarantee: whatever :meth:`Encryption.encryptor` wrote, :class:`Decryptor` reads back with the same keys,
or with keys that were added to since. A stream that is in neither format is refused, never passed on.

Non-guarantee: a decrypted beginning may have been yielded before a failure; callers throw it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from controller.repository.encryption import age, age_header, tink
from controller.repository.encryption.errors import Undecryptable
from controller.repository.encryption.keys import Keys, read_keys
from controller.repository.pipeline import Stage

Algorithm = Literal["AES256", "ChaCha20"]
SUFFIXES: Mapping[Algorithm, str] = {"AES256": ".aes256", "ChaCha20": ".age"}
"""Added to Neo4j's own file name, so that nobody takes the file for one that ``neo4j-admin`` can read."""


@dataclass(frozen=True, slots=True)
class Encryption:
    """How the artifacts of a run are encrypted. ``key_ids`` are safe to publish."""

    algorithm: Algorithm
    key_ids: tuple[str, ...]
    encryptor: Callable[[], Stage]
    """A fresh stage for each file."""

    @property
    def suffix(self) -> str:
        return SUFFIXES[self.algorithm]


def open_encryption(algorithm: Algorithm, files: Mapping[str, bytes]) -> Encryption:
    """From the files of the mounted Secret; raises ``KeyUnusable``."""
    keys = read_keys(files)
    if algorithm == "ChaCha20":
        recipients = keys.recipients_to_encrypt_to()
        return Encryption(algorithm, tuple(map(str, recipients)), lambda: age.encryptor(recipients))
    key_id, key = keys.aes_to_encrypt_with()
    return Encryption(algorithm, (key_id,), lambda: tink.encryptor(key))


def plain_name(name: str) -> str:
    """The file name without the suffix that encryption added."""
    for suffix in SUFFIXES.values():
        name = name.removesuffix(suffix)
    return name


class Decryptor:
    """A stage that decrypts a file of either format."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._format: Stage | None = None

    def feed(self, chunk: bytes) -> bytes:
        if self._format is None and chunk:
            self._format = self._recognise(chunk[0])
        return self._format.feed(chunk) if self._format else b""

    def finish(self) -> bytes:
        if self._format is None:
            raise Undecryptable("the file is empty")
        return self._format.finish()

    def _recognise(self, first: int) -> Stage:
        """One byte tells them apart, and says no to every artifact of Neo4j."""
        if first == age_header.VERSION[0]:
            return age.Decryptor(self._keys.identities)
        if first == tink.HEADER_SIZE:
            return tink.Decryptor(self._keys.aes_by_id)
        raise Undecryptable("the file is not encrypted in a format that is known here")
