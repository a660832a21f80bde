"""Tells a failing source from a failing store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Guarded:
    """An iterator that remembers what its source raised.

    A store translates operating system errors into its own; a source (a socket) raises the same
    classes. Without this a cut connection to an agent would be reported as a broken bucket.
    """

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
