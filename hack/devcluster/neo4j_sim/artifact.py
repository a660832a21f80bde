"""Backup artifacts: a header, the transactions, a trailer with length and hash.

Guarantee: a cut file or a damaged header is found by reading the header, any other damage by :func:`verify`.
Non-guarantee: reading the header alone does not find a flipped bit in the content; neither does
``backup inspect`` of the real tool, which is why a caller must check.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

from hack.devcluster.neo4j_sim.store import Frame, read_frames

NAME = re.compile(r"^(?P<database>.+)-(?P<time>\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})\.backup$")
_MAGIC = b"NEO4JSIM1\n"
_TRAILER = struct.Struct(">Q32s4s")
_END = b"DONE"


class Corrupt(Exception):
    """A file that is no artifact, or no longer one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the artifact says of itself. ``time`` is UTC, ``yyyy-MM-ddTHH:mm:ss``."""

    name: str
    id: str
    store_id: str
    time: str
    full: bool
    compressed: bool
    lowest: int
    highest: int
    recovered: bool
    version: str
    store_size: int
    metadata: str = ""

    @property
    def empty(self) -> bool:
        return self.highest == 0

    def encode(self) -> bytes:
        text = json.dumps(asdict(self)).encode()
        return text + b"\n" + b"%08x\n" % zlib.crc32(text)


def write(path: Path, header: Header, content: Iterable[bytes]) -> None:
    """Raises FileExistsError rather than replace an artifact: they are immutable."""
    sha = hashlib.sha256()
    compressor = zlib.compressobj(1) if header.compressed else None
    length = 0
    with path.open("xb") as file:

        def put(data: bytes) -> int:
            sha.update(data)
            return file.write(data)

        put(_MAGIC + header.encode())
        for chunk in content:
            length += put(compressor.compress(chunk) if compressor else chunk)
        if compressor:
            length += put(compressor.flush())
        file.write(_TRAILER.pack(length, sha.digest(), _END))


def _header(file: BinaryIO) -> Header:
    if file.readline() != _MAGIC:
        raise Corrupt("not a backup artifact")
    text = file.readline().rstrip(b"\n")
    if file.readline() != b"%08x\n" % zlib.crc32(text):
        raise Corrupt("the header is damaged")
    values = json.loads(text)
    return Header(**{field.name: values[field.name] for field in fields(Header)})


def _trailer(file: BinaryIO, path: Path) -> tuple[int, bytes]:
    """Length of the content, which starts where ``file`` stands, and the hash that all should have."""
    start = file.tell()
    expected = path.stat().st_size - start - _TRAILER.size
    if expected < 0:
        raise Corrupt("the file is cut short")
    file.seek(start + expected)
    length, sha, end = _TRAILER.unpack(file.read(_TRAILER.size))
    if end != _END or length != expected:
        raise Corrupt("the file is cut short")
    file.seek(start)
    return length, sha


def read_header(path: Path) -> Header:
    """Raises Corrupt."""
    with path.open("rb") as file:
        header = _header(file)
        _trailer(file, path)
        return header


def verify(path: Path) -> Header:
    """Read everything. Raises Corrupt."""
    with path.open("rb") as file:
        header = _header(file)
        length, expected = _trailer(file, path)
        remaining = file.tell() + length
        file.seek(0)
        sha = hashlib.sha256()
        while remaining:
            chunk = file.read(min(1 << 18, remaining))
            remaining -= len(chunk)
            sha.update(chunk)
    if sha.digest() != expected:
        raise Corrupt("the content does not match its checksum")
    return header


class _Inflating:
    """A readable stream over the content; only ``read(n)`` is needed by the frame reader."""

    def __init__(self, file: BinaryIO, length: int, compressed: bool) -> None:
        self._file = file
        self._remaining = length
        self._inflater = zlib.decompressobj() if compressed else None
        self._buffer = b""

    def read(self, size: int) -> bytes:
        while len(self._buffer) < size and self._remaining:
            chunk = self._file.read(min(1 << 18, self._remaining))
            self._remaining -= len(chunk)
            self._buffer += self._inflater.decompress(chunk) if self._inflater else chunk
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken


def frames(path: Path) -> Iterator[Frame]:
    """The transactions. Verify first: this trusts the trailer."""
    with path.open("rb") as file:
        header = _header(file)
        length, _ = _trailer(file, path)
        yield from read_frames(_Inflating(file, length, header.compressed))
