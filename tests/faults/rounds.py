"""Rounds of a world: some transactions, a run with trouble, its judgement, a clean run, its judgement."""

from __future__ import annotations

import random
import subprocess
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from controller.wire.messages import Outcome
from tests.faults import judge
from tests.faults.plan import Trouble, trouble_of
from tests.faults.world import Told, World, a_world
from tests.support.local_agent import CHECKOUT
from tests.support.s3 import S3Server

ROUNDS = 18
"""Seeds that share a world: every kind of trouble once."""


@dataclass(frozen=True)
class Failure:
    """What did not hold, with all that is needed to look into it."""

    seed: int
    trouble: Trouble
    reason: str
    log: str

    def __str__(self) -> str:
        again = f"again: python -m tests.faults --first {self.seed} --seeds 1"
        return f"seed {self.seed}: {self.reason}\n  {self.trouble}\n  {again}\n{self.log}"


@dataclass(frozen=True)
class Played:
    """One round."""

    seed: int
    outcome: str
    failure: Failure | None = None


def play(directory: Path, s3: S3Server, seeds: range) -> Iterator[Played]:
    """The seeds one after another in one world, so that each finds what the others left behind."""
    with a_world(directory, s3, seeds.start) as world:
        for seed in seeds:
            yield _round(world, seed)


def failures_of(seeds: range) -> str:
    """What did not hold. Two halves are played side by side, since each mostly waits for processes."""
    middle = seeds.start + len(seeds) // 2
    halves = [_player(half) for half in (range(seeds.start, middle), range(middle, seeds.stop))]
    try:
        said = [half.communicate()[0] for half in halves]
        return "\n".join(text for half, text in zip(halves, said, strict=True) if half.returncode)
    finally:
        for half in halves:
            half.kill()


def _player(seeds: range) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.faults", f"--first={seeds.start}", f"--seeds={len(seeds)}"]
    return subprocess.Popen(argv, cwd=CHECKOUT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def writes(seed: int) -> random.Random:
    """What is committed before the seed's run."""
    return random.Random(f"writes {seed}")


def _round(world: World, seed: int) -> Played:
    trouble = trouble_of(seed)
    told: Told | None = None
    try:
        world.write(writes(seed))
        told = world.run(str(UUID(int=2 * seed + 1)), trouble)
        judge.check(world, told, trouble)
        outcome = told.result.outcome.value if told.result else "nothing said"
        told = world.run(str(UUID(int=2 * seed + 2)), None)
        judge.check(world, told, None)
        assert told.result is not None
        assert told.result.outcome in judge.GOOD, f"the next run: {told.result.error}"
        assert told.result.outcome is not Outcome.PARTIALLY_SUCCEEDED
    except AssertionError as error:
        where = "".join(traceback.format_exception(error)[-3:])
        return Played(seed, "failed", Failure(seed, trouble, where, told.log if told else ""))
    return Played(seed, outcome)
