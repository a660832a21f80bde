"""Byte sizes as Kubernetes, Neo4j and the JVM write them.

Guarantee: every parser says what it did not understand, and the formatter's result is accepted by
``HEAP_SIZE``, ``-Xmx`` and ``--pagecache`` alike (``2Gi`` is accepted by none of them).
"""

from __future__ import annotations

import re
from decimal import Decimal

KIB = 1024
MIB = 1024**2
GIB = 1024**3
_LARGEST = 2**63 - 1

# Nobody has more than 10^30 bytes, and a number without a limit would be work without one.
_KUBERNETES = re.compile(
    r"([0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30})(Ki|Mi|Gi|Ti|Pi|Ei|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?"
)
_SIZE = re.compile(r"([0-9]{1,30})\s*(?:([kKmMgGtT])(?:i[bB]?|[bB])?|[bB])?")
_BINARY = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": KIB * GIB}
_POWER = {"k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}


class BadSize(ValueError):
    """The text is no byte size; the message says how to write one."""


def parse_kubernetes(text: str) -> int:
    """A Kubernetes quantity in whole bytes: ``512Mi``, ``1G`` (decimal), ``1e9``, ``500m`` rounds up."""
    match = _KUBERNETES.fullmatch(text.strip())
    if not match:
        raise BadSize(f"{text!r} is no Kubernetes quantity: write for example 512Mi or 1Gi")
    number, suffix = Decimal(match[1]), match[2] or ""
    value = number * _kubernetes_factor(suffix)
    return int(value) + (value != int(value))


def parse_size(text: str) -> int:
    """A page cache or heap size, ``512m``, ``2G``, ``8MiB``, ``1Gi``: always binary multiples.

    Neo4j and the JVM read ``2G`` as 2 GiB; the Kubernetes spelling ``2Gi``, which both refuse, means
    the same here, so that either can be written in a custom resource.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise BadSize(f"{text!r} is no byte size: write for example 512M or 2G")
    unit = (match[2] or "").lower()
    return int(match[1]) * _BINARY[unit]


def parse_count(text: str) -> int:
    """A 64-bit number as Neo4j prints them; raises ValueError for any other: no message could carry it."""
    number = int(text) if len(text) <= 20 else _LARGEST + 1
    if not -_LARGEST <= number <= _LARGEST:
        raise ValueError("not a number of 64 bits")
    return number


def format_size(size: int) -> str:
    """``512m``, or ``300k`` below one MiB: rounded down, never more than ``size``."""
    return f"{size // MIB}m" if size >= MIB else f"{size // KIB}k"


def human(size: int) -> str:
    """For messages: ``512MiB``, ``1.5GiB``."""
    for unit, factor in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= factor:
            return f"{size / factor:.1f}".removesuffix(".0") + unit
    return f"{size}B"


def _kubernetes_factor(suffix: str) -> Decimal:
    if not suffix:
        return Decimal(1)
    if suffix == "m":
        return Decimal("0.001")
    if suffix[0] in "eE" and len(suffix) > 1 and suffix != "Ei":
        return Decimal(10) ** int(suffix[1:])
    base = 1024 if suffix.endswith("i") else 1000
    return Decimal(base) ** _POWER[suffix[0].lower()]
