"""One backup through observe, plan and act, on an API server with real semantics."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.api.backup import FINALIZER
from controller.kube.errors import ConnectionFailed, NotServed
from controller.plan import kinds
from hack.devcluster.faults import Fault
from tests.unit.reconcile.bench import NAMESPACE, a_bench, until_async

JOB = "nightly-backup"
RBAC = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{NAMESPACE}"
BATCH = f"/apis/batch/v1/namespaces/{NAMESPACE}"


@pytest.mark.asyncio
async def test_a_backup_before_its_target_waits_and_goes_on_when_it_comes(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        done = await bench.round()
        assert done.requeue_after
        assert (await bench.status())["phase"] == "Pending"
        assert (await bench.condition("TargetReady"))["reason"] == "TargetNotFound"
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        assert await bench.exists(kinds.JOBS, JOB)
        assert (await bench.condition("JobCreated"))["status"] == "True"


@pytest.mark.asyncio
async def test_the_sidecar_gets_in_at_index_one_and_is_ours_alone(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph()
        await bench.round()
        found = await bench.client.get(kinds.STATEFUL_SETS, "graph-server", NAMESPACE)
        containers = found["spec"]["template"]["spec"]["containers"]
        assert [item["name"] for item in containers] == ["neo4j", "backup-sidecar"]
        version = found["metadata"]["resourceVersion"]
        await bench.rounds(2)
        again = await bench.client.get(kinds.STATEFUL_SETS, "graph-server", NAMESPACE)
        assert again["metadata"]["resourceVersion"] == version


@pytest.mark.asyncio
async def test_everything_that_is_made_belongs_to_the_backup_but_the_claim(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup(storage={"type": "pvc", "pvc": {"name": "store", "size": "1Gi"}})
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        for resource in (kinds.SERVICE_ACCOUNTS, kinds.ROLES, kinds.ROLE_BINDINGS, kinds.JOBS):
            made = await bench.client.get(resource, JOB, NAMESPACE)
            assert made["metadata"]["ownerReferences"][0]["kind"] == "Neo4jBackup"
        claim = await bench.client.get(kinds.CLAIMS, "store", NAMESPACE)
        assert "ownerReferences" not in claim["metadata"]


@pytest.mark.asyncio
async def test_reconciling_again_writes_nothing(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.rounds(4)
        before = bench.cluster.registry.list(("", "pods"))[1]
        await bench.rounds(3)
        assert bench.cluster.registry.list(("", "pods"))[1] == before


@pytest.mark.asyncio
async def test_a_name_that_belongs_to_somebody_else_is_left_alone_and_said(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        theirs = {"apiVersion": "v1", "kind": "ServiceAccount"}
        metadata = {"name": JOB, "namespace": NAMESPACE, "labels": {"team": "theirs"}}
        await bench.client.create(kinds.SERVICE_ACCOUNTS, {**theirs, "metadata": metadata})
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.round()
        condition = await bench.condition("JobCreated")
        assert (condition["status"], condition["reason"]) == ("False", "NameTaken")
        assert "rename the backup" in condition["message"]
        account = await bench.client.get(kinds.SERVICE_ACCOUNTS, JOB, NAMESPACE)
        assert account["metadata"]["labels"] == {"team": "theirs"}
        assert not await bench.exists(kinds.JOBS, JOB)
        await bench.client.delete(kinds.SERVICE_ACCOUNTS, JOB, NAMESPACE)
        await bench.rounds(2)
        assert await bench.exists(kinds.JOBS, JOB)


@pytest.mark.asyncio
async def test_what_the_server_forbids_is_told_in_the_condition(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        bench.cluster.faults.add(Fault(method="POST", path=f"{RBAC}/roles", status=403, reason="Forbidden"))
        await bench.round()
        condition = await bench.condition("JobCreated")
        assert (condition["status"], condition["reason"]) == ("False", "Forbidden")
        assert "Role nightly-backup could not be written" in condition["message"]
        bench.cluster.faults.clear()
        await bench.rounds(2)
        assert await bench.exists(kinds.JOBS, JOB)


@pytest.mark.asyncio
async def test_a_server_that_does_not_know_backups_yet_has_not_lost_them(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        kinds_served = bench.cluster.registry.kinds
        served = kinds_served.get((kinds.BACKUPS.group, kinds.BACKUPS.plural))
        assert served is not None
        kinds_served.remove(served.gr)
        with pytest.raises(NotServed):
            await bench.round()
        kinds_served.add(served)
        await bench.round()
        assert (await bench.status())["phase"] == "Pending"


@pytest.mark.asyncio
async def test_a_write_whose_answer_was_lost_is_found_done(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        bench.cluster.faults.add(Fault(method="POST", path=f"{BATCH}/jobs", lose_answer=True))
        with pytest.raises(ConnectionFailed):
            await bench.round()
        bench.cluster.faults.clear()
        await bench.rounds(2)
        assert [job["metadata"]["name"] for job in await bench.client.list(kinds.JOBS, NAMESPACE)] == [JOB]


@pytest.mark.asyncio
async def test_a_finished_job_becomes_history_and_the_runner_is_quoted(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        await bench.finish_job(JOB, error="no right to write to s3://b", error_reason="AccessDenied")
        await bench.round()
        status = await bench.status()
        assert status["phase"] == "Failed"
        assert status["history"][0]["error"] == "no right to write to s3://b"
        assert (await bench.condition("StorageReady"))["reason"] == "AccessDenied"
        await until_async(lambda: bench.has_event("Failed"))


@pytest.mark.asyncio
async def test_the_verdict_on_a_run_waits_for_its_pod_to_be_readable(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        await bench.finish_job(JOB, error="disk full", error_reason="NoSpaceLeft")
        bench.cluster.faults.add(Fault(method="GET", path=f"/api/v1/namespaces/{NAMESPACE}/pods", status=503))
        await bench.reconciler((NAMESPACE, "nightly"))
        assert (await bench.status())["history"][0]["status"] == "Running"
        bench.cluster.faults.clear()
        await bench.round()
        assert (await bench.status())["history"][0]["error"] == "disk full"


@pytest.mark.asyncio
async def test_a_spec_that_only_the_operator_can_refuse_is_failed_with_the_remedy(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup(schedule="0 0 31 2 *")
        await bench.round()
        status = await bench.status()
        assert status["phase"] == "Failed"
        assert "spec.schedule: never fires" in status["message"]


@pytest.mark.asyncio
async def test_rights_elsewhere_come_after_the_finalizer_and_go_before_it(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.graph()
        await bench.allow("elsewhere")
        await bench.backup(
            namespace="elsewhere", target={"kind": "Cluster", "name": "graph", "namespace": NAMESPACE}
        )
        key = ("elsewhere", "nightly")

        async def far_round() -> None:
            await bench.settled()
            await bench.reconciler(key)

        for _ in range(3):
            await far_round()
        await bench.rolled_out()
        for _ in range(3):
            await far_round()
        roles = await bench.client.list(kinds.ROLES, NAMESPACE)
        assert len(roles) == 1
        await bench.client.delete(kinds.BACKUPS, "nightly", "elsewhere")
        for _ in range(4):
            await far_round()
        assert await bench.client.list(kinds.ROLES, NAMESPACE) == []
        assert await bench.client.list(kinds.BACKUPS, "elsewhere") == []


@pytest.mark.asyncio
async def test_a_backup_that_is_gone_is_no_work(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        assert (await bench.round("never-there")).requeue_after is None


@pytest.mark.asyncio
@pytest.mark.parametrize("schedule", ["", "0 3 * * *"])
async def test_nothing_is_made_for_a_backup_whose_end_the_cache_has_not_heard_of(
    tmp_path: Path, schedule: str
) -> None:
    """It would be collected at once, and made again, for as long as the watch is behind."""
    async with a_bench(tmp_path) as bench:
        await bench.backup(schedule=schedule)
        await bench.graph(with_sidecar=True)
        await bench.rounds(2)
        with bench.lagging(bench.caches.backups):
            await bench.client.delete(kinds.BACKUPS, "nightly", NAMESPACE)
            runs = (kinds.CRON_JOBS, f"{JOB}-cron") if schedule else (kinds.JOBS, JOB)
            rights = [(kind, JOB) for kind in (kinds.SERVICE_ACCOUNTS, kinds.ROLES, kinds.ROLE_BINDINGS)]
            for resource, name in [runs, *rights]:
                await bench.client.delete(resource, name, NAMESPACE)
                (informer,) = (each for each in bench.caches.informers if each.resource == resource)
                while informer.store.get(NAMESPACE, name) is not None:
                    await informer.wait_changed()
            before = bench.cluster.registry.version
            for _ in range(3):
                await bench.reconciler((NAMESPACE, "nightly"))
            assert bench.writes(before) == {}


@pytest.mark.asyncio
async def test_a_conflict_on_the_status_is_planned_again_from_the_newest_and_written_once(
    tmp_path: Path,
) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        with bench.lagging(bench.caches.backups):
            patch = {"metadata": {"labels": {"by": "somebody"}}}
            newer = await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, patch)
            done = await bench.reconciler((NAMESPACE, "nightly"))
            assert done.requeue_after is not None
            assert "status" not in await bench.client.get(kinds.BACKUPS, "nightly", NAMESPACE)
        assert newer["metadata"]["labels"] == {"by": "somebody"}
        before = bench.cluster.registry.version
        await bench.rounds(2)
        assert bench.writes(before) == {"Neo4jBackup": 1}
        assert (await bench.status())["observedGeneration"] == 1


@pytest.mark.asyncio
async def test_the_generation_that_was_planned_from_is_told_and_not_the_newest(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.backup()
        await bench.round()
        assert (await bench.status())["observedGeneration"] == 1
        await bench.client.merge_patch(kinds.BACKUPS, "nightly", NAMESPACE, {"spec": {"suspend": True}})
        status = await bench.status()
        assert {status["observedGeneration"], *(c["observedGeneration"] for c in status["conditions"])} == {1}
        await bench.round()
        assert (await bench.status())["observedGeneration"] == 2
        # One that was not judged again keeps the generation of its verdict.
        assert (await bench.condition("Ready"))["observedGeneration"] == 2


@pytest.mark.asyncio
async def test_a_finalizer_that_somebody_adds_meanwhile_is_not_lost(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench:
        await bench.graph()
        await bench.allow("elsewhere")
        target = {"kind": "Cluster", "name": "graph", "namespace": NAMESPACE}
        await bench.backup(namespace="elsewhere", target=target)
        with bench.lagging(bench.caches.backups):
            theirs = {"metadata": {"finalizers": ["example.com/theirs"]}}
            await bench.client.merge_patch(kinds.BACKUPS, "nightly", "elsewhere", theirs)
            await bench.reconciler(("elsewhere", "nightly"))
            found = await bench.client.get(kinds.BACKUPS, "nightly", "elsewhere")
            assert found["metadata"]["finalizers"] == ["example.com/theirs"]
        await bench.settled()
        await bench.reconciler(("elsewhere", "nightly"))
        found = await bench.client.get(kinds.BACKUPS, "nightly", "elsewhere")
        assert sorted(found["metadata"]["finalizers"]) == sorted(["example.com/theirs", FINALIZER])
