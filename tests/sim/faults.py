"""What goes wrong in a run: data, drawn from the seed before it begins, so that it can be shown and cut down.

Requests are numbered per process, watches included, and a fault belongs to a number: the plan says "the
40th request of operator a is executed, but its answer is lost", whatever that request turns out to be.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum

TROUBLE_SECONDS = 60.0
"""Faults begin within this time; what they began may last a little longer."""
NUMBERED = 260
"""Requests of a process that a fault can be meant for."""

FIRST = 16
"""Among the first requests of a process are its lists and watches: they get more than their share."""


class Kind(StrEnum):
    """What happens to one request. ``seconds`` and ``count`` of the fault say how long and how much."""

    LOST = "lost"
    """It never arrives; the connection is dead, and the kernel notices after a minute."""
    RESET = "reset"
    """The connection breaks before the server reads it."""
    LATE = "late"
    """It arrives so much later, whoever still waits for it or not."""
    TWICE = "twice"
    """Something in between sends it again after a while: it is executed twice."""
    ANSWER_LOST = "answer lost"
    """It is executed, and the connection breaks before the answer."""
    ANSWER_SILENT = "answer silent"
    """It is executed, and nothing ever comes back; the connection looks alive for a minute."""
    ANSWER_LATE = "answer late"
    CUT = "cut"
    """The answer breaks off after ``count`` bytes; a watch within the line of its event number ``count``."""
    MUTE = "mute"
    """A watch stops after ``count`` events, and a proxy keeps the connection alive for ever."""
    TOLD_TWICE = "told twice"
    """A watch repeats its event number ``count`` behind the next one."""
    CONFLICT = "409"
    GONE = "410"
    """For a list or watch; a watch that is open is told after ``count`` events."""
    TOO_MANY = "429"
    """With a Retry-After of ``seconds``."""
    ERROR = "500"
    UNAVAILABLE = "503"
    TIMEOUT = "504"
    TIMEOUT_DONE = "504, done"
    """The server gave up waiting for its storage, which did it all the same."""
    STOPPED = "stopped"
    """The process is stopped right after it sent this, and goes on later, where it was."""
    KILLED = "killed"
    """The process is killed right after it sent this."""
    TOO_NEW = "too new"
    """A list is refused because this server has not seen that version yet."""


_COMMON = (
    *(Kind.LOST, Kind.RESET, Kind.LATE, Kind.ANSWER_LOST, Kind.ANSWER_LOST, Kind.ANSWER_SILENT),
    *(Kind.ANSWER_LATE, Kind.CUT, Kind.CUT, Kind.TWICE, Kind.TOLD_TWICE, Kind.CONFLICT, Kind.GONE),
    *(Kind.TOO_MANY, Kind.ERROR, Kind.UNAVAILABLE, Kind.TIMEOUT, Kind.TIMEOUT_DONE, Kind.TOO_NEW),
    *(Kind.STOPPED, Kind.STOPPED, Kind.KILLED),
)


@dataclass(frozen=True, slots=True)
class RequestFault:
    """Something happens to the request ``number`` of ``process``."""

    process: str
    number: int
    kind: Kind
    seconds: float = 0.0
    count: int = 0

    def __str__(self) -> str:
        return f"request {self.number} of {self.process}: {self.kind} ({self.seconds:.1f} s, {self.count})"


@dataclass(frozen=True, slots=True)
class Window:
    """Something is so from ``start`` for ``seconds``: ``pause``, ``kill``, ``stop`` (SIGTERM) or ``cut off``
    of a process; ``down`` of the API server."""

    what: str
    process: str
    start: float
    seconds: float

    @property
    def end(self) -> float:
        return self.start + self.seconds

    def __str__(self) -> str:
        return f"{self.start:.1f} s: {self.what} {self.process} for {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All of a run's trouble."""

    requests: tuple[RequestFault, ...] = ()
    windows: tuple[Window, ...] = ()
    compactions: tuple[float, ...] = ()
    rates: dict[str, float] = field(default_factory=dict)
    """How fast a process's clock runs."""
    lag: int = 0
    """How many versions a server may be behind that answers a list from its cache."""

    def parts(self) -> list[object]:
        """What can be left out one by one."""
        return [*self.requests, *self.windows, *self.compactions]

    def without(self, parts: list[object]) -> FaultPlan:
        """The plan less those parts."""
        return replace(
            self,
            requests=tuple(each for each in self.requests if each not in parts),
            windows=tuple(each for each in self.windows if each not in parts),
            compactions=tuple(each for each in self.compactions if each not in parts),
        )

    @property
    def is_muted(self) -> bool:
        """Whether a watch may fall silent so that only its time limit ends it."""
        return any(each.kind is Kind.MUTE for each in self.requests)

    def __str__(self) -> str:
        rates = ", ".join(f"{name} {rate:.3f}" for name, rate in self.rates.items())
        told = [f"clocks: {rates}", f"lists may lag by {self.lag} versions", *map(str, self.windows)]
        return "\n".join(
            [*told, *(f"{at:.1f} s: compaction" for at in self.compactions), *map(str, self.requests)]
        )


