"""Sizes, durations and lines as people read them in ``kubectl get``.

Guarantee: total and pure. Non-guarantee: nothing here is meant to be parsed again.
"""

from __future__ import annotations

_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi")
_LINE_LIMIT = 400


def size(count: int) -> str:
    """``1536`` → ``1.5Ki``; whole bytes below 1 KiB are written as they are."""
    amount, unit = float(count), 0
    while amount >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return str(count) if unit == 0 else f"{amount:.1f}{_UNITS[unit]}"


def duration(seconds: float) -> str:
    """``90.4`` → ``1m30s``."""
    whole = round(max(seconds, 0.0))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes}m{secs}s"
    return f"{minutes}m{secs}s" if minutes else f"{secs}s"


def throughput(count: int, seconds: float) -> str | None:
    """Bytes in each second, or None where no time passed to divide by."""
    return f"{size(round(count / seconds))}/s" if seconds > 0 else None


def one_line(text: str, limit: int = _LINE_LIMIT) -> str:
    """Blanks collapsed, and cut at ``limit`` characters where that is needed."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def listed(names: tuple[str, ...] | list[str], limit: int = 8) -> str:
    """``a, b and 3 more``: a message stays one line however many there are."""
    shown = list(names[:limit])
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
