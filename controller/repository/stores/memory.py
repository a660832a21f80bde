"""A store in this process's memory, for tests and as the plainest reading of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from threading import Lock

from controller.repository.errors import AlreadyExists, NotFound
from controller.repository.store import ObjectInfo, check_key

_CHUNK = 64 * 1024


class MemoryStore:
    """Guarantee: that of :class:`~controller.repository.store.Store`, for the life of the process."""

    def __init__(self, location: str = "memory://repository") -> None:
        self._location = location
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    @property
    def location(self) -> str:
        return self._location

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        data = b"".join(chunks)
        with self._lock:
            self._objects[check_key(key)] = data

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._lock:
            if check_key(key) in self._objects:
                raise AlreadyExists(f"{key} is there already")
            self._objects[key] = bytes(data)

    def get(self, key: str) -> Iterator[bytes]:
        data = self._find(key)
        return (data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        return self._find(key)[start : start + length]

    def head(self, key: str) -> ObjectInfo:
        return ObjectInfo(key, len(self._find(key)), datetime.fromtimestamp(0, UTC))

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._lock:
            sizes = {key: len(data) for key, data in self._objects.items()}
        return (
            ObjectInfo(key, size) for key, size in sizes.items() if not prefix or key.startswith(f"{prefix}/")
        )

    def delete(self, key: str) -> None:
        with self._lock:
            self._objects.pop(check_key(key), None)

    def abandon(self, key: str) -> None:
        check_key(key)

    def _find(self, key: str) -> bytes:
        with self._lock:
            try:
                return self._objects[check_key(key)]
            except KeyError:
                raise NotFound(f"there is no {key}") from None
