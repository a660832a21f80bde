"""Stages see every byte once, in order."""

from __future__ import annotations

import gc
import hashlib
import threading
from collections.abc import Iterator
from random import Random

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


@pytest.mark.parametrize("sizes", [[100_000] * 30, [1, 100_000, 1], [100_000, 1, 1, 200_000, 5]])
def test_a_digest_is_in_order_whatever_is_hashed_beside_the_stream(sizes: list[int]) -> None:
    random = Random(1)
    chunks = [random.randbytes(size) for size in sizes]
    digest = Digest()
    assert b"".join(pipeline.run(chunks, [digest])) == b"".join(chunks)
    assert digest.sha256 == hashlib.sha256(b"".join(chunks)).hexdigest()


def test_a_digest_holds_back_no_more_than_a_few_chunks() -> None:
    class Counted(bytes):
        alive = 0

        def __init__(self, *_: object) -> None:
            Counted.alive += 1

        def __del__(self) -> None:
            Counted.alive -= 1

    def chunks() -> Iterator[bytes]:
        for _ in range(50):
            yield Counted(bytes(1_000_000))

    most = 0
    for _ in pipeline.run(chunks(), [Digest()]):
        most = max(most, Counted.alive)
    assert most <= 8


def test_a_stream_that_is_given_up_leaves_no_thread_behind() -> None:
    stream = pipeline.run([bytes(100_000)] * 3, [Digest()])
    next(stream)
    assert any(thread.name.startswith("digest") for thread in threading.enumerate())
    del stream
    gc.collect()
    for thread in threading.enumerate():
        if thread.name.startswith("digest"):
            thread.join(30)
            assert not thread.is_alive()


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
