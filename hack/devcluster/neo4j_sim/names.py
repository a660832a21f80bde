"""Database names and the patterns that ``neo4j-admin`` takes for them.

Guarantee: the patterns are Neo4j's, not a shell's: ``*`` is one or more characters, ``?`` none or one, so
``neo4j*`` does not match ``neo4j`` and ``foo?`` does match ``foo``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_VALID = re.compile(r"^[a-z0-9.*?-]{1,63}$")


def normalized(text: str) -> str:
    """Raises ValueError for what cannot be a name or a pattern."""
    name = text.lower()
    if not _VALID.match(name):
        raise ValueError(f"Invalid database name '{text}'.")
    return name


def is_pattern(name: str) -> bool:
    return "*" in name or "?" in name


def matching(pattern: str, names: Iterable[str]) -> list[str]:
    expression = re.compile(re.escape(pattern).replace(r"\*", ".+").replace(r"\?", ".?"))
    return [name for name in names if expression.fullmatch(name)]
