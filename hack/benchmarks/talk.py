"""What a peer says to the benchmark: one JSON line on standard output for each stage it reached.

Standard library only, because kopf's interpreter runs it too. The benchmark reads CPU time and memory
of the process from outside; a stage's line is the moment at which it does so.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a peer is started with: ``url objects events workers``."""

    url: str
    objects: int
    events: int
    workers: int


def task() -> Task:
    """From the command line."""
    url, objects, events, workers = sys.argv[1:5]
    return Task(url, int(objects), int(events), int(workers))


def say(stage: str, **facts: object) -> None:
    """A stage is reached."""
    sys.stdout.write(json.dumps({"stage": stage, **facts}) + "\n")
    sys.stdout.flush()
