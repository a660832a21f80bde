"""Byte sizes as Neo4j's settings and the JVM read them; Kubernetes' ``Gi`` is neither."""

from __future__ import annotations

import re

_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_SETTING = re.compile(r"^\s*(\d+)\s*(?:([KMGTPE])(?:iB|B)?|([kmgtpe])(?:B|b)?|B)?\s*$")
_JVM = re.compile(r"^(\d+)([kKmMgGtT])?$")


def _scaled(number: str, suffix: str) -> int:
    return int(number) << (10 * _POWERS.get(suffix, 0))


def setting_bytes(text: str) -> int:
    """``512m``, ``1GiB``, ``2G``. Raises ValueError for anything else, ``2Gi`` and percentages included."""
    match = _SETTING.match(text)
    if match is None:
        raise ValueError(f"'{text}' is not a valid byte size")
    suffix = (match.group(2) or match.group(3) or "").upper()
    return _scaled(match.group(1), suffix)


def jvm_bytes(text: str) -> int:
    """What ``-Xmx`` takes. Raises ValueError where the JVM would refuse to start."""
    match = _JVM.match(text)
    if match is None:
        raise ValueError(f"Invalid maximum heap size: -Xmx{text}")
    return _scaled(match.group(1), (match.group(2) or "").upper())
