"""One small interface over every place that a repository can live in.

Guarantee: after :meth:`Store.put` or :meth:`Store.put_if_absent` returned, the whole object is there
and survives a crash of this process; before that, and when it raised, no reader sees any of it. An
exception raised by the iterator that ``put`` consumes aborts the upload and comes out unchanged.
``delete`` of a missing key is no error. Only the errors of :mod:`controller.repository.errors` come out.

Non-guarantee: an :class:`~controller.repository.errors.Unavailable` write may have happened. Two
writers of one key are not ordered, except that only one ``put_if_absent`` wins — on servers that honour
create-only writes. ``list`` may miss keys that are written while it runs.

All calls block. The libraries underneath are dependable from threads only (asynchronous uploads of
obstore abort the interpreter at exit), so callers go through a worker thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from controller.repository.errors import StoreError

SMALL_OBJECT_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What a store knows about an object without reading it."""

    key: str
    size: int
    modified: datetime | None = None


class Store(Protocol):
    """Objects by key. Keys are relative, ``/``-separated, checked by :func:`check_key`."""

    @property
    def location(self) -> str:
        """Where this is, for people, e.g. ``s3://bucket/path``; never with credentials."""
        ...

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        """Write or replace ``key`` from a stream of unknown length.

        ``size_hint`` is an upper estimate that large uploads choose their part size by.
        """
        ...

    def put_if_absent(self, key: str, data: bytes) -> None:
        """Create ``key``; raises :class:`~controller.repository.errors.AlreadyExists`."""
        ...

    def get(self, key: str) -> Iterator[bytes]:
        """Stream ``key``; a missing one raises ``NotFound`` before the first chunk."""
        ...

    def get_range(self, key: str, start: int, length: int) -> bytes:
        """At most ``length`` bytes from ``start``; shorter at the end, empty behind it."""
        ...

    def head(self, key: str) -> ObjectInfo:
        """Size and time of ``key``, or ``NotFound``."""
        ...

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Everything below ``prefix`` (whole path segments), in no promised order."""
        ...

    def delete(self, key: str) -> None:
        """Remove ``key``; removing what is not there succeeds."""
        ...

    def abandon(self, key: str) -> None:
        """Remove what writers of ``key`` who died in the middle left; the object, if there is one, stays.

        Not while anybody writes ``key``. Where the provider removes such things by itself, or does not let
        us, nothing happens.
        """
        ...


def check_key(key: str) -> str:
    """``key`` itself when it is one that every store keeps as it is; else ``StoreError``.

    Stores differ in what they do to ``..``, ``//`` and percent signs, and names with a leading dot are kept
    free for what a store needs itself (half-written files).
    """
    parts = key.split("/")
    if any(part[:1] in {"", "."} or not _is_plain(part) for part in parts):
        raise StoreError(f"{key!r} is not a valid key")
    return key


def _is_plain(part: str) -> bool:
    return part.isascii() and all(char.isalnum() or char in "-._+=@" for char in part)


def read_small(store: Store, key: str) -> bytes:
    """The whole of a document; refuses one that cannot be a document of ours."""
    data = bytearray()
    for chunk in store.get(key):
        data += chunk
        if len(data) > SMALL_OBJECT_LIMIT:
            raise StoreError(f"{key} is too large to be a document of this project")
    return bytes(data)
