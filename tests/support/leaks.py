"""Looks for planted secrets in whatever bytes are held under its nose.

Guarantee: a secret is found as it is, in base64 at any offset (standard and URL-safe), in hexadecimal of
either case, percent-encoded, and with JSON's escapes; in one piece, or in the base64 of something around it.
Non-guarantee: what was compressed or encrypted on the way is not recognised.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

PRIVATE_KEY_MARKS = (b"BEGIN PRIVATE KEY", b"BEGIN EC PRIVATE KEY", b"BEGIN RSA PRIVATE KEY")
"""Nobody plants those: no such key has a reason to be anywhere but in memory or in a Secret."""


class Planted:
    """The secrets, by name, and everything that each of them looks like."""

    def __init__(self, secrets: Mapping[str, str | bytes]) -> None:
        self._forms = [
            (f"{name} ({form})", looks)
            for name, value in secrets.items()
            for form, looks in _forms(value.encode() if isinstance(value, str) else value)
        ]

    def found_in(self, data: bytes, but: Iterable[str] = ()) -> list[str]:
        """Which secrets, in which form, are in ``data``; those named in ``but`` may be."""
        allowed = tuple(f"{name} (" for name in but)
        return [name for name, looks in self._forms if looks in data and not name.startswith(allowed)]


@dataclass
class Processes:
    """Command line and environment of everything that was seen to run on this machine."""

    seen: set[tuple[bytes, bytes]] = field(default_factory=set)

    def look(self) -> None:
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with suppress(OSError):
                command, environment = (entry / "cmdline").read_bytes(), b""
                # What is not dumpable shows its environment to root only.
                with suppress(PermissionError):
                    environment = (entry / "environ").read_bytes()
                self.seen.add((command, environment))


@contextmanager
def watched() -> Iterator[Processes]:
    """Looks often while the block runs; what lives for less than a moment may be missed."""
    seen, stop = Processes(), threading.Event()

    def look() -> None:
        while not stop.wait(0.1):
            seen.look()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _forms(value: bytes) -> Iterable[tuple[str, bytes]]:
    assert len(value) >= 8, "too short to be told from chance"
    yield "plain", value
    yield "hexadecimal", value.hex().encode()
    yield "hexadecimal", value.hex().upper().encode()
    for offset in range(3):
        # What the neighbours' bits reach into is left off at both ends.
        standard = base64.b64encode(bytes(offset) + value)[4 if offset else 0 : -4]
        yield "base64", standard
        yield "base64", standard.translate(bytes.maketrans(b"+/", b"-_"))
    text = value.decode("latin-1")
    for encoded in (quote(text, safe=""), quote(text), quote_plus(text), json.dumps(text)[1:-1]):
        if encoded != text:
            yield "encoded", encoded.encode()
