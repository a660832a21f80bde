"""``python -m tests.faults --seeds 1000 [--first N]``: as many faulty runs as there is time for.

A seed that fails is printed with its trouble and the runner's log, and ``--first SEED --seeds 1`` meets the
same trouble again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.rounds import ROUNDS, Failure, play
from tests.support.s3 import s3_server


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    started, outcomes, failures = time.monotonic(), Counter[str](), list[Failure]()
    with s3_server() as s3:
        for first in range(given.first, given.first + given.seeds, ROUNDS):
            seeds = range(first, min(first + ROUNDS, given.first + given.seeds))
            with tempfile.TemporaryDirectory() as directory:
                for played in play(Path(directory), s3, seeds):
                    outcomes[played.outcome] += 1
                    if played.failure:
                        failures.append(played.failure)
                        print(played.failure, flush=True)
    seconds = time.monotonic() - started
    print(f"{given.seeds} faulty runs and as many clean ones in {seconds:.0f} s: {dict(outcomes)}")
    print(f"{given.seeds - len(failures)} passed, {len(failures)} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
