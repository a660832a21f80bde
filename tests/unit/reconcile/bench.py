"""The reconciler on a bare embedded API server: everybody else's part is played by the test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import msgspec
import yaml
from anyio.abc import TaskGroup

from controller.api import targets
from controller.api.backup import ALLOW_FROM_ANNOTATION
from controller.kube.client import Client
from controller.kube.config import load_config
from controller.kube.controller import Done, run_workers
from controller.kube.events import EventRecorder
from controller.kube.informer import Informer, wait_all_synced
from controller.kube.ownwrites import OwnWrites
from controller.kube.resource import EVENTS, PODS, Resource
from controller.kube.store import Key
from controller.kube.workqueue import WorkQueue
from controller.plan import kinds
from controller.plan.observed import Settings
from controller.reconcile.announce import Announcer
from controller.reconcile.backup import BackupReconciler
from controller.reconcile.caches import Caches, Collection, build_caches
from controller.reconcile.watches import Waker
from controller.resources import labels
from controller.wire.messages import Outcome, RunResult, encode
from hack.devcluster.cluster import DevCluster

Json = dict[str, Any]
NAMESPACE = "prod"
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", False)
CLUSTERS = Resource("neo4j.neo4j.com", "v1alpha1", targets.CLUSTER.plural, targets.CLUSTER.kind)
OURS = (kinds.JOBS, kinds.CRON_JOBS, kinds.SERVICE_ACCOUNTS, kinds.ROLES, kinds.ROLE_BINDINGS)
"""Kinds of which the caches hold only what backups made."""
ROOT = Path(__file__).parents[3]
S3: Json = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}}


@dataclass
class Bench:
    """What a test holds."""

    cluster: DevCluster
    client: Client
    caches: Caches
    reconciler: BackupReconciler
    queue: WorkQueue[Key]
    group: TaskGroup
    woken: list[Key] = field(default_factory=list)
    following: dict[Resource, anyio.CancelScope] = field(default_factory=dict)

    shown: list[tuple[Any, bytes]] = field(default_factory=list)
    """Everything that was ever cached, and as what: nobody may change it."""

    def guard(self) -> None:
        """Remember what each cached object is."""

        def remember(_old: object, new: object) -> None:
            if new is not None:
                self.shown.append((new, msgspec.json.encode(new)))

        for informer in self.caches.informers:
            informer.add_handler(remember)

    def check_unchanged(self) -> None:
        """Fail for an object that somebody changed where all look at it."""
        for item, content in self.shown:
            assert msgspec.json.encode(item) == content, f"{item.namespace}/{item.name} was changed"

    async def follow(self, informer: Informer[Any]) -> None:
        with anyio.CancelScope() as self.following[informer.resource]:
            await informer.run()

    @contextmanager
    def lagging(self, collection: Collection[Any]) -> Iterator[None]:
        """The cache of one kind hears nothing, and all of it afterwards."""
        self.following[collection.resource].cancel()
        yield
        for informer in collection.informers:
            self.group.start_soon(self.follow, informer)

    async def backup(self, name: str = "nightly", namespace: str = NAMESPACE, **spec: Any) -> Json:
        content = {"target": {"kind": "Cluster", "name": "graph"}, "storage": S3} | spec
        made = await self.client.create(
            kinds.BACKUPS,
            {
                "apiVersion": kinds.BACKUPS.api_version,
                "kind": kinds.BACKUPS.kind,
                "metadata": {"name": name, "namespace": namespace},
                "spec": content,
            },
        )
        await self.settled()
        return made

    async def graph(self, *, with_sidecar: bool = False) -> None:
        """A cluster of one server, rolled out."""
        metadata = {"name": "graph", "namespace": NAMESPACE}
        body = {"apiVersion": CLUSTERS.api_version, "kind": CLUSTERS.kind, "metadata": metadata}
        await self.client.create(CLUSTERS, {**body, "spec": {"topology": {"servers": 1}}})
        labels = {"neo4j.com/cluster": "graph"}
        container = {
            "name": "neo4j",
            "image": "neo4j:5.26.0-enterprise",
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        }
        template = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
        await self.client.create(
            kinds.STATEFUL_SETS,
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "metadata": {"name": "graph-server", "namespace": NAMESPACE, "labels": labels},
                "spec": {
                    "replicas": 1,
                    "serviceName": "graph-headless",
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": template},
                },
            },
        )
        await self.rolled_out()
        if with_sidecar:
            await self.settled()
            await self.round()
            await self.rolled_out()

    async def rolled_out(self) -> None:
        """The StatefulSet's controller and the kubelet have done their part."""
        current = await self.client.get(kinds.STATEFUL_SETS, "graph-server", NAMESPACE)
        generation, template = current["metadata"]["generation"], current["spec"]["template"]
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), 1)
        revision = {"currentRevision": f"r{generation}", "updateRevision": f"r{generation}"}
        status = {"observedGeneration": generation, **counts, **revision}
        await self.client.merge_patch(
            kinds.STATEFUL_SETS, "graph-server", NAMESPACE, {"status": status}, subresource="status"
        )
        await self._pod(current["metadata"]["uid"], template)
        await self.settled()

    async def _pod(self, owner_uid: str, template: Json) -> None:
        with_status = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "graph-server", "uid": owner_uid}
        metadata = {
            "name": "graph-server-0",
            "namespace": NAMESPACE,
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [{**owner, "controller": True}],
        }
        if self.cluster.registry.list(("", "pods"), NAMESPACE)[0]:
            await self.client.delete(PODS, "graph-server-0", NAMESPACE)
            key = (NAMESPACE, "graph-server-0")
            await until(lambda: self.caches.pods.get(*key) is None)
        await self.client.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        )
        await self.client.merge_patch(
            PODS, "graph-server-0", NAMESPACE, {"status": with_status}, subresource="status"
        )

    async def settled(self) -> None:
        """Wait until every cache has what the server has now."""
        for informer in self.caches.informers:
            ours = informer.resource in OURS
            selector = labels.SELECTOR_ALL if ours else None
            newest = await self.client.list(informer.resource, label_selector=selector)
            versions = {(o["metadata"]["uid"], o["metadata"]["resourceVersion"]) for o in newest}
            await until(partial(_holds, informer, versions))

    async def round(self, name: str = "nightly") -> Done:
        """One reconcile on caches that are up to date."""
        await self.settled()
        return await self.reconciler((NAMESPACE, name))

    async def rounds(self, count: int, name: str = "nightly") -> None:
        for _ in range(count):
            await self.round(name)

    @asynccontextmanager
    async def working(self) -> AsyncIterator[list[Key]]:
        """The program's workers at work; the keys that reached the reconcile function."""
        reconciled: list[Key] = []

        async def reconcile(key: Key) -> Done:
            reconciled.append(key)
            await self.reconciler(key)
            # Without its wish to look again: only what happens brings a key back.
            return Done()

        async with anyio.create_task_group() as group:
            group.start_soon(run_workers, self.queue, reconcile)
            yield reconciled
            self.queue.shutdown()

    async def at_rest(self) -> None:
        """Wait until the caches have everything and the workers nothing to do."""
        while True:
            await self.settled()
            now = self.queue.statistics()
            if not now.ready and not now.processing:
                return
            await anyio.sleep(0.02)

    def writes(self, since: int) -> dict[str, int]:
        """How often objects of each kind were written after a version."""
        store = self.cluster.registry.store
        kinds_ = {item.resource for item in self.caches.informers}
        found = {kind.kind: len(store.changes((kind.group, kind.plural), since)) for kind in kinds_}
        return {kind: count for kind, count in found.items() if count}

    async def status(self, name: str = "nightly") -> Json:
        content: Json = (await self.client.get(kinds.BACKUPS, name, NAMESPACE)).get("status", {})
        return content

    async def condition(self, type_: str, name: str = "nightly") -> Json:
        found: Json = next(c for c in (await self.status(name))["conditions"] if c["type"] == type_)
        return found

    async def exists(self, resource: Resource, name: str, namespace: str = NAMESPACE) -> bool:
        return any(o["metadata"]["name"] == name for o in await self.client.list(resource, namespace))

    async def has_event(self, reason: str) -> bool:
        return any(event["reason"] == reason for event in await self.client.list(EVENTS, NAMESPACE))

    async def allow(self, namespace: str) -> None:
        patch = {"metadata": {"annotations": {ALLOW_FROM_ANNOTATION: namespace}}}
        await self.client.merge_patch(CLUSTERS, "graph", NAMESPACE, patch)
        await self.settled()

    async def finish_job(self, name: str, *, error: str, error_reason: str) -> None:
        """The run failed: its pod is there with the runner's result, and the Job is settled."""
        job = await self.client.get(kinds.JOBS, name, NAMESPACE)
        uid, now = job["metadata"]["uid"], datetime.now(UTC)
        result = RunResult(
            run_id=uid,
            outcome=Outcome.FAILED,
            started=now,
            finished=now,
            error=error,
            error_reason=error_reason,
        )
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        template = job["spec"]["template"]
        metadata = {
            "name": f"{name}-x",
            "namespace": NAMESPACE,
            "labels": {**template["metadata"]["labels"], "controller-uid": uid},
            "ownerReferences": [owner],
        }
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self.client.create(PODS, body)
        ended = {"exitCode": 1, "message": encode(result).decode()}
        container = {
            "name": "backup",
            "state": {"terminated": ended},
            "image": "",
            "imageID": "",
            "ready": False,
        }
        status = {"phase": "Failed", "containerStatuses": [{**container, "restartCount": 0}]}
        await self.client.merge_patch(PODS, f"{name}-x", NAMESPACE, {"status": status}, subresource="status")
        conditions = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
        await self.client.merge_patch(
            kinds.JOBS, name, NAMESPACE, {"status": {"conditions": conditions}}, subresource="status"
        )
        await self.settled()


