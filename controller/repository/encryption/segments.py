"""Cuts a stream into segments and knows the last one, as both formats need it.

Guarantee: ``transform`` gets every segment once, in order, with its number, and ``last`` is true for
exactly the final one, which is held back until the stream ends. At most one segment and one chunk are
in memory, and what lies in one chunk is transformed where it is.

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
        self._held = memoryview(bytearray(size))
        self._filled = 0

    def feed(self, chunk: bytes) -> bytes:
        rest, out = memoryview(chunk), self._take_prefix()
        while self._filled + len(rest) > self._next:  # a full segment may still be the last one
            missing = self._next - self._filled
            out.append(self._segment(rest[:missing]))
            rest = rest[missing:]
        self._hold(rest)
        # One segment goes on as it is: joining would copy it.
        return out[0] if len(out) == 1 else b"".join(out)

    def finish(self) -> bytes:
        last = self._transform(self._held[: self._filled], self._number, True)
        self._filled = 0
        return b"".join([*self._take_prefix(), last])

    def _segment(self, end: memoryview) -> bytes:
        """Transform what is held and ``end``; a segment that lies in one chunk is not copied before."""
        if self._filled:
            self._hold(end)
            end = self._held[: self._filled]
        done = self._transform(end, self._number, False)
        self._filled = 0
        self._next = self._size
        self._number += 1
        return done

    def _hold(self, piece: memoryview) -> None:
        self._held[self._filled : self._filled + len(piece)] = piece
        self._filled += len(piece)

    def _take_prefix(self) -> list[bytes]:
        prefix, self._prefix = self._prefix, b""
        return [prefix] if prefix else []
