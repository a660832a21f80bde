"""Reads in a thread of its own, one chunk ahead of whoever consumes.

Guarantee: at most two chunks are in memory; what the source raises comes out in its place. The source never
runs in the consumer's thread: obstore, which consumes what it uploads from inside its runtime, panics when it
is asked for anything there, so that copying an object could not work.

Non-guarantee: an iteration that is given up waits for the chunk that is being read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor


def ahead(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """``chunks``, as they are."""
    source = iter(chunks)
    with ThreadPoolExecutor(1, "reader") as reader:
        coming = reader.submit(next, source, None)
        while (chunk := coming.result()) is not None:
            coming = reader.submit(next, source, None)
            yield chunk
