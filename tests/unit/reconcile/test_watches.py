"""Which changes wake which backups: whatever a plan depends on, and not our own status writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.kube.resource import PODS
from controller.plan import kinds
from controller.resources import labels
from tests.unit.reconcile.bench import NAMESPACE, Bench, a_bench, until

NIGHTLY = (NAMESPACE, "nightly")
FAR = ("elsewhere", "far")


async def two_backups(bench: Bench) -> dict[str, Any]:
    """One of its own namespace, one of another that looks into it."""
    made = await bench.backup()
    target = {"kind": "Cluster", "name": "graph", "namespace": NAMESPACE}
    await bench.backup("far", "elsewhere", target=target)
    bench.woken.clear()
    return made


@pytest.mark.asyncio
async def test_a_change_of_the_spec_wakes_and_a_change_of_the_status_does_not(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await two_backups(bench)
        patch = {"status": {"message": "ours"}}
        await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, patch, subresource="status")
        await bench.settled()
        assert bench.woken == []
        await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, {"spec": {"suspend": True}})
        await bench.settled()
        assert bench.woken == [NIGHTLY]


@pytest.mark.asyncio
async def test_run_now_wakes(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await two_backups(bench)
        patch = {"metadata": {"annotations": {"backup.neo4j.com/run-now": "1"}}}
        await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, patch)
        await until(lambda: bench.woken == [NIGHTLY])


@pytest.mark.asyncio
async def test_a_target_wakes_all_that_look_into_its_namespace(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await two_backups(bench)
        await bench.graph()
        assert {NIGHTLY, FAR} <= set(bench.woken)


@pytest.mark.asyncio
async def test_a_servers_pod_wakes_only_when_its_readiness_or_sidecar_changes(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await two_backups(bench)
        await bench.graph()
        bench.woken.clear()

        async def set_status(**status: Any) -> None:
            where = ("graph-server-0", NAMESPACE)
            await bench.client.merge_patch(PODS, *where, {"status": status}, subresource="status")
            await bench.settled()

        await set_status(message="a heartbeat")
        assert bench.woken == []
        await set_status(conditions=[{"type": "Ready", "status": "False"}])
        assert {NIGHTLY, FAR} <= set(bench.woken)


@pytest.mark.asyncio
async def test_children_wake_their_backup_by_label_also_when_a_cron_job_made_them(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        made = await two_backups(bench)
        template = {"restartPolicy": "Never", "containers": [{"name": "backup", "image": "x"}]}
        child = {
            "name": "child-of-a-cron-job",
            "namespace": NAMESPACE,
            "labels": {labels.MANAGED_BY: labels.MANAGER, labels.BACKUP_UID: made["metadata"]["uid"]},
        }
        body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": child}
        await bench.client.create(kinds.JOBS, {**body, "spec": {"template": {"spec": template}}})
        await until(lambda: NIGHTLY in bench.woken)
        assert FAR not in bench.woken
        await bench.settled()
        bench.woken.clear()
        await bench.client.delete(kinds.JOBS, "child-of-a-cron-job", NAMESPACE)
        await until(lambda: NIGHTLY in bench.woken)


@pytest.mark.asyncio
async def test_the_claim_that_is_waited_for_wakes_also_when_its_name_is_ours(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup("named", storage={"type": "pvc", "pvc": {"name": "store"}})
        await bench.backup("unnamed", storage={"type": "pvc", "pvc": {"size": "1Gi"}})
        bench.woken.clear()
        for name in ("store", "unnamed-backup", "of-nobody"):
            spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
            metadata = {"name": name, "namespace": NAMESPACE}
            body = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
            await bench.client.create(kinds.CLAIMS, body)
        await bench.settled()
        assert sorted(bench.woken) == [(NAMESPACE, "named"), (NAMESPACE, "unnamed")]