def _holds(informer: Informer[Any], versions: set[tuple[str, str]]) -> bool:
    return {(item.uid, item.resource_version) for item in informer.store.list()} == versions


async def until_async(holds: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if await holds():
            return
        await anyio.sleep(0.02)
    raise AssertionError(f"not within {seconds:.0f} s")


async def until(holds: Callable[[], bool]) -> None:
    async def look() -> bool:
        return holds()

    await until_async(look)


@asynccontextmanager
async def a_bench(directory: Path) -> AsyncIterator[Bench]:
    """Everything running, until the block ends."""
    async with (
        DevCluster(directory, run_pods=False) as cluster,
        Client(load_config(str(cluster.kubeconfig))) as client,
    ):
        await install(client)
        caches = build_caches(client, (), kinds.CRON_JOBS)
        woken: list[Key] = []
        queue: WorkQueue[Key] = WorkQueue("test")

        def wake(key: Key) -> None:
            woken.append(key)
            queue.add(key)

        own: OwnWrites[Key] = OwnWrites(wake)
        Waker(caches, own, wake).connect()
        recorder = EventRecorder(client, component="operator", instance="test")
        settings = Settings(image="operator:1")
        reconciler = BackupReconciler(
            client, caches, Announcer(recorder), settings, lambda: datetime.now(UTC), own
        )
        async with anyio.create_task_group() as group:
            bench = Bench(cluster, client, caches, reconciler, queue, group, woken)
            bench.guard()
            for informer in caches.informers:
                group.start_soon(bench.follow, informer)
            group.start_soon(recorder.run)
            await wait_all_synced(caches.informers, seconds=20)
            yield bench
            bench.check_unchanged()
            group.cancel_scope.cancel()


async def install(client: Client) -> None:
    for path in sorted((ROOT / "manifests" / "crds").glob("*neo4jbackups.yaml")):
        await client.create(CRDS, yaml.safe_load(path.read_text()))
    for kind in targets.KINDS:
        await client.create(CRDS, _foreign_crd(kind))
    for name in (NAMESPACE, "elsewhere"):
        await client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})


def _foreign_crd(kind: targets.Kind) -> Json:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.neo4j.neo4j.com"},
        "spec": {
            "group": "neo4j.neo4j.com",
            "names": {"kind": kind.kind, "plural": kind.plural},
            "scope": "Namespaced",
            "versions": [
                {"name": "v1alpha1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
            ],
        },
    }
