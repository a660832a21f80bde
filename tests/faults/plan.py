"""What goes wrong in a run, drawn from its seed and nothing else.

Guarantee: the same seed always gives the same trouble. Where a process is killed is a point in real time,
so a replay meets the same fault, not the same instruction.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """One fault a run; which one is the seed's first choice, so that all of them have their turn."""

    AGENT_KILLED = "agent killed"
    RUNNER_KILLED = "runner killed"
    RUNNER_TERMINATED = "runner told to stop"
    ADMIN_KILLED = "neo4j-admin killed"
    DATABASE_DISK_FULL = "disk of the database full"
    EXEC_CUT = "exec cut"
    LINE_CUT = "transfer cut"
    LINE_CORRUPT = "transfer corrupted"
    LINE_CLOSED = "agent's port closed"
    STORE_REFUSES = "store refuses"
    STORE_DENIES = "store denies"
    STORE_SLOW = "store slow"
    STORE_CUTS = "store cuts"
    STORE_FULL = "store full"
    BUCKET_GONE = "bucket gone"
    UPLOAD_CORRUPT = "upload corrupted"
    ROT = "artifact changed at rest"
    MANIFEST_LOST = "answer to the manifest lost"


@dataclass(frozen=True, slots=True)
class Trouble:
    """``count`` 0 means for as long as the run lasts; ``fraction`` says where within a body or a range."""

    kind: Kind
    at_request: int
    count: int
    seconds: float
    fraction: float
    verify: bool

    @property
    def for_ever(self) -> bool:
        return self.count == 0


_NEEDS_READING_BACK = {Kind.UPLOAD_CORRUPT, Kind.ROT}
"""Nobody but the store saw these bytes change: only verifyBackup can tell before a restore does."""


def trouble_of(seed: int) -> Trouble:
    """Every kind comes up once in every :class:`Kind`'s number of consecutive seeds."""
    kinds = list(Kind)
    random.Random(f"order {seed // len(kinds)}").shuffle(kinds)
    draw = random.Random(f"trouble {seed}")
    kind = kinds[seed % len(kinds)]
    return Trouble(
        kind=kind,
        at_request=draw.randint(1, 14),
        count=draw.choice((0, 1, 1, 2, 3)),
        seconds=draw.uniform(0.0, 2.5),
        fraction=draw.random(),
        verify=kind in _NEEDS_READING_BACK or draw.random() < 0.3,
    )
