"""What a peer and the benchmark say to each other.

A peer is started with its :class:`Task` and says one JSON line on standard output for each stage it
reached; the benchmark reads its CPU time and memory from outside, the moment that line arrives. On
standard input come ``reconcile``, ``settle`` and ``again``; its end is the peer's end. Standard library
only, because kopf's interpreter runs it too.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """What a peer is started with: ``url objects events workers mode``."""

    url: str
    objects: int
    events: int
    workers: int
    mode: str
    """``observe`` or ``reconcile``."""


def task() -> Task:
    """From the command line."""
    url, objects, events, workers, mode = sys.argv[-5:]
    return Task(url, int(objects), int(events), int(workers), mode)


def say(stage: str, **facts: object) -> None:
    """A stage is reached."""
    sys.stdout.write(json.dumps({"stage": stage, **facts}) + "\n")
    sys.stdout.flush()
