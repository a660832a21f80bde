"""The header of an age v1 file: who can open it, and the key of its payload.

Guarantee: :func:`parse` accepts exactly what the format allows (canonical base64, line lengths, single
spaces), because whatever one reader forgives another one reads differently. Nothing in the header is
believed before its MAC was checked.

Non-guarantee: of the ways to wrap a file key only X25519 is known; other stanzas are passed over.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from controller.repository.encryption.errors import Undecryptable

VERSION = b"age-encryption.org/v1"
MAX_SIZE = 1024 * 1024
_FOOTER = b"\n---"
_ARGUMENT = re.compile(rb"[\x21-\x7e]+")
_LINE = 64


@dataclass(frozen=True, slots=True)
class Stanza:
    """The file key, wrapped for one recipient. ``arguments[0]`` is the type."""

    arguments: tuple[bytes, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """``covered`` is the text that the MAC is over."""

    stanzas: tuple[Stanza, ...]
    covered: bytes
    mac: bytes


def render(stanzas: tuple[Stanza, ...]) -> bytes:
    """The header up to and including ``---``, to which the MAC is added."""
    lines = [VERSION]
    for stanza in stanzas:
        lines.append(b" ".join((b"->", *stanza.arguments)))
        body = encode64(stanza.body)
        lines += [body[start : start + _LINE] for start in range(0, len(body) + 1, _LINE)]
    return b"\n".join([*lines, b"---"])


def end_of(data: bytes | bytearray) -> int | None:
    """Length of the header with its last newline; None while it is not complete."""
    footer = data.find(_FOOTER)
    end = data.find(b"\n", footer + 1) if footer >= 0 else -1
    if end < 0 and len(data) > MAX_SIZE:
        raise Undecryptable("the age header does not end")
    return end + 1 if end >= 0 else None


def parse(text: bytes) -> Header:
    """A complete header, its last newline included."""
    try:
        return _parse(text)
    except ValueError as error:
        raise Undecryptable(f"the age header is malformed: {error}") from None


def encode64(data: bytes) -> bytes:
    """Standard alphabet, no padding."""
    return base64.b64encode(data).rstrip(b"=")


def decode64(text: bytes) -> bytes:
    """Canonical only: no padding, no stray bits; raises ValueError."""
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if encode64(data) != text:
        raise ValueError("base64 is not canonical")
    return data


def _parse(text: bytes) -> Header:
    covered, separator, mac = text.removesuffix(b"\n").rpartition(b"--- ")
    lines = covered.split(b"\n")
    if not separator or lines.pop() != b"" or lines.pop(0) != VERSION:
        raise ValueError("not version 1 of the age format")
    stanzas: list[Stanza] = []
    while lines:
        stanzas.append(_stanza(lines))
    if not stanzas:
        raise ValueError("no recipients")
    decoded = decode64(mac)
    if len(decoded) != 32:
        raise ValueError("the MAC has not 32 bytes")
    return Header(tuple(stanzas), covered + b"---", decoded)


def _stanza(lines: list[bytes]) -> Stanza:
    """Takes its lines off the front."""
    start, *arguments = lines.pop(0).split(b" ")
    if start != b"->" or not arguments or not all(_ARGUMENT.fullmatch(one) for one in arguments):
        raise ValueError("a recipient does not begin as it should")
    body = b""
    while lines:
        line = lines.pop(0)
        if len(line) > _LINE:
            raise ValueError("a line is too long")
        body += line
        if len(line) < _LINE:
            return Stanza(tuple(arguments), decode64(body))
    raise ValueError("a recipient does not end")
