"""Stages see every byte once, in order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from controller.repository import pipeline
from controller.repository.pipeline import Digest


class Blocks:
    """Re-cuts the stream into blocks and ends it with a mark, as an encryption does."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = b""

    def feed(self, chunk: bytes) -> bytes:
        data = self._held + chunk
        whole = len(data) // self._size * self._size
        self._held = data[whole:]
        return data[:whole].upper()

    def finish(self) -> bytes:
        return self._held.upper() + b"!"


def test_a_digest_changes_nothing_and_knows_all() -> None:
    digest = Digest()
    assert b"".join(pipeline.run([b"ab", b"c"], [digest])) == b"abc"
    assert digest.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert digest.size == 3


def test_a_digest_of_half_a_stream_is_refused() -> None:
    digest = Digest()
    next(pipeline.run([b"ab", b"c"], [digest]))
    with pytest.raises(RuntimeError, match="not consumed"):
        _ = digest.sha256


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_stages_stack(size: int) -> None:
    before, after = Digest(), Digest()
    out = b"".join(pipeline.run([b"abc", b"defg"], [before, Blocks(size), after]))
    assert out == b"ABCDEFG!"
    assert before.sha256 == hashlib.sha256(b"abcdefg").hexdigest()
    assert after.sha256 == hashlib.sha256(out).hexdigest()


def test_nothing_is_read_ahead() -> None:
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(3):
            taken.append(number)
            yield b"x"

    stream = pipeline.run(chunks(), [Digest()])
    assert taken == []
    next(stream)
    assert taken == [0]
