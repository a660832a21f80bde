"""A bounded pipe of byte chunks between whoever reads an artifact and the thread that stores it.

Guarantee: at most ``capacity`` chunks are in memory; a reader that fails makes the consumer fail with
the same exception; :meth:`Channel.abort` releases both sides at once, whatever they wait for.

Non-guarantee: one producer and one consumer at a time; a chunk that was put and not yet taken when the
pipe is aborted is lost, as is the whole object that it belonged to.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator


class Aborted(Exception):
    """The other side is gone."""


class Channel:
    """``put`` blocks while the pipe is full, iterating blocks while it is empty."""

    def __init__(self, capacity: int = 16) -> None:
        self._capacity = capacity
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._aborted = False
        self._failure: BaseException | None = None
        self.received = 0
        """Bytes put so far: where a reader that was cut goes on."""

    def put(self, chunk: bytes) -> None:
        """Append; raises :class:`Aborted` when nobody will take it any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or len(self._chunks) < self._capacity)
            self._append(chunk)

    def put_nowait(self, chunk: bytes) -> bool:
        """Append if there is room; false when :meth:`put` would have to wait."""
        with self._changed:
            if not self._aborted and len(self._chunks) >= self._capacity:
                return False
            self._append(chunk)
            return True

    def finish(self) -> None:
        """No more chunks will come."""
        self._end(None)

    def fail(self, error: BaseException) -> None:
        """No more chunks will come, and the object must not be stored."""
        self._end(error)

    def abort(self) -> None:
        """Wake both sides for good."""
        with self._changed:
            self._aborted = True
            self._chunks.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._take()) is not None:
            yield chunk

    def _take(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._aborted or self._ended or bool(self._chunks))
            if self._aborted:
                raise Aborted
            if self._chunks:
                chunk = self._chunks.popleft()
                self._changed.notify_all()
                return chunk
            if self._failure:
                raise self._failure
            return None

    def _append(self, chunk: bytes) -> None:
        if self._aborted:
            raise Aborted
        self._chunks.append(chunk)
        self.received += len(chunk)
        self._changed.notify_all()

    def _end(self, error: BaseException | None) -> None:
        with self._changed:
            self._ended, self._failure = True, error
            self._changed.notify_all()
