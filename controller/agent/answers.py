"""Standard input and output of a verb."""

from __future__ import annotations

import os
import sys

from controller.wire.messages import Message, encode

MAXIMUM_LINE = 4 * 1024 * 1024
NO_SUCH_RUN = 66


def read_line(descriptor: int = 0) -> bytes:
    """One line without its newline.

    Straight from the descriptor, because a buffered reader would keep the interpreter from ending
    while the other side holds standard input open, and some API servers cannot close it.
    """
    content = bytearray()
    while not content.endswith(b"\n") and len(content) < MAXIMUM_LINE:
        chunk = os.read(descriptor, 65536)
        if not chunk:
            break
        content += chunk
    return bytes(content).rstrip(b"\n")


def answer(message: Message) -> None:
    sys.stdout.buffer.write(encode(message) + b"\n")
    sys.stdout.buffer.flush()


def complain(text: str, code: int = 1) -> int:
    sys.stderr.write(text + "\n")
    return code
