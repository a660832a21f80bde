"""What can go wrong with encrypting and decrypting.

Guarantee: no message holds key material. Non-guarantee: why an authentication failed is not knowable;
damage, truncation and a file that was put together from two look the same.
"""

from __future__ import annotations

from controller.repository.errors import RepositoryError


class KeyUnusable(RepositoryError):
    """The Secret lacks a key that is needed, or holds something that is none."""

    reason = "EncryptionKeyInvalid"


class Undecryptable(RepositoryError):
    """The bytes are not what was encrypted: damaged, cut short, reordered, added to, or something else."""

    reason = "DecryptionFailed"


class WrongKey(Undecryptable):
    """Whole, as far as one can see, and encrypted with another key."""

    reason = "EncryptionKeyMissing"
