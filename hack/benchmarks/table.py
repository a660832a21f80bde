"""From runs to one table: medians, ratios of ours to each peer, and whether the goals are met.

Guarantee: pure. A cell is the median of a peer's own runs and, in brackets, ours divided by it (for
rates too: 40 means forty times the peer's). Non-guarantee: no judgement of the scatter; it is in the JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hack.benchmarks.lineup import ASYNCIO, DYNAMIC, KOPF, NAMES, OURS, TYPED

Key = tuple[str, str, str]
"""Scenario, figure, peer."""
Runs = Mapping[Key, Sequence[float]]
STEADY = "memory"


@dataclass(frozen=True)
class Goal:
    """A limit of ours, or of ours divided by a peer."""

    limit: float
    peer: str = OURS
    at_least: bool = False

    def is_met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def __str__(self) -> str:
        sign = "≥" if self.at_least else "≤"
        limit = f"{self.limit:g}" if self.limit == round(self.limit, 3) else f"1/{1 / self.limit:.0f}"
        return f"{sign} {limit}" + ("" if self.peer == OURS else f" of {self.peer}'s")


@dataclass(frozen=True)
class Row:
    """One figure of one scenario."""

    scenario: str
    figure: str
    title: str
    unit: str
    goals: tuple[Goal, ...] = ()


ROWS = (
    Row("sync-1000", "cpu", "cold sync of 1 000, CPU", "s", (Goal(0.30, KOPF),)),
    Row("sync-1000", "wall", "… wall", "s"),
    Row("sync-1000", "peak", "… peak RSS", "MiB"),
    Row(
        "sync-50000",
        "cpu",
        "cold sync of 50 000, CPU",
        "s",
        (Goal(0.12, DYNAMIC), Goal(0.30, TYPED), Goal(1 / 35, KOPF)),
    ),
    Row("sync-50000", "wall", "… wall", "s", (Goal(1 / 35, KOPF),)),
    Row(
        "sync-50000",
        "peak",
        "… peak RSS",
        "MiB",
        (Goal(0.10, DYNAMIC), Goal(0.35, TYPED), Goal(0.15, KOPF)),
    ),
    Row(STEADY, "each", "memory for each cached object", "KiB", (Goal(2.0),)),
    Row(
        "storm",
        "rate",
        "watch, 20 000 events at once",
        "/s",
        (Goal(40, KOPF, True), Goal(4.5, ASYNCIO, True), Goal(12, DYNAMIC, True), Goal(12, TYPED, True)),
    ),
    Row("storm", "each", "… CPU for each event", "µs", (Goal(0.09, TYPED),)),
    Row("storm", "rise", "… peak RSS over RSS before", "×", (Goal(1.25),)),
    Row("reconcile", "each", "reconcile, CPU for each", "µs", (Goal(0.12, KOPF), Goal(0.60, TYPED))),
    Row("reconcile", "rate", "… reconciles (the server's limit counts)", "/s"),
    Row("reconcile", "writes", "… writes for each changed object", "", (Goal(1), Goal(1, OURS, True))),
    Row("reconcile", "idle_writes", "… writes for each unchanged object", "", (Goal(0),)),
    Row("reconcile", "echoes", "… echoes that reach the reconcile function", "", (Goal(0),)),
    Row("reconcile", "idle", "… CPU for each unchanged object", "µs"),
)


def medians(runs: Runs) -> dict[Key, float]:
    """Of every figure, and the memory of an object from the two syncs."""
    found = {key: median(values) for key, values in runs.items() if values}
    for peer in NAMES:
        small, large = found.get(("sync-1000", "rss", peer)), found.get(("sync-50000", "rss", peer))
        if small is not None and large is not None:
            found[STEADY, "each", peer] = (large - small) * 1024 / 49_000
    return found


def markdown(figures: Mapping[Key, float], peers: Sequence[str]) -> str:
    """The table; rows that nobody ran are left out."""
    heads = ["", *(f"**{peer}**" if peer == OURS else peer for peer in peers), "goal", ""]
    rows = [heads, ["---", *["---:"] * len(peers), "---", "---"]]
    for row in ROWS:
        if any((row.scenario, row.figure, peer) in figures for peer in peers):
            cells = [_cell(figures, row, peer) for peer in peers]
            rows.append([row.title, *cells, ", ".join(map(str, row.goals)), verdict(figures, row)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def aligned(table: str) -> str:
    """The same for a terminal."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    rows = [row for row in rows if set(row[0]) != {"-"}]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < place < len(row) - 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def verdict(figures: Mapping[Key, float], row: Row) -> str:
    """``yes`` or the goals that were missed; empty where nothing was to be reached or compared."""
    values = [(goal, _compared(figures, row, goal.peer)) for goal in row.goals]
    known = [(goal, value) for goal, value in values if value is not None]
    missed = [f"**missed: {value:.3g} of {goal}**" for goal, value in known if not goal.is_met(value)]
    return ", ".join(missed) or ("yes" if known else "")


def _compared(figures: Mapping[Key, float], row: Row, peer: str) -> float | None:
    ours, theirs = (
        figures.get((row.scenario, row.figure, OURS)),
        figures.get((row.scenario, row.figure, peer)),
    )
    if ours is None or theirs is None:
        return None
    return ours if peer == OURS else (ours / theirs if theirs else None)


def _cell(figures: Mapping[Key, float], row: Row, peer: str) -> str:
    value = figures.get((row.scenario, row.figure, peer))
    if value is None:
        return "–"
    shown = f"{_rounded(value)} {row.unit}".strip()
    ratio = _compared(figures, row, peer) if peer != OURS else None
    return shown if ratio is None else f"{shown} ({_rounded(ratio)})"


_ROUND: tuple[tuple[float, Callable[[float], str]], ...] = (
    (1000.0, lambda value: f"{value:,.0f}".replace(",", " ")),
    (100.0, lambda value: f"{value:.0f}"),
    (10.0, lambda value: f"{value:.1f}"),
    (0.1, lambda value: f"{value:.2f}"),
)


def _rounded(value: float) -> str:
    """Three digits."""
    if value == int(value) and value < 1000:
        return str(int(value))
    return next((show(value) for least, show in _ROUND if value >= least), f"{value:.3f}")