def draw(seed: int, processes: tuple[str, ...]) -> FaultPlan:
    """The plan of a seed."""
    chance = random.Random(f"faults {seed}")
    # Every seed has a temper of its own: all kinds of trouble at once would drown the rare meetings of two.
    intensity, kinds = _temper(chance)
    windows = sorted(_windows(chance, processes), key=lambda window: window.start)
    return FaultPlan(
        requests=tuple(fault for name in processes for fault in _requests(chance, name, intensity, kinds)),
        windows=tuple(windows),
        compactions=tuple(sorted(_compactions(chance, windows))),
        rates={name: chance.choice((1.0, chance.uniform(0.9, 1.1))) for name in processes},
        lag=chance.choice((0, 0, 3)),
    )


def _temper(chance: random.Random) -> tuple[float, list[Kind]]:
    if chance.random() < 0.03:
        return 0.15, [Kind.MUTE]
    intensity = chance.choice((0.0, 0.01, 0.03, 0.08))
    return intensity, chance.sample(_COMMON, chance.randint(1, 6)) if chance.random() < 0.7 else [*_COMMON]


def _requests(
    chance: random.Random, process: str, intensity: float, kinds: list[Kind]
) -> Iterator[RequestFault]:
    for number in range(NUMBERED):
        if chance.random() >= (min(0.3, 4 * intensity) if number < FIRST else intensity):
            continue
        kind = chance.choice(kinds)
        if kind in (Kind.STOPPED, Kind.KILLED) and chance.random() < 0.5:
            # Rarer, because each costs seconds in which nothing else can go wrong with this process.
            continue
        seconds = chance.choice((0.3, 2.0, 12.0, 25.0)) * chance.uniform(0.5, 1.5)
        yield RequestFault(process, number, kind, round(seconds, 1), chance.choice((0, 1, 3, 40, 400)))


def _windows(chance: random.Random, processes: tuple[str, ...]) -> Iterator[Window]:
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        what = chance.choice(("pause", "pause", "kill", "stop", "cut off", "cut off", "down"))
        start = chance.uniform(2.0, TROUBLE_SECONDS)
        seconds = chance.choice((0.5, 3.0, 9.0, 14.0, 20.0, 40.0)) * chance.uniform(0.8, 1.2)
        process = "" if what == "down" else chance.choice(processes)
        yield Window(what, process, round(start, 2), round(seconds, 2))


def _compactions(chance: random.Random, windows: list[Window]) -> Iterator[float]:
    for _ in range(chance.choice((0, 0, 1, 4))):
        yield round(chance.uniform(5.0, TROUBLE_SECONDS), 2)
    for window in windows:
        # Who was away finds that what happened meanwhile is forgotten.
        if window.what in ("pause", "cut off", "down") and chance.random() < 0.5:
            yield round(window.end - 0.01, 2)
