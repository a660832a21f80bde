"""Stages that bytes pass through on their way into a store, one pass, constant memory.

Guarantee: every stage sees every byte once and in order; what the last stage yields is what the store
gets. A digest is there only after the stream was consumed to its end, so that the hash of half an
artifact can never be mistaken for the whole's.

Non-guarantee: stages have no threads of their own; whoever consumes the pipeline runs them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol


class Stage(Protocol):
    """One transformation: ``read → hash → (encrypt → hash) → store``."""

    def feed(self, chunk: bytes) -> bytes:
        """What ``chunk`` becomes; may be empty while the stage fills a block."""
        ...

    def finish(self) -> bytes:
        """What is left to write after the last chunk."""
        ...


class Digest:
    """Counts and hashes what passes, and changes nothing."""

    def __init__(self) -> None:
        self.size = 0
        self._hash = hashlib.sha256()
        self._complete = False

    def feed(self, chunk: bytes) -> bytes:
        self.size += len(chunk)
        self._hash.update(chunk)
        return chunk

    def finish(self) -> bytes:
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
