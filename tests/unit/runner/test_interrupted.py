"""A run that is told to stop reports a backup exactly when the repository has one."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.from_thread
import pytest

from controller.repository import catalogue, layout
from controller.repository.stores.memory import MemoryStore
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.wire.messages import Outcome, RunResult
from tests.unit.runner.fakes import QUICK
from tests.unit.runner.test_run import NOW, World

pytestmark = pytest.mark.asyncio
RUN = "run-1"


class StoppingStore(MemoryStore):
    """The pod is told to stop while the request that ``when`` names is answered."""

    def __init__(self, when: Callable[[str, str], bool]) -> None:
        super().__init__()
        self._when = when
        self.scope = anyio.CancelScope()

    def put(self, key: str, chunks: object, *, size_hint: int = 0) -> None:
        self._stop_at("put", key)
        super().put(key, chunks, size_hint=size_hint)  # type: ignore[arg-type]

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._stop_at("commit", key)
        super().put_if_absent(key, data)

    def delete(self, key: str) -> None:
        self._stop_at("delete", key)
        super().delete(key)

    def _stop_at(self, verb: str, key: str) -> None:
        if self._when(verb, key):
            anyio.from_thread.run_sync(self.scope.cancel)


async def stopped(store: StoppingStore) -> tuple[RunResult, World]:
    world = World()
    surroundings = Surroundings(
        store=store,
        connect=lambda server: world.agents[server.pod],
        log=Log(lambda: NOW, world.log),
        tracker=Tracker(RUN, world.said.append, lambda: 0.0),
        now=lambda: NOW,
        persistence=QUICK,
    )
    run = Run(world.spec, RUN, surroundings)
    result: RunResult | None = None
    with store.scope:
        result = await run.result()
    return result or run.interrupted(), world


async def test_before_the_commit_it_failed() -> None:
    store = StoppingStore(lambda verb, key: verb == "put" and key.startswith(layout.DATABASES))
    result, _ = await stopped(store)
    assert (result.outcome, result.error_reason, result.manifest) == (Outcome.FAILED, "Interrupted", "")
    assert catalogue.find_run(store, RUN) is None


@pytest.mark.parametrize(
    "when",
    [
        lambda verb, key: verb == "commit" and key.startswith(layout.RUNS),
        lambda verb, key: verb == "delete" and key.startswith(layout.INTENTS),
    ],
    ids=["while the manifest is written", "while the note is removed"],
)
async def test_from_the_commit_on_it_is_a_backup_that_says_what_was_left_out(
    when: Callable[[str, str], bool],
) -> None:
    store = StoppingStore(when)
    result, world = await stopped(store)
    assert result.outcome is Outcome.SUCCEEDED_WITH_WARNINGS
    assert result.manifest == layout.manifest(RUN)
    assert "told to stop" in result.warnings[-1]
    assert catalogue.find_run(store, RUN) is not None
    told = sorted(file for agent in world.agents.values() for file in agent.committed)
    assert [file.partition("-")[0] for file in told] == ["orders", "system"], "the agents' chains go on"
