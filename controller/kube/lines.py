"""Lines out of chunks, of any length: aiohttp's own line reader gives up above half a megabyte.

Guarantee: pure; every byte is looked at once, however a line is cut into chunks. A last line without
its newline is never delivered, because it may be the half of an event.
"""

from __future__ import annotations

from collections.abc import Sequence


class LineSplitter:
    """Feed it chunks, take whole lines."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunks: Sequence[bytes]) -> bytes:
        """The lines that ``chunks`` complete, in one text that ends with a newline; empty without any."""
        # From the end, where API servers nearly always end a line: they write a chunk for each.
        for place in range(len(chunks) - 1, -1, -1):
            end = chunks[place].rfind(b"\n") + 1
            if end:
                text = b"".join((*self._parts, *chunks[:place], chunks[place][:end]))
                self._parts = [part for part in (chunks[place][end:], *chunks[place + 1 :]) if part]
                return text
        self._parts += chunks
        return b""

    @property
    def pending(self) -> int:
        """Bytes of the line that is not complete yet."""
        return sum(map(len, self._parts))


def lines_of(text: bytes) -> list[bytes]:
    """Each, without the blank ones and without its newline."""
    return [line for line in text.split(b"\n") if line and not line.isspace()]
