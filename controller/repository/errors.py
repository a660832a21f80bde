"""What can go wrong with a repository, in one vocabulary for every store.

Guarantee: each error carries one line that a person can act on, and a CamelCase ``reason`` that goes
into a condition as it stands. The provider's own exception stays chained as the cause.

Non-guarantee: a :class:`Unavailable` write may still have happened; whoever needs to know reads back.
"""

from __future__ import annotations

from typing import ClassVar


class RepositoryError(Exception):
    """Base of everything that this package raises on purpose."""

    reason: ClassVar[str] = "RepositoryError"

    def __str__(self) -> str:
        """One line, whatever was put in: it goes into conditions and logs."""
        return " ".join(" ".join(str(part) for part in self.args).split())


class StoreError(RepositoryError):
    """The store refused, or could not be reached."""

    reason = "StorageError"


class NoSuchBucket(StoreError):
    """The bucket, container or mounted directory does not exist."""

    reason = "NoSuchBucket"


class AccessDenied(StoreError):
    """Credentials are missing, wrong, or not allowed to do this."""

    reason = "AccessDenied"


class NoSpaceLeft(StoreError):
    """The volume is full, or over its quota."""

    reason = "NoSpaceLeft"


class NotFound(StoreError):
    """There is no object of that key."""

    reason = "NotFound"


class AlreadyExists(StoreError):
    """A create-only write found an object of that key."""

    reason = "AlreadyExists"


class Unavailable(StoreError):
    """Not reached, timed out or failed on the other side; trying again later may help."""

    reason = "StorageUnavailable"


class UnsupportedStorage(StoreError):
    """This version has no store of that type, or its settings contradict one another."""

    reason = "UnsupportedStorage"


class UnsupportedFormat(RepositoryError):
    """Written by a newer release: reading on would be guessing."""

    reason = "UnsupportedRepositoryFormat"


class DamagedDocument(RepositoryError):
    """A manifest or the identity is not what this project writes."""

    reason = "DamagedManifest"


class WrongRepository(RepositoryError):
    """The repository at this place belongs to another backup."""

    reason = "WrongRepository"
