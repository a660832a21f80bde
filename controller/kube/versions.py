"""Comparing resource versions, which is allowed within one resource of one API server.

Guarantee: pure; a string that is no version in Kubernetes' sense compares as unknown (None), never as
smaller or greater, so that a caller must decide what to do about it.
"""

from __future__ import annotations


def is_version(text: str) -> bool:
    """A positive decimal number without a leading zero, of any length."""
    return text.isascii() and text.isdecimal() and not text.startswith("0")


def is_at_least(version: str, other: str) -> bool | None:
    """Whether ``version`` is ``other`` or newer; None when one of them cannot be compared."""
    # Inline and not is_version(), twice a call and twice an event: this is the store's busiest line.
    if not (version.isdecimal() and other.isdecimal() and version.isascii() and other.isascii()):
        return None
    if version[0] == "0" or other[0] == "0":
        return None
    # Longer decimal numbers without leading zeros are greater: no conversion, whatever the size.
    if len(version) == len(other):
        return version >= other
    return len(version) > len(other)
