"""What the API offers and this version cannot do yet. The only place that knows.

Guarantee: whatever is asked for and not done is either refused (before anything is written) or said in
a condition; nothing is ignored in silence. Deleting a line here is all it takes to enable a feature in
the planner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from controller.api.backup import BackupSpec


@dataclass(frozen=True, slots=True)
class Gap:
    """One thing that is missing. ``refused``: no backup is made; otherwise it is made without it."""

    asked_for: Callable[[BackupSpec], bool]
    refused: bool
    reason: str
    message: str


GAPS: tuple[Gap, ...] = ()


def refusals(spec: BackupSpec) -> tuple[Gap, ...]:
    """What makes a backup impossible."""
    return tuple(gap for gap in GAPS if gap.refused and gap.asked_for(spec))


def warnings(spec: BackupSpec) -> tuple[Gap, ...]:
    """What a backup is made without."""
    return tuple(gap for gap in GAPS if not gap.refused and gap.asked_for(spec))
