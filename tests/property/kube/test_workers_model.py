"""Workers and queue together, with the loop's turns in a drawn order, in virtual time.

Safety: no key is in two hands at once, and no more keys than there are workers are. Progress: whatever is
added is looked at afterwards, and when nothing is added any more the queue comes to rest.
"""

from __future__ import annotations

from collections import defaultdict
from random import Random
from typing import Any

import anyio
from hypothesis import given
from hypothesis import strategies as st

from controller.kube.controller import Done, TerminalError, run_workers
from controller.kube.errors import ServerError
from controller.kube.queuecore import Priority
from controller.kube.workqueue import WorkQueue
from tests.unit.kube.virtual import VirtualLoop

ADDS = st.tuples(
    st.sampled_from("abc"),
    st.sampled_from(Priority),
    st.sampled_from([0.0, 0.0, 0.0, 0.01, 1.0, 20.0]),
)
OUTCOMES = st.tuples(
    st.sampled_from(["done", "done", "again", "error", "terminal", "crash"]),
    st.sampled_from([0.0, 0.0, 0.01, 3.0]),
)


class ShuffledLoop(VirtualLoop):
    """Runs what is ready in an order of its own."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._jumping.grace = 0.0
        self._chance = Random(seed)

    def _run_once(self) -> None:
        ready: Any = self._ready  # type: ignore[attr-defined]
        handles = [*ready]
        self._chance.shuffle(handles)
        ready.clear()
        ready.extend(handles)
        super()._run_once()  # type: ignore[misc]


class Hands:
    """A reconcile function that takes its time and fails as drawn, and watches over its keys."""

    def __init__(self, outcomes: list[tuple[str, float]], workers: int) -> None:
        self._outcomes, self._workers = iter(outcomes), workers
        self.held: set[str] = set()
        self.last_start: defaultdict[str, float] = defaultdict(lambda: -1.0)

    async def __call__(self, key: str) -> Done:
        assert key not in self.held, "in two hands at once"
        assert len(self.held) < self._workers
        self.held.add(key)
        self.last_start[key] = anyio.current_time()
        try:
            outcome, seconds = next(self._outcomes, ("done", 0.0))
            await anyio.sleep(seconds)
            return _ended(outcome)
        finally:
            self.held.discard(key)


def _ended(outcome: str) -> Done:
    if outcome == "again":
        return Done(requeue_after=2.0)
    if outcome == "error":
        raise ServerError("etcd")
    if outcome == "terminal":
        raise TerminalError("not before it changes")
    if outcome == "crash":
        raise ZeroDivisionError
    return Done()


@given(
    adds=st.lists(ADDS, min_size=1, max_size=25),
    outcomes=st.lists(OUTCOMES, max_size=25),
    workers=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_whatever_is_added_is_looked_at_afterwards_and_never_twice_at_once(
    adds: list[tuple[str, Priority, float]], outcomes: list[tuple[str, float]], workers: int, seed: int
) -> None:
    async def run() -> None:
        queue: WorkQueue[str] = WorkQueue("model", jitter=Random(seed).random)
        hands = Hands(outcomes, workers)
        last_add: dict[str, float] = {}
        async with anyio.create_task_group() as group:
            group.start_soon(run_workers, queue, hands, workers)
            for key, priority, pause in adds:
                await anyio.sleep(pause)
                last_add[key] = anyio.current_time()
                queue.add(key, priority)
            with anyio.fail_after(3600.0):
                while _is_busy(queue):
                    await queue._change().wait()
            for key, added in last_add.items():
                assert hands.last_start[key] >= added, f"{key} was lost"
            queue.shutdown()

    anyio.run(run, backend_options={"loop_factory": lambda: ShuffledLoop(seed)})


def _is_busy(queue: WorkQueue[str]) -> bool:
    now = queue.statistics()
    return bool(now.ready or now.delayed or now.processing)
