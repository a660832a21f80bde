"""Resource quantities in the one form in which a server stores them: ``0.5`` becomes ``500m``."""

from __future__ import annotations

import re
from decimal import Decimal

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


def canonical(text: str) -> str:
    """Text that is no quantity comes back as it is."""
    found = _QUANTITY.fullmatch(text)
    if not found:
        return text
    if found[2] in _BINARY:
        return _shortest(value(text), 1024, _BINARY)
    if (found[2] or "") in _DECIMAL:
        return _shortest(value(text), 1000, _DECIMAL)
    return text  # an exponent stays one


def is_quantity(text: str) -> bool:
    return _QUANTITY.fullmatch(text) is not None


def value(text: str) -> Decimal:
    """Raises ValueError."""
    found = _QUANTITY.fullmatch(str(text))
    if not found:
        raise ValueError(text)
    suffix = found[2] or ""
    if suffix in _BINARY:
        return Decimal(found[1]) * Decimal(1024) ** _BINARY[suffix]
    if suffix in _DECIMAL:
        return Decimal(found[1]) * Decimal(1000) ** _DECIMAL[suffix]
    return Decimal(found[1] + suffix)


def _shortest(amount: Decimal, base: int, suffixes: dict[str, int]) -> str:
    if amount == 0:
        return "0"
    for suffix, power in sorted(suffixes.items(), key=lambda item: -item[1]):
        scaled = amount / Decimal(base) ** power
        if scaled == scaled.to_integral_value():
            return f"{int(scaled)}{suffix}"
    if base == 1024:
        return _shortest(amount, 1000, _DECIMAL) if amount % 1 else str(int(amount))
    return f"{int(amount * 10**9) + 1}n"
