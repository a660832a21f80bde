"""An HTTP answer means the same however the network cuts it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.kube.http1 import AnswerParser, BrokenAnswer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
contents = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
cuts = st.lists(st.integers(0, 400), max_size=12)


def chunked(parts: list[bytes]) -> bytes:
    framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def counted(parts: list[bytes]) -> bytes:
    content = b"".join(parts)
    return HEAD + b"Content-Length: %d\r\n\r\n%b" % (len(content), content)


def fed(answer: bytes, places: list[int]) -> tuple[AnswerParser, bytes]:
    parser, content = AnswerParser(), b""
    for start, end in itertools.pairwise([0, *sorted(place % len(answer) for place in places), len(answer)]):
        parser.feed(answer[start:end])
        content += b"".join(parser.take())
    return parser, content


@given(contents, cuts)
def test_chunks_do_not_depend_on_how_they_are_cut(parts: list[bytes], places: list[int]) -> None:
    parser, content = fed(chunked(parts), places)
    assert content == b"".join(parts)
    assert (parser.status, parser.complete, parser.keep_alive) == (200, True, True)


@given(contents, cuts)
def test_counted_content_does_not_depend_on_how_it_is_cut(parts: list[bytes], places: list[int]) -> None:
    parser, content = fed(counted(parts), places)
    assert content == b"".join(parts)
    assert (parser.complete, parser.keep_alive) == (True, True)


@given(contents.filter(bool), st.integers(1, 10_000))
def test_an_answer_that_is_cut_short_is_never_complete(parts: list[bytes], missing: int) -> None:
    answer = chunked(parts)
    parser = AnswerParser()
    parser.feed(answer[: -(1 + missing % (len(answer) - 1))])
    assert not parser.complete
    with pytest.raises(BrokenAnswer):
        parser.ended()


@pytest.mark.parametrize("size", [b"", b"-1", b"+2", b"0x2", b"1_0", b"g", b"2 2", b";"])
def test_a_size_that_is_none_breaks_the_answer(size: bytes) -> None:
    parser = AnswerParser()
    with pytest.raises(BrokenAnswer):
        parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\nab\r\n")


def test_a_chunk_that_is_longer_than_it_says_breaks_the_answer() -> None:
    parser = AnswerParser()
    with pytest.raises(BrokenAnswer):
        parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n")


def test_what_follows_an_answer_is_not_taken_for_the_next_one() -> None:
    parser = AnswerParser()
    parser.feed(counted([b"a"]) + counted([b"b"]))
    assert parser.take() == [b"a"]
    assert not parser.keep_alive
