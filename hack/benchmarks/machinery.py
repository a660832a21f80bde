"""Our informer and reconcile path beside kopf's, kubernetes-asyncio's and client-go's: one command, one table.

    python -m hack.benchmarks.machinery [--quick] [--runs N] [--peers A,B] [--scenarios A,B]
                                        [--json FILE] [--markdown FILE]

Guarantee: all peers talk to the same synthetic API server, one after the other in rounds, so that a machine
that gets slower gets slower for all; every run is checked to have done its work; what could not be measured
is said. The exit status is 1 when a goal of docs/benchmarks.md is missed. ``--markdown`` replaces what stands
between the marks in that file. The environments are made on the first run (some minutes for client-go).

Non-guarantee: no TLS, no etcd, no network: this is what the clients cost, not what a cluster can do.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hack.benchmarks import lineup, table
from hack.benchmarks.scenarios import Figures, Peer, Server, reconcile, storm, sync

BEGIN, END = "<!-- machinery: begin -->", "<!-- machinery: end -->"
WORKERS = 10
EVENTS = 20_000
OBJECTS = 1_000
SLOW_RUNS = 2
"""Runs of a peer in a scenario that takes it most of a minute."""

Scenario = Callable[[Server, Peer], Figures]
SCENARIOS: dict[str, Scenario] = {
    "sync-1000": lambda server, peer: sync(server, peer, 1_000),
    "sync-50000": lambda server, peer: sync(server, peer, 50_000),
    "storm": lambda server, peer: storm(server, peer, OBJECTS, EVENTS),
    "reconcile": lambda server, peer: reconcile(server, peer, OBJECTS, WORKERS),
}
SLOW = {("sync-50000", lineup.KOPF)}


@dataclass(frozen=True)
class Options:
    """What was asked for."""

    peers: tuple[str, ...]
    scenarios: tuple[str, ...]
    runs: int
    quick: bool
    json: Path | None
    markdown: Path | None

    @staticmethod
    def read(argv: Sequence[str]) -> Options:
        parser = argparse.ArgumentParser(prog="python -m hack.benchmarks.machinery", description=__doc__)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--quick", action="store_true", help="one run of each, without the slowest")
        parser.add_argument("--runs", type=int, default=5, help="runs of each peer (5)")
        parser.add_argument("--peers", type=_some_of(lineup.NAMES), default=lineup.NAMES)
        parser.add_argument("--scenarios", type=_some_of([*SCENARIOS]), default=tuple(SCENARIOS))
        parser.add_argument("--json", type=Path, help="write every run there")
        parser.add_argument("--markdown", type=Path, help="put the table between the marks of this file")
        given = vars(parser.parse_args(argv))
        return Options(**{**given, "runs": 1 if given["quick"] else given["runs"]})

    def runs_of(self, scenario: str, peer: str) -> int:
        """How often; kopf's syncs of 50 000 would be half of the time."""
        if (scenario, peer) in SLOW:
            return 0 if self.quick else min(self.runs, SLOW_RUNS)
        return self.runs


def _some_of(names: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        wanted = tuple(name for name in names if name in text.split(","))
        if len(wanted) != len(text.split(",")):
            raise argparse.ArgumentTypeError(f"choose from {', '.join(names)}")
        return wanted

    return read


def measure(options: Options, peers: Sequence[Peer], logs: Path) -> Iterator[tuple[table.Key, float]]:
    """Every figure of every run, as it comes."""
    with Server(logs) as server:
        for peer in peers:
            # Caches of files and of bytecode are warm for everybody.
            sync(server, peer, 100)
        for turn in range(options.runs):
            for name in options.scenarios:
                for peer in peers:
                    if turn < options.runs_of(name, peer.name):
                        figures = SCENARIOS[name](server, peer)
                        _progress(turn, name, peer, figures)
                        yield from (((name, figure, peer.name), value) for figure, value in figures.items())


def _progress(turn: int, scenario: str, peer: Peer, figures: Figures) -> None:
    shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"{turn + 1}  {scenario:10}  {peer.name:18}  {shown}", file=sys.stderr, flush=True)


def conditions(options: Options, peers: Sequence[str]) -> str:
    """What the table was measured with."""
    load = max(os.getloadavg())
    parts = [
        f"median of {options.runs} interleaved runs" if options.runs > 1 else "one run",
        *lineup.versions([*peers]),
        f"{_processor()}, {os.cpu_count()} cores, load {load:.1f} at the end",
    ]
    return "; ".join(parts)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "?")


def replace_marked(document: str, content: str) -> str:
    """``document`` with ``content`` between its marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the file has no lines {BEGIN} and {END}")
    return f"{before}{begin}\n{content}\n{end}{after}"


def main(argv: Sequence[str]) -> int:
    options = Options.read(argv)
    peers, missing = lineup.chosen([*options.peers])
    runs: dict[table.Key, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="machinery-") as logs:
        for key, value in measure(options, peers, Path(logs)):
            runs[key].append(value)
    names = [peer.name for peer in peers]
    figures = table.medians(runs)
    result = table.markdown(figures, names)
    said = conditions(options, names)
    print(f"{table.aligned(result)}\n\n{said}")
    for name, why in missing.items():
        print(f"{name} was left out: {why}")
    if options.json is not None:
        raw = [{"scenario": s, "figure": f, "peer": p, "runs": values} for (s, f, p), values in runs.items()]
        options.json.write_text(json.dumps({"conditions": said, "figures": raw}, indent=1) + "\n")
    if options.markdown is not None:
        text = replace_marked(options.markdown.read_text(), f"\n{result}\n\n{said[0].upper()}{said[1:]}.\n")
        options.markdown.write_text(text)
    return 1 if "missed" in result else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
