"""How far a run is: bytes and rates of everything that goes on, as one line now and then.

Guarantee: a line at once for a new phase, else at most one every ``interval`` seconds, however often it
is told something; the rate is over what was really moved between two lines.

Non-guarantee: an estimate is one. Bytes of a dump are what came of the stores that are copied whole, else
what the staging holds; a consistency check after it is not in the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from controller.wire.messages import AgentProgress, Progress

_SMOOTH = 0.3
"""How much the newest rate counts in the estimate: one slow line shall not make hours of minutes."""
Phase = Literal["Resolving", "Dumping", "Uploading", "Verifying", "Committing", "Pruning"]


@dataclass(frozen=True, slots=True)
class Activity:
    """What one server is busy with."""

    phase: Phase
    database: str = ""
    bytes_done: int = 0
    bytes_total: int = 0
    message: str = ""


class Tracker:
    """Told by everybody, speaks for all: dumping goes before uploading where both go on."""

    def __init__(
        self, run_id: str, say: Callable[[Progress], None], clock: Callable[[], float], interval: float = 2.0
    ) -> None:
        self._run_id = run_id
        self._say = say
        self._clock = clock
        self._interval = interval
        self._servers: dict[str, Activity] = {}
        self._phase: Phase | None = None
        self._said_at = 0.0
        self._said_bytes = 0
        self._rate = 0
        self._pace = 0.0
        self.databases_done = 0
        self.databases_total = 0

    def enter(self, phase: Phase, message: str = "") -> None:
        """The whole run is in ``phase``; no server is busy."""
        self._servers.clear()
        self._tell(Activity(phase, message=message))

    def dumping(self, server: str, progress: AgentProgress) -> None:
        detail = f"{server}: {progress.detail}" if progress.detail else server
        total = progress.bytes_to_read
        done = progress.bytes_read if total else progress.bytes_staged
        self._note(server, Activity("Dumping", progress.database, done, total, detail))

    def uploading(self, server: str, database: str, done: int, total: int) -> None:
        self._note(server, Activity("Uploading", database, done, total, server))

    def verifying(self, database: str, done: int, total: int) -> None:
        self._tell(Activity("Verifying", database, done, total))

    def idle(self, server: str) -> None:
        """``server`` has nothing to do any more."""
        self._servers.pop(server, None)

    def _note(self, server: str, activity: Activity) -> None:
        self._servers[server] = activity
        phases = {one.phase for one in self._servers.values()}
        phase: Phase = "Dumping" if "Dumping" in phases else activity.phase
        self._tell(_sum(phase, [one for one in self._servers.values() if one.phase == phase]))

    def _tell(self, now: Activity) -> None:
        at = self._clock()
        changed = now.phase != self._phase
        if not changed and at - self._said_at < self._interval:
            return
        moved = now.bytes_done - self._said_bytes
        # A server that finished takes its bytes with it: the rate of before is nearer to the truth.
        if changed:
            self._rate, self._pace = 0, 0.0
        elif moved >= 0:
            self._rate = int(moved / (at - self._said_at))
            self._pace = (
                _SMOOTH * self._rate + (1 - _SMOOTH) * self._pace if self._pace else float(self._rate)
            )
        self._phase, self._said_at, self._said_bytes = now.phase, at, now.bytes_done
        self._say(
            Progress(
                run_id=self._run_id,
                phase=now.phase,
                database=now.database,
                databases_done=self.databases_done,
                databases_total=self.databases_total,
                bytes_done=now.bytes_done,
                bytes_total=now.bytes_total,
                bytes_per_second=self._rate,
                seconds_left=self._left(now),
                message=now.message,
            )
        )

    def _left(self, now: Activity) -> int:
        missing = now.bytes_total - now.bytes_done
        return math.ceil(missing / self._pace) if missing > 0 and self._pace >= 1 else 0


def _sum(phase: Phase, activities: list[Activity]) -> Activity:
    totals = [one.bytes_total for one in activities]
    return Activity(
        phase,
        activities[-1].database,
        sum(one.bytes_done for one in activities),
        sum(totals) if all(totals) else 0,
        "; ".join(sorted(one.message for one in activities)),
    )
