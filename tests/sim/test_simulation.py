"""Some seeds of the simulation (`python -m tests.sim` runs as many as you like), and that a seed is a run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sim.faults import FaultPlan
from tests.sim.simulation import simulate

CHECKOUT = Path(__file__).resolve().parents[2]
GROUPS, OF_EACH = 5, 30
ONE_SEED = "import sys; from tests.sim.simulation import simulate; print(simulate(int(sys.argv[1])).digest)"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", range(GROUPS))
def test_operators_keep_their_promises_whatever_happens(group: int) -> None:
    for seed in range(group * OF_EACH, (group + 1) * OF_EACH):
        result = simulate(seed)
        told = "\n".join(result.lines[-60:])
        assert not result.violation, f"{told}\nreplay: python -m tests.sim --seed {seed}"


def test_a_seed_is_one_run_whatever_the_hash_seed_is() -> None:
    def digest(hash_seed: str) -> str:
        command = [sys.executable, "-c", ONE_SEED, "7"]
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip().splitlines()[-1]

    assert digest("1") == digest("2") == simulate(7).digest
    assert simulate(8).digest != simulate(7).digest


def test_without_faults_nothing_but_work_happens() -> None:
    result = simulate(3, FaultPlan())
    assert not result.violation
    assert not result.faults
