"""The one source of randomness of this package: jitter, handed to pure code as a number."""

from __future__ import annotations

import random
from collections.abc import Callable

Jitter = Callable[[], float]
"""Returns a number in [0, 1)."""

source: random.Random = random.SystemRandom()
"""Looked up with every use: a simulation puts one of its own here, and its runs can be repeated."""


def jitter() -> float:
    """A number in [0, 1)."""
    return source.random()
