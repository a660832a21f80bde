"""Stages that bytes pass through on their way into a store, one pass, constant memory.

Guarantee: every stage sees every byte once and in order; what the last stage yields is what the store
gets. A digest is there only after the stream was consumed to its end, so that the hash of half an
artifact can never be mistaken for the whole's.

Non-guarantee: whoever consumes the pipeline runs its stages. Only digests have a thread, because they take
longer than all else together and nothing downstream waits for them.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

_WORTH_A_THREAD = 64 * 1024
_BEHIND = 4
"""Chunks that a digest may hold back: more would be memory for nothing, its speed is that of the whole."""


class Stage(Protocol):
    """One transformation: ``read → hash → (encrypt → hash) → store``."""

    def feed(self, chunk: bytes) -> bytes:
        """What ``chunk`` becomes; may be empty while the stage fills a block."""
        ...

    def finish(self) -> bytes:
        """What is left to write after the last chunk."""
        ...


class Digest:
    """Counts and hashes what passes, and changes nothing.

    Large chunks are hashed beside the stream, which :mod:`hashlib` can do without the interpreter's lock.
    """

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._complete = False
        self._worker = ThreadPoolExecutor(1, "digest")
        self._behind: deque[Future[None]] = deque()

    def feed(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        if len(chunk) < _WORTH_A_THREAD and not self._behind:
            self._hash.update(chunk)
            return chunk
        self._behind.append(self._worker.submit(self._hash.update, chunk))
        if len(self._behind) > _BEHIND:
            self._behind.popleft().result()
        return chunk

    def finish(self) -> bytes:
        self._worker.shutdown()
        self._behind.clear()
        self._complete = True
        return b""

    @property
    def sha256(self) -> str:
        """Hexadecimal; refuses to answer before the end of the stream."""
        if not self._complete:
            raise RuntimeError("the stream was not consumed to its end")
        return self._hash.hexdigest()


def run(chunks: Iterable[bytes], stages: Iterable[Stage]) -> Iterator[bytes]:
    """``chunks`` through all stages, lazily."""
    for stage in stages:
        chunks = _through(chunks, stage)
    return iter(chunks)


def _through(chunks: Iterable[bytes], stage: Stage) -> Iterator[bytes]:
    for chunk in chunks:
        if out := stage.feed(chunk):
            yield out
    if out := stage.finish():
        yield out
