"""A pseudo-terminal as two byte streams, for ``kubectl exec -it``.

Guarantee: reading ends when the last process on the terminal is gone.
Non-guarantee: closing the input is not seen by the program; a terminal has no end of input.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream

_CHUNK = 65536


class Terminal(ByteReceiveStream, ByteSendStream):
    """The master side. ``program_side`` is what the program gets as its three standard streams."""

    def __init__(self) -> None:
        self._master, self.program_side = pty.openpty()
        self._closed = False

    async def receive(self, max_bytes: int = _CHUNK) -> bytes:
        if self._closed:
            raise anyio.ClosedResourceError
        await anyio.wait_readable(self._master)
        try:
            data = os.read(self._master, max_bytes)
        except OSError:  # EIO: nobody has the other side open any more
            data = b""
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        while item and not self._closed:
            await anyio.wait_writable(self._master)
            item = item[os.write(self._master, item) :]

    async def send_eof(self) -> None:
        """Nothing: see the module."""

    async def aclose(self) -> None:
        """Nothing: whoever has one direction may still need the other; :meth:`close` ends both."""

    def resize(self, columns: int, rows: int) -> None:
        if not self._closed:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def close_program_side(self) -> None:
        os.close(self.program_side)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            anyio.notify_closing(self._master)
            os.close(self._master)
