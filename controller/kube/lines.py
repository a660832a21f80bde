"""Lines out of chunks, of any length: aiohttp's own line reader gives up above half a megabyte.

Guarantee: pure; every byte is looked at once, however a line is cut into chunks. A last line without
its newline is never delivered, because it may be the half of an event.
"""

from __future__ import annotations

from collections.abc import Iterable


class LineSplitter:
    """Feed it chunks, take whole lines."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunks: Iterable[bytes]) -> list[bytes]:
        """The lines that ``chunks`` complete, without those that are blank. A newline may be left at the end,
        where taking it off would copy all of the line, and who reads JSON does not mind it."""
        lines: list[bytes] = []
        for chunk in chunks:
            # API servers write a chunk for each line, so nearly always this is one and nothing waits.
            if 0 <= chunk.find(b"\n") == len(chunk) - 1 and not self._parts and not chunk.isspace():
                lines.append(chunk)
            else:
                self._cut(chunk, lines)
        return lines

    def _cut(self, chunk: bytes, lines: list[bytes]) -> None:
        first, *others = chunk.split(b"\n")
        self._parts.append(first)
        if others:
            *whole, rest = [b"".join(self._parts), *others]
            lines += [line for line in whole if line and not line.isspace()]
            self._parts = [rest] if rest else []

    @property
    def pending(self) -> int:
        """Bytes of the line that is not complete yet."""
        return sum(map(len, self._parts))
