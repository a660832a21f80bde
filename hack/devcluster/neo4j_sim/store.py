"""The content of one database: every transaction as a frame, in order, with a checksum.

Guarantee: content is a function of database, transaction number and statement, so that two copies can be
compared by one digest; a file cut anywhere opens at its last complete transaction; a reader that knows a
transaction number never sees a later one half-written.

Non-guarantee: commit times are no part of the digest: the same content restored is the same content.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from hack.devcluster.neo4j_sim.protocol import Json

FRAME = struct.Struct(">QQII")  # transaction, commit time in ms, payload length, CRC of the payload
_OFFSET = struct.Struct(">Q")
_TILE_BYTES = 1 << 17
EPOCH_MS = 1_767_225_600_000


class Inconsistent(Exception):
    """Content that cannot have been written by a server."""


@dataclass(frozen=True, slots=True)
class Frame:
    tx: int
    time_ms: int
    payload: bytes

    def pack(self) -> bytes:
        return FRAME.pack(self.tx, self.time_ms, len(self.payload), zlib.crc32(self.payload)) + self.payload


@lru_cache(maxsize=4)
def _tile(seed: str) -> bytes:
    # Hexadecimal, so that a compressed artifact is about half the store, as real ones roughly are.
    return hashlib.shake_256(seed.encode()).hexdigest(_TILE_BYTES // 2).encode()


def payload(seed: str, tx: int, size: int, statement: str = "") -> bytes:
    head = f"{seed}:{tx}:{statement}\n".encode()
    missing = max(0, size - len(head))
    tile = _tile(seed)
    start = (tx * 7919) % _TILE_BYTES
    return head + (tile[start:] + tile * (missing // _TILE_BYTES + 1))[:missing]


class Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_frames(stream: Readable) -> Iterator[Frame]:
    """Frames until the end. Raises Inconsistent for a frame that is cut short or altered."""
    while header := stream.read(FRAME.size):
        if len(header) < FRAME.size:
            raise Inconsistent("the last transaction is incomplete")
        tx, time_ms, length, crc = FRAME.unpack(header)
        body = stream.read(length)
        if len(body) < length or zlib.crc32(body) != crc:
            raise Inconsistent(f"transaction {tx} does not match its checksum")
        yield Frame(tx, time_ms, body)


def digest(frames: Iterable[Frame]) -> Json:
    """What two copies with the same content have in common. Raises Inconsistent for a gap."""
    sha = hashlib.sha256()
    last = 0
    for frame in frames:
        if frame.tx != last + 1:
            raise Inconsistent(f"transaction {frame.tx} follows {last}")
        last = frame.tx
        sha.update(_OFFSET.pack(frame.tx) + frame.payload)
    return {"lastTx": last, "digest": sha.hexdigest()}


class Store:
    """A database directory. One thread appends; any number read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._frames = directory / "neostore"
        self._index = directory / "neostore.id"
        self._meta = directory / "store.json"

    def exists(self) -> bool:
        return self._meta.exists()

    def create(self, meta: Json) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._frames.write_bytes(b"")
        self._index.write_bytes(b"")
        self.write_meta(meta)

    def write_meta(self, meta: Json) -> None:
        partial = self._meta.with_suffix(".partial")
        partial.write_text(json.dumps(meta), encoding="utf-8")
        os.replace(partial, self._meta)

    def meta(self) -> Json:
        meta: Json = json.loads(self._meta.read_text(encoding="utf-8"))
        return meta

    def recover(self) -> None:
        """Cut off what a crash left half-written."""
        size = self._index.stat().st_size
        os.truncate(self._index, size - size % _OFFSET.size)
        os.truncate(self._frames, self.end_of(self.last_tx()))

    def last_tx(self) -> int:
        return self._index.stat().st_size // _OFFSET.size

    def end_of(self, tx: int) -> int:
        """Bytes up to and with ``tx``. The index holds ends, so an indexed frame is complete."""
        if tx == 0:
            return 0
        with self._index.open("rb") as index:
            index.seek((tx - 1) * _OFFSET.size)
            end: int = _OFFSET.unpack(index.read(_OFFSET.size))[0]
            return end

    def append(self, frames: Iterable[Frame]) -> None:
        end = self.end_of(self.last_tx())
        with self._frames.open("ab") as content, self._index.open("ab") as index:
            for frame in frames:
                end += content.write(frame.pack())
                content.flush()
                index.write(_OFFSET.pack(end))
                index.flush()

    def span(self, lowest: int, highest: int) -> tuple[int, int]:
        """Offset and length of a range of transactions."""
        start = self.end_of(lowest - 1)
        return start, self.end_of(highest) - start

    def read(self, offset: int, length: int, chunk_size: int = 1 << 18) -> Iterator[bytes]:
        with self._frames.open("rb") as content:
            content.seek(offset)
            while length:
                chunk = content.read(min(chunk_size, length))
                length -= len(chunk)
                yield chunk

    def frames(self) -> Iterator[Frame]:
        with self._frames.open("rb") as content:
            yield from read_frames(content)
