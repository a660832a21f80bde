"""What is measured: each scenario runs one peer once, checks that it did all of the work, and reports.

Guarantee: a run that cached, queued, heard or wrote anything but what it should is an error, not a
figure.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hack.benchmarks.measure import Process, Sample, Unfinished

ROOT = Path(__file__).resolve().parent.parent.parent
SECONDS = 400.0
SETTLE_SECONDS = 0.5

Figures = dict[str, float]


class Wrong(RuntimeError):
    """A peer did not do what it was to do."""


@dataclass(frozen=True)
class Peer:
    """A program under test, which is started with the task of :mod:`hack.benchmarks.talk`."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    writes: int = 1
    """Writes that it makes for each object it reconciles."""
    starts_itself: bool = False
    """It reconciles as soon as it sees objects, once, and cannot be told to."""


class Server:
    """The synthetic API server, in a process of its own."""

    def __init__(self, logs: Path, module: str = "hack.benchmarks.server") -> None:
        self._logs = logs
        argv = [sys.executable, "-m", module]
        self._process = Process(argv, {}, ROOT, logs / "server.log")
        self.url = f"http://127.0.0.1:{int(self._process.line(30.0))}"

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.__exit__()

    def do(self, command: str) -> dict[str, int]:
        """One of ``server.COMMANDS``."""
        with urllib.request.urlopen(f"{self.url}/bench/{command}", timeout=120.0) as answer:
            done: dict[str, int] = json.loads(answer.read())
        return done

    @contextlib.contextmanager
    def running(self, peer: Peer, mode: str, *task: int) -> Iterator[Process]:
        """The peer, started with ``task``: objects, events, workers."""
        argv = [*peer.argv, self.url, *map(str, task), mode]
        with Process(argv, peer.env, ROOT, self._logs / f"{peer.name}.log") as process:
            yield process

    def watched_by_somebody(self) -> None:
        """Wait until a watch is open."""
        deadline = time.monotonic() + 60.0
        while not self.do("counts")["watching"]:
            if time.monotonic() > deadline:
                raise Unfinished("no watch was opened")
            time.sleep(0.02)


def sync(server: Server, peer: Peer, number: int) -> Figures:
    """From the start of the process until all objects are cached and queued."""
    server.do(f"load?n={number}")
    with server.running(peer, "observe", number, 0, 0) as process:
        synced, said = process.stage("synced", SECONDS)
        require(said, cached=number, queued=number)
        server.watched_by_somebody()
        time.sleep(SETTLE_SECONDS)
        return {
            "cpu": synced.cpu,
            "wall": synced.at - process.started,
            "peak": synced.peak,
            "rss": process.sample().rss,
        }


def storm(server: Server, peer: Peer, number: int, events: int) -> Figures:
    """``events`` changes at once, until the last one is cached and its object queued."""
    server.do(f"load?n={number}")
    with server.running(peer, "observe", number, events, 0) as process:
        process.stage("synced", SECONDS)
        server.watched_by_somebody()
        server.do(f"prepare?events={events}")
        time.sleep(SETTLE_SECONDS)
        process.forget_peak()
        before = process.sample()
        server.do("blast")
        after, said = process.stage("watched", SECONDS)
        require(said, events=events, cached=number, queued=number)
        return {**_work(before, after, events), "rise": after.peak / before.rss}


def reconcile(server: Server, peer: Peer, number: int, workers: int) -> Figures:
    """Every object once, one status write for each, with the own watch open; then all of them again."""
    server.do(f"load?n={number}")
    with server.running(peer, "reconcile", number, 0, workers) as process:
        before, said = process.stage("synced", SECONDS)
        if peer.starts_itself:
            after = _all_written(server, process, number * peer.writes)
        else:
            require(said, cached=number, queued=number)
            server.watched_by_somebody()
            time.sleep(SETTLE_SECONDS)
            before = process.sample()
            process.tell("reconcile")
            after, _ = process.stage("reconciled", SECONDS)
        time.sleep(SETTLE_SECONDS)
        process.tell("settle")
        _, settled = process.stage("settled", SECONDS)
        writes = server.do("counts").get("patch", 0)
        require({"writes": writes, **settled}, writes=number * peer.writes, calls=number)
        figures = {**_work(before, after, number), "writes": writes / number, "echoes": 0.0}
        return {**figures, **({} if peer.starts_itself else _unchanged(server, process, number))}


def _unchanged(server: Server, process: Process, number: int) -> Figures:
    """Every object is reconciled once more, and there is nothing to write."""
    before, written = process.sample(), server.do("counts")["patch"]
    process.tell("again")
    after, said = process.stage("unchanged", SECONDS)
    require(said, calls=2 * number)
    writes = server.do("counts")["patch"] - written
    require({"writes": writes}, writes=0)
    return {"idle": (after.cpu - before.cpu) / number * 1e6, "idle_writes": writes / number}


def _all_written(server: Server, process: Process, writes: int) -> Sample:
    deadline = time.monotonic() + SECONDS
    while server.do("counts").get("patch", 0) < writes:
        if time.monotonic() > deadline:
            raise Unfinished(f"not {writes} writes: {server.do('counts')}")
        time.sleep(0.05)
    after = process.sample()
    time.sleep(SETTLE_SECONDS)
    return after


def _work(before: Sample, after: Sample, pieces: int) -> Figures:
    return {
        "rate": pieces / (after.at - before.at),
        "each": (after.cpu - before.cpu) / pieces * 1e6,
    }


def require(said: Mapping[str, object], **expected: object) -> None:
    """Raise unless every figure is as expected."""
    found = {name: said.get(name) for name in expected}
    if found != expected:
        raise Wrong(f"expected {expected}, found {dict(said)}")
