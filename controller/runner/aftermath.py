"""What a run does with the repository once the artifacts are in it: verify before the commit, prune after.

Guarantee: an artifact that does not stand verification is no part of the backup, and the run says so.
Retention is carried out only after the commit, from the manifests as they are then; when it fails, the
backup stays what it is and the result warns.

Non-guarantee: a run that is told to stop while it prunes leaves the rest to the next one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import anyio
import anyio.to_thread
import msgspec

from controller.plan.retention import Policy, decide
from controller.repository import catalogue, intents
from controller.repository.errors import RepositoryError
from controller.repository.manifest import StoredArtifact
from controller.repository.prune import Excess, prune
from controller.repository.store import Store
from controller.repository.verify import problem_of
from controller.runner import report
from controller.runner.groups import unwrapped
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.wire.messages import Outcome, Retention, RunResult

TICK_SECONDS = 1.0


async def verify(
    store: Store, artifacts: Sequence[StoredArtifact], tracker: Tracker, log: Log
) -> dict[str, str]:
    """What is wrong with which database's artifact; raises ``StoreError``."""
    tracker.enter("Verifying", "reading the stored artifacts back")
    check = _Check(store, sum(one.size for one in artifacts))
    problems: dict[str, str] = {}

    async def tell() -> None:
        while True:
            tracker.verifying(check.database, check.done, check.total)
            await anyio.sleep(TICK_SECONDS)

    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tell)
            for one in artifacts:
                problem = await anyio.to_thread.run_sync(check.problem_of, one, abandon_on_cancel=True)
                if problem:
                    log.error("verification failed", database=one.database, reason=problem)
                    problems[one.database] = problem
                else:
                    log.info("verified", key=one.key, size=one.size)
            tasks.cancel_scope.cancel()
    return problems


@dataclass(slots=True)
class _Check:
    """Counts for whoever asks how far it is; written by the thread that reads."""

    store: Store
    total: int
    done: int = 0
    database: str = ""

    def problem_of(self, artifact: StoredArtifact) -> str:
        self.database = artifact.database
        return problem_of(self.store, artifact, self._moved)

    def _moved(self, size: int) -> None:
        self.done += size


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is done after the commit."""

    store: Store
    tracker: Tracker
    log: Log
    now: Callable[[], datetime]
    cold: Store | None = None
    """The repository, opened to write archived artifacts in a storage class of their own."""

    async def settle(self, result: RunResult, retention: Retention | None) -> RunResult:
        """``result`` with what became of retention."""
        self.tracker.enter("Pruning", "leftovers and retention")
        try:
            found, pruned, blocked = await anyio.to_thread.run_sync(
                self._clean, retention, abandon_on_cancel=True
            )
        except RepositoryError as error:
            return warned(result, f"retention was not carried out completely: {error}")
        result = msgspec.structs.replace(
            result, pruned=pruned, earlier=report.earlier(found.runs, result.run_id)
        )
        return warned(result, f"nothing is removed by retention: {blocked}") if blocked else result

    def _clean(self, retention: Retention | None) -> tuple[catalogue.Catalogue, int, str]:
        """The catalogue as it was before, how many artifacts went, and why none could."""
        found = catalogue.read(self.store)
        swept = intents.sweep(self.store, found, self.now())
        if swept:
            self.log.info("swept", runs=swept)
        if retention is None:
            return found, 0, ""
        if found.problems:
            return found, 0, found.problems[0].reason
        verdicts = decide(found, policy_of(retention), self.now())
        leaving = (*verdicts.remove, *verdicts.archive)
        for one in leaving:
            self.log.info("retention", verdict=one.verdict.value, key=one.key, reason=one.reason)
        excess = [Excess(one.run_id, one.key, one.verdict.value == "Archive") for one in leaving]
        return found, prune(self.store, found.runs, excess, self.now, self.cold), ""


def policy_of(retention: Retention) -> Policy:
    """The wire's word for it as the planner's."""
    age = timedelta(seconds=retention.max_age_seconds) if retention.max_age_seconds else None
    return Policy(age, retention.max_count or None, retention.archive)


def warned(result: RunResult, warning: str) -> RunResult:
    """``result`` with one warning more."""
    good = result.outcome is Outcome.SUCCEEDED
    return msgspec.structs.replace(
        result,
        warnings=(*result.warnings, warning),
        outcome=Outcome.SUCCEEDED_WITH_WARNINGS if good else result.outcome,
    )
