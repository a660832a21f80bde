"""Lines out of chunks, of any length: aiohttp's own line reader gives up above half a megabyte.

Guarantee: pure; every byte is looked at once, however a line is cut into chunks. A last line without
its newline is never delivered, because it may be the half of an event.
"""

from __future__ import annotations


class LineSplitter:
    """Feed it chunks, take whole lines."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines that ``chunk`` completes, without their newlines and without empty ones."""
        lines = chunk.split(b"\n")
        if len(lines) > 1 and self._parts:
            lines[0] = b"".join([*self._parts, lines[0]])
            self._parts.clear()
        if rest := lines.pop():
            self._parts.append(rest)
        return [line for line in lines if line.strip()]

    @property
    def pending(self) -> int:
        """Bytes of the line that is not complete yet."""
        return sum(map(len, self._parts))
