"""The runner's log: ``key=value`` lines on standard output, for people and for the operator.

Guarantee: one line a call, flushed at once, whatever the values hold. ``progress`` and ``result`` lines
end in the JSON of their message, so that a program finds them by the word before it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TextIO

import msgspec

from controller.wire.messages import Progress, encode


class Log:
    """Writes to ``stream``; the clock is given."""

    def __init__(self, now: Callable[[], datetime], stream: TextIO | None = None) -> None:
        self._now = now
        self._stream = stream or sys.stdout

    def info(self, event: str, **fields: object) -> None:
        self._line("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._line("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._line("error", event, fields)

    def progress(self, progress: Progress) -> None:
        self._write("info", f"progress {encode(progress).decode()}")

    def result(self, result: bytes) -> None:
        """The last line: what the termination message holds, too."""
        self._write("info", f"result {result.decode()}")

    def _line(self, level: str, event: str, fields: dict[str, object]) -> None:
        pairs = [f"{key}={_value(value)}" for key, value in fields.items() if value not in ("", None)]
        self._write(level, " ".join([f"event={_value(event)}", *pairs]))

    def _write(self, level: str, text: str) -> None:
        now = self._now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._stream.write(f"time={now} level={level} {text}\n")
        self._stream.flush()


def _value(value: object) -> str:
    """Bare where that is unambiguous, else a JSON string: never a line break."""
    text = str(value)
    plain = text.isascii() and text.isprintable() and not set(text) & set(' "=\\{}')
    return text if plain and text else msgspec.json.encode(text).decode()
