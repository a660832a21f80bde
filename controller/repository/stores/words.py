"""What the object store's library says, in words for people.

Guarantee: one line, and nothing of a credential: the library leaves those out of its errors, and what it
prints of a certificate or an operating system error holds none.

Non-guarantee: the library's text is no API; what is not recognised comes out as its first line.
"""

from __future__ import annotations

import re

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_TROUBLES = (
    (
        re.compile(r"InvalidCertificate\(\s*(\w+)"),
        "its certificate is not trusted ({}); put that of its CA into ca.crt of the credentials Secret",
    ),
    (re.compile(r"(InvalidContentType)"), "it does not speak TLS; the endpoint begins with http:// then"),
    (re.compile(r'"failed to lookup address information: ([^"]+)"'), "its name is not known ({})"),
    (re.compile(r'message: "([^"]+)",?\s*\}'), "{}"),
    (re.compile(r"source: (TimedOut)"), "no answer in time"),
)


def code_of(error: Exception) -> str:
    """The provider's own word for a refusal, e.g. ``NoSuchBucket``; empty when there is none."""
    match = _CODE.search(str(error))
    return match.group(1) if match else ""


def status_of(error: Exception) -> str:
    """The HTTP status, as text; empty when there was no answer."""
    match = _STATUS.search(str(error))
    return match.group(1) if match else ""


def said(error: Exception) -> str:
    """The innermost cause."""
    text = str(error)
    if word := code_of(error) or status_of(error):
        return word if not word.isdigit() else f"HTTP {word}"
    for pattern, words in _TROUBLES:
        if match := pattern.search(text):
            return words.format(match.group(1))
    return first_line(error)


def first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
