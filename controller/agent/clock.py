"""The time as it is written into messages."""

from __future__ import annotations

from datetime import UTC, datetime


def now_text() -> str:
    """RFC 3339, UTC, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
