"""Run seeds: ``python -m tests.sim --seeds 10000 --jobs 2``; replay one: ``python -m tests.sim --seed 4711``.

Ends with a summary, and with status 1 when a seed failed. A seed that fails is shown with the end of its
trace, the parts of its plan of faults that it takes to fail, and the command that replays it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from tests.sim.faults import FaultPlan
from tests.sim.quiet import quiet
from tests.sim.simulation import Result, Simulation, simulate

SHOWN_LINES = 80
FAILURES_SHOWN = 3
PROGRESS_EVERY = 500


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--seed", type=int, help="replay this one and show its whole trace")
    options = parser.parse_args()
    quiet()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the pool's processes end too
    if options.seed is not None:
        return _replay(options.seed)
    return _run(range(options.first, options.first + options.seeds), options.jobs)


def _replay(seed: int) -> int:
    result = simulate(seed, keep=1_000_000)
    print("\n".join(result.lines))
    print(f"seed {seed}: {result.violation or 'holds'}, digest {result.digest}")
    if result.violation:
        print(f"it takes no more than this to fail:\n{_least_plan(seed)}")
    return 1 if result.violation else 0


def _run(seeds: range, jobs: int) -> int:
    started = time.monotonic()
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    failed: list[int] = []
    with _results(seeds, jobs) as results:
        for result in results:
            totals.update(runs=1, virtual=round(result.virtual_seconds), requests=result.requests)
            faults.update(result.faults)
            if totals["runs"] % PROGRESS_EVERY == 0:
                print(f"… {totals['runs']} seeds, {len(failed)} failed", file=sys.stderr, flush=True)
            if result.violation:
                failed.append(result.seed)
                _show(result, whole=len(failed) <= FAILURES_SHOWN)
    seconds = time.monotonic() - started
    print(
        f"{totals['runs']} seeds, {totals['virtual'] / 3600:.1f} virtual hours, "
        f"{totals['requests']} requests in {seconds:.0f} s ({totals['runs'] / seconds:.1f} seeds a second)"
    )
    print("faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())))
    print(f"failed: {', '.join(map(str, sorted(failed))) or 'none'}")
    return 1 if failed else 0


@contextmanager
def _results(seeds: range, jobs: int) -> Iterator[Iterable[Result]]:
    if jobs <= 1:
        yield map(simulate, seeds)
        return
    with multiprocessing.get_context("spawn").Pool(jobs, initializer=quiet) as pool:
        yield pool.imap_unordered(simulate, seeds, chunksize=10)


def _show(result: Result, *, whole: bool) -> None:
    print(f"seed {result.seed}: {result.violation}")
    if whole:
        print("\n".join(result.lines[-SHOWN_LINES:]))
    print(f"replay: python -m tests.sim --seed {result.seed}", flush=True)


def _least_plan(seed: int) -> FaultPlan:
    """The plan less all that can be left out one after the other while the run still fails."""
    plan = Simulation(seed).plan
    for part in plan.parts():
        shorter = plan.without([part])
        if simulate(seed, shorter).violation:
            plan = shorter
    return plan


if __name__ == "__main__":
    sys.exit(main())
