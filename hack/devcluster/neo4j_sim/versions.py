"""Neo4j's versions: SemVer up to 5.26, calendar versions from 2025.01. They compare as numbers.

Guarantee: ``2025.10`` is later than ``2025.09`` and than every 5.x.
Non-guarantee: floating tags have no number.
"""

from __future__ import annotations

import re

Version = tuple[int, int, int]

_PATTERN = re.compile(r"^(\d+)\.(\d+)(?:\.(\d+))?(?:-.*)?$")


def parse_version(text: str) -> Version:
    """The number in a tag such as ``5.26.3-enterprise``. Raises ValueError for a floating tag."""
    match = _PATTERN.match(text.strip())
    if match is None:
        raise ValueError(f"not an exact Neo4j version: {text!r}")
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def at_least(version: Version, major: int, minor: int) -> bool:
    return version[:2] >= (major, minor)
