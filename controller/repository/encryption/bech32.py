"""Bech32 (BIP 173) without its limit of 90 characters, as age spells recipients and identities.

Guarantee: what :func:`decode` accepts has a valid checksum, one case throughout, and no stray bits, so
that a mistyped recipient is refused instead of being encrypted to.
"""

from __future__ import annotations

from collections.abc import Iterable

_CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)


def encode(prefix: str, data: bytes) -> str:
    """Lower case."""
    values = _regroup(data, 8, 5)
    if bits := len(data) * 8 % 5:  # what is left of the last byte, padded with zeros
        values.append((data[-1] & ((1 << bits) - 1)) << (5 - bits))
    checksum = _polymod([*_expand(prefix), *values, 0, 0, 0, 0, 0, 0]) ^ 1
    values += [(checksum >> 5 * (5 - index)) & 31 for index in range(6)]
    return prefix + "1" + "".join(_CHARSET[value] for value in values)


def decode(text: str) -> tuple[str, bytes]:
    """Prefix (lower case) and data; raises ValueError."""
    if text not in (text.lower(), text.upper()):
        raise ValueError("mixed case")
    prefix, separator, rest = text.lower().rpartition("1")
    if not prefix or not separator or len(rest) < 6 or any(char not in _CHARSET for char in rest):
        raise ValueError("not Bech32")
    values = [_CHARSET.index(char) for char in rest]
    if _polymod([*_expand(prefix), *values]) != 1:
        raise ValueError("wrong checksum: mistyped?")
    values = values[:-6]
    bits = len(values) * 5 % 8
    if bits >= 5 or (bits and values[-1] & ((1 << bits) - 1)):
        raise ValueError("stray bits at the end")
    return prefix, bytes(_regroup(values, 5, 8))


def _regroup(values: Iterable[int], have: int, want: int) -> list[int]:
    """Whole groups only; what is left over is the caller's."""
    out: list[int] = []
    number = bits = 0
    for value in values:
        number = number << have | value
        bits += have
        while bits >= want:
            bits -= want
            out.append(number >> bits)
            number &= (1 << bits) - 1
    return out


def _expand(prefix: str) -> list[int]:
    return [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for index, generator in enumerate(_GENERATOR):
            if top >> index & 1:
                checksum ^= generator
    return checksum
