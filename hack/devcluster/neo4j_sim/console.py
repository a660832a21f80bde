"""What a run of ``neo4j-admin`` knows and how it speaks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from hack.devcluster.neo4j_sim.faults import Faults
from hack.devcluster.neo4j_sim.picocli import Parsed
from hack.devcluster.neo4j_sim.places import Installation


def now_utc() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Console:
    """``say`` prints, ``log`` prints with the time and the logger's name; both to standard output."""

    installation: Installation
    config: Mapping[str, str]
    parsed: Parsed
    faults: Faults

    def say(self, text: str) -> None:
        print(text, flush=True)

    def complain(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def log(self, text: str, level: str = "INFO") -> None:
        now = now_utc()
        stamp = f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0000"
        self.say(f"{stamp} {level:<5} [c.n.b.b.BackupOutputMonitor] {text}")
