"""Faults to order, for tests: ``/data/sim-faults.json``, or the variable ``NEO4J_SIM_FAULTS`` (inline JSON).

Guarantee: without either, nothing is slowed down or broken. The file is read at every call of a tool, so a
test can change it while a server runs.

    {"slow_bytes_per_second": 1000000,      how fast store files arrive
     "no_space": true,                      the disk is full when the store has arrived
     "exit_one_with_artifacts": true,       all artifacts written, exit code 1
     "hang_seconds": 3600,                  silence before the first database
     "kill": true,                          SIGKILL while the store arrives, as when memory runs out
     "corrupt_artifact": true,              one bit of each artifact's content is wrong
     "diff_overlap": 2,                      the first DIFF of a chain reaches back into its FULL (2026.02+)
     "backup": {"db": "orders", "exit": 1, "message": "…"},
     "check": {"db": "orders", "message": "…"}}       "report": false, "exit": 1: fails without a report
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from hack.devcluster.neo4j_sim.places import located
from hack.devcluster.neo4j_sim.protocol import Json


@dataclass(frozen=True, slots=True)
class Faults:
    bytes_per_second: int = 0
    no_space: bool = False
    exit_one_with_artifacts: bool = False
    hang_seconds: float = 0.0
    kill: bool = False
    corrupt_artifact: bool = False
    diff_overlap: int = 0
    backup: Json | None = None
    check: Json | None = None

    def for_database(self, verb: str, database: str) -> Json | None:
        fault = self.backup if verb == "backup" else self.check
        return fault if fault and fault.get("db") in (database, "*") else None


def load() -> Faults:
    text = os.environ.get("NEO4J_SIM_FAULTS", "")
    file = located("/data/sim-faults.json")
    if not text and file.is_file():
        text = file.read_text(encoding="utf-8")
    value: Json = json.loads(text or "{}")
    paced = value.get("slow_bytes_per_second") or os.environ.get("NEO4J_SIM_BYTES_PER_SECOND") or 0
    return Faults(
        bytes_per_second=int(paced),
        no_space=bool(value.get("no_space")),
        exit_one_with_artifacts=bool(value.get("exit_one_with_artifacts")),
        hang_seconds=float(value.get("hang_seconds", 0)),
        kill=bool(value.get("kill")),
        corrupt_artifact=bool(value.get("corrupt_artifact")),
        diff_overlap=int(value.get("diff_overlap", 0)),
        backup=value.get("backup"),
        check=value.get("check"),
    )
