"""The promise: whatever breaks, a backup that is called good restores, and one that is not says why.

Two files, so that two processes share the work; ``python -m tests.faults`` plays any number of seeds.
"""

from __future__ import annotations

import pytest

from tests.faults.rounds import ROUNDS, failures_of

pytestmark = pytest.mark.timeout(1800)


@pytest.mark.parametrize("first", range(0, 108, 2 * ROUNDS))
def test_every_outcome_is_true(first: int) -> None:
    assert not failures_of(range(first, first + 2 * ROUNDS))
