"""One exception instead of a group of one.

Guarantee: callers of a function that happens to use a task group inside see the exception that was
raised, as they would without it. Of several, the first that is not a cancellation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def unwrapped() -> Iterator[None]:
    """Around a task group: lets its only (or first) failure out on its own."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
