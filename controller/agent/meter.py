"""Turns the output of ``neo4j-admin`` and the growth of directories into the ``.progress`` file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from controller.agent import space
from controller.agent.clock import now_text
from controller.agent.places import tree_size
from controller.agent.workshop import Workshop
from controller.neo4j.output import Event, Step, parse_line
from controller.wire.messages import AgentProgress, RunState

_KEPT_LINES = 400
"""A stack trace with its causes fits; the whole output of a long dump need not."""


@dataclass(slots=True)
class Meter:
    """Progress of one run over all of its calls, and what the current call printed."""

    workshop: Workshop
    run_id: str
    directories: tuple[Path, ...]
    total: int
    """Databases that were asked for; 0 when only Neo4j knows."""
    stores: Mapping[str, int] = field(default_factory=dict)
    """Bytes of each store that is to be copied whole."""
    baseline: int = 0
    done: set[str] = field(default_factory=set)
    database: str = ""
    detail: str = ""
    events: list[Event] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    _read: int = 0

    def start_call(self) -> None:
        self.events, self.lines = [], []

    def line(self, text: str) -> None:
        self.workshop.say(text)
        self.lines = [*self.lines[-_KEPT_LINES:], text]
        event = parse_line(text)
        if event:
            self._note(event)

    def tick(self) -> bool:
        """Write how far it is; false when the agent was asked to stop. Raises :class:`space.Filling`."""
        space.watch(self.directories)
        self.write()
        return not self.workshop.should_stop()

    def write(self, detail: str = "") -> None:
        self.detail = detail or self.detail
        progress = AgentProgress(
            run_id=self.run_id,
            state=RunState.RUNNING,
            database=self.database,
            databases_done=len(self.done),
            databases_total=max(self.total, len(self.done)),
            bytes_staged=max(0, self.measure() - self.baseline),
            bytes_read=self._bytes_read(),
            bytes_to_read=sum(self.stores.values()),
            detail=self.detail,
            updated=now_text(),
        )
        self.workshop.journal.write_progress(progress)

    def enter(self, database: str, detail: str) -> None:
        """What is done with a database after its dump."""
        self.database = database
        self.write(detail)

    def measure(self) -> int:
        return sum(map(tree_size, self.directories))

    def _bytes_read(self) -> int:
        """Neo4j copies a store into the temporary directory, which is the last, and tells when it is done."""
        finished = sum(size for name, size in self.stores.items() if name in self.done)
        coming = 0 if self.database in self.done else self.stores.get(self.database, 0)
        copied = min(tree_size(self.directories[-1]), coming) if coming else 0
        self._read = max(self._read, finished + copied)
        return self._read

    def _note(self, event: Event) -> None:
        self.events.append(event)
        self.database, self.detail = event.database, event.step.value
        if event.step is Step.FALLBACK:
            self.done.discard(event.database)
        elif event.step in {Step.FINISHED, Step.FAILED}:
            self.done.add(event.database)
