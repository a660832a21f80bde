"""Cuts a stream into segments and knows the last one, as both formats need it.

Guarantee: ``transform`` gets every segment once, in order, with its number, and ``last`` is true for
exactly the final one, which is held back until the stream ends. At most one segment and one chunk are
in memory.

Non-guarantee: the final segment may be empty or short; whether that is legal is the format's business.
"""

from __future__ import annotations

from collections.abc import Callable

Transform = Callable[[memoryview, int, bool], bytes]


class SegmentStage:
    """A stage of :mod:`controller.repository.pipeline` over segments of ``size`` bytes.

    ``first`` is the size of segment 0, which shares its place with the header in some formats.
    """

    def __init__(self, transform: Transform, size: int, *, first: int = 0, prefix: bytes = b"") -> None:
        self._transform = transform
        self._size = size
        self._next = first or size
        self._number = 0
        self._prefix = prefix
        self._held = bytearray()

    def feed(self, chunk: bytes) -> bytes:
        self._held += chunk
        if len(self._held) <= self._next:  # a full segment may still be the last one
            return self._take_prefix()
        out, at = [self._take_prefix()], 0
        with memoryview(self._held) as held:
            while len(held) - at > self._next:
                with held[at : at + self._next] as segment:
                    out.append(self._transform(segment, self._number, False))
                at += self._next
                self._next = self._size
                self._number += 1
        del self._held[:at]
        return b"".join(out)

    def finish(self) -> bytes:
        with memoryview(self._held) as rest:
            last = self._transform(rest, self._number, True)
        self._held = bytearray()
        return self._take_prefix() + last

    def _take_prefix(self) -> bytes:
        prefix, self._prefix = self._prefix, b""
        return prefix
