"""What is written comes back as an event, and nobody is to jump at it: the operator's own path, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.plan import kinds
from hack.devcluster.faults import Fault
from tests.unit.reconcile.bench import NAMESPACE, a_bench, until

NIGHTLY = (NAMESPACE, "nightly")


@pytest.mark.asyncio
async def test_one_write_for_a_changed_object_and_its_echo_reaches_nobody(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        names = [f"backup-{number}" for number in range(5)]
        async with bench.working() as reconciled:
            before = bench.cluster.registry.version
            for name in names:
                await bench.backup(name)
            await bench.at_rest()
            assert sorted(reconciled) == [(NAMESPACE, name) for name in names]
            # Made by the test, and its status written, once each.
            assert bench.writes(before) == {"Neo4jBackup": 2 * len(names)}


@pytest.mark.asyncio
async def test_no_write_for_an_unchanged_object(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench, bench.working() as reconciled:
        await bench.backup()
        await bench.at_rest()
        before = bench.cluster.registry.version
        for _ in range(3):
            bench.queue.add(NIGHTLY)
            await bench.at_rest()
        assert reconciled == [NIGHTLY] * 4
        assert bench.writes(before) == {}


@pytest.mark.asyncio
async def test_what_a_backup_makes_for_itself_does_not_wake_it(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        before = bench.cluster.registry.version
        async with bench.working() as reconciled:
            await bench.at_rest()
            assert bench.writes(before) == {
                "ServiceAccount": 1,
                "Role": 1,
                "RoleBinding": 1,
                "Job": 1,
                "Neo4jBackup": 1,
            }
            assert reconciled == [NIGHTLY]


@pytest.mark.asyncio
async def test_what_others_do_to_what_a_backup_made_wakes_it(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        async with bench.working() as reconciled:
            await bench.at_rest()
            running = {"status": {"active": 1}}
            await bench.client.merge_patch(
                kinds.JOBS, "nightly-backup", NAMESPACE, running, subresource="status"
            )
            await bench.at_rest()
            assert reconciled == [NIGHTLY] * 2
            await bench.client.delete(kinds.JOBS, "nightly-backup", NAMESPACE)
            await bench.at_rest()
            assert reconciled[2:]


@pytest.mark.asyncio
async def test_a_cache_that_lacks_an_own_write_is_waited_for_and_then_no_longer(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.settled()
        with bench.lagging(bench.caches.jobs):
            await bench.reconciler(NIGHTLY)
            before = bench.cluster.registry.version
            again = bench.cluster.faults.add(Fault(method="POST", path="/apis/batch/", status=500))
            for _ in range(3):
                assert (await bench.reconciler(NIGHTLY)).requeue_after is not None
            assert bench.writes(before) == {}
            assert not again.fired, "nothing is decided from before the Job was made"
        await bench.round()
        assert bench.writes(before) == {"Neo4jBackup": 1}, "the Job is seen, and that it has no pod yet"


@pytest.mark.asyncio
async def test_a_deletion_that_the_cache_lacks_is_waited_for(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup(schedule="0 2 * * *")
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        assert len(bench.caches.cron_jobs.all()) == 1
        await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, {"spec": {"schedule": None}})
        await bench.settled()
        with bench.lagging(bench.caches.cron_jobs):
            await bench.reconciler(NIGHTLY)
            assert await bench.client.list(kinds.CRON_JOBS, NAMESPACE) == []
            await until(lambda: len(bench.caches.jobs.all()) == 1)
            again = bench.cluster.faults.add(Fault(method="DELETE", path="/apis/batch/", status=500))
            assert (await bench.reconciler(NIGHTLY)).requeue_after is not None
            assert not again.fired


@pytest.mark.asyncio
@pytest.mark.parametrize("spec", [{}, {"schedule": "0 2 * * *"}], ids=["one-shot", "scheduled"])
async def test_nothing_more_is_made_for_a_backup_that_turned_out_to_be_gone(
    tmp_path: Path, spec: dict[str, str]
) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup(**spec)
        await bench.graph(with_sidecar=True)
        with bench.lagging(bench.caches.backups):
            await bench.client.delete(kinds.BACKUPS, "nightly", NAMESPACE)
            before = bench.cluster.registry.version
            for _ in range(2):
                assert (await bench.reconciler(NIGHTLY)).requeue_after is not None
            assert bench.writes(before) == {}


@pytest.mark.asyncio
async def test_what_is_cached_is_changed_by_nobody_and_a_change_would_be_found(tmp_path: Path) -> None:
    """The bench looks at the end of each of its tests; this one sees to it that it would notice."""
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        bench.check_unchanged()
        (graph,) = bench.caches.stateful_sets.all()
        assert graph.metadata.labels is not None
        graph.metadata.labels["changed"] = "in place"
        with pytest.raises(AssertionError, match="was changed"):
            bench.check_unchanged()
        del graph.metadata.labels["changed"]
