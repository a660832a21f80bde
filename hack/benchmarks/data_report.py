"""The tables of :mod:`hack.benchmarks.data_path`, and their place in the documentation."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from hack.benchmarks.data_peers import ENCRYPTED, PACKAGES, PLAIN, ROOT, Peer

DOCUMENT = ROOT / "docs" / "data-path.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Figures:
    """Seconds a GiB; MiB."""

    wall: float
    cpu: float
    rss: float
    server: float


@dataclass(frozen=True, slots=True)
class Row:
    """A peer's medians (of memory, the most)."""

    peer: Peer
    figures: Figures


def table(rows: Sequence[Row], whole: Sequence[Row]) -> str:
    lines = [
        "| | hashed | wall s/GiB | CPU s/GiB | server CPU s/GiB | peak MiB | wall, ours = 1 | CPU, ours = 1 |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in (PLAIN, ENCRYPTED):
        same = [row for row in rows if row.peer.kind == kind]
        ours = next(row.figures for row in same if row.peer.ours)
        ranked = sorted(same, key=lambda row: (not row.peer.ours, row.figures.cpu))
        lines += [_line(row, ours) for row in ranked]
    lines += [_line(row, None) for row in whole]
    return "\n".join(lines)


def _line(row: Row, ours: Figures | None) -> str:
    figures, name = row.figures, row.peer.name.replace("|", "\\|")
    name = f"**{name}**" if row.peer.ours else name
    ratios = f"{figures.wall / ours.wall:.2f} | {figures.cpu / ours.cpu:.2f}" if ours else " | "
    measured = f"{figures.wall:.2f} | {figures.cpu:.2f} | {figures.server:.2f} | {figures.rss:.0f}"
    return f"| {name} | {row.peer.hashes} | {measured} | {ratios} |"


def memory_table(peaks: Sequence[tuple[int, float]]) -> str:
    lines = ["| size of one encrypted artifact | peak MiB |", "|---|---:|"]
    return "\n".join(lines + [f"| {size / GIB:g} GiB | {peak:.0f} |" for size, peak in peaks])


def document(size: int, repeat: int, tls: bool, tables: Sequence[str], remarks: Sequence[str]) -> str:
    where = f"{os.cpu_count()} cores, {platform.system()} {platform.release().split('-')[0]}"
    what = f"{size / GIB:g} GiB, median of {repeat} rounds, {'HTTPS' if tls else 'HTTP'}"
    who = f"Python {platform.python_version()}, {', '.join(PACKAGES).replace('==', ' ')}"
    head = f"{datetime.now(UTC):%Y-%m-%d}; {where}; {what}; {who}."
    return "\n\n".join([head, *tables, *remarks])


def write(text: str, path: Path = DOCUMENT) -> None:
    """Between the marks of ``path``."""
    page = path.read_text()
    block = f"{BEGIN}\n\n{text}\n\n{END}"
    path.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: block, page, flags=re.DOTALL))
