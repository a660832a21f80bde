"""What the demo does, step by step, as a client of the embedded control plane.

Guarantee: the steps use the API server only, as kubectl would, so what works here is what a user gets;
every claim in the outcome was looked up, and the restored content is compared by digest.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from controller.kube.client import Client
from controller.kube.config import load_config
from controller.kube.errors import KubeError, NotFound
from controller.kube.exec import STDOUT
from controller.kube.resource import PODS, Resource
from hack.devcluster import installing
from hack.devcluster.cluster import DevCluster
from hack.devcluster.local_images import CHECKOUT, local_images
from hack.devcluster.neo4j_sim import manifests as neo4j

Json = dict[str, Any]
T = TypeVar("T")

OPERATOR_NAMESPACE = "neo4j-operator-system"
OPERATOR_IMAGE = "localhost/neo4j-backup-operator:dev"
NEO4J_IMAGE = "localhost/neo4j-sim:5.26.12"
BACKUPS = Resource("neo4j.neo4j.com", "v1alpha1", "neo4jbackups", "Neo4jBackup")
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")

STEP_SECONDS = 180.0
RESTORED = "orders"
DATABASES: list[Json] = [
    {"name": "system"},
    {"name": "neo4j", "storeBytes": 2_000_000},
    {"name": "orders", "storeBytes": 48_000_000, "initialTx": 60},
    {"name": "customers", "storeBytes": 16_000_000, "initialTx": 30},
]


class Failed(Exception):
    """A step did not come to its end; the message says which and why."""


class Rehearsal:
    """``async with Rehearsal(directory, say) as it: outcome = await it.run()``."""

    namespace = "neo4j"
    backup = "production-backup"

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._say = say
        self._stack = AsyncExitStack()
        self._client: Client
        self._seconds: dict[str, float] = {}
        self.kubeconfig = directory / "kubeconfig"
        self._sample = neo4j.Sample(
            name="production-cluster",
            namespace=self.namespace,
            image=NEO4J_IMAGE,
            databases=DATABASES,
            # Slow enough that progress can be seen.
            environment={"NEO4J_SIM_BYTES_PER_SECOND": "12000000"},
        )

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            images = await anyio.to_thread.run_sync(local_images, self._directory / "images")
            cluster = await stack.enter_async_context(DevCluster(self._directory, images=images))
            self.kubeconfig = cluster.kubeconfig
            self._client = await stack.enter_async_context(Client(load_config(str(cluster.kubeconfig))))
            self._stack = stack.pop_all()
        self._say(f"control plane is up: {cluster.server}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def run(self) -> Json:
        """All steps. Raises Failed, TimeoutError or KubeError."""
        await self._timed("installOperator", self._install())
        await self._timed("deployNeo4j", self._deploy())
        status = await self._timed("backUp", self._back_up())
        run: Json = status["history"][0]
        self._show_sources(run)
        restore = await self._timed("restoreAndCompare", self._restore(run))
        return self._outcome(status, run, restore)

    async def _timed(self, step: str, work: Awaitable[T]) -> T:
        started = time.monotonic()
        result = await work
        self._seconds[step] = round(time.monotonic() - started, 1)
        return result

    async def explain(self) -> None:
        """Print what a person would look at after a failure."""
        for pod in await self._client.list(PODS):
            where, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
            self._say(f"pod {where}/{name}: {pod.get('status', {}).get('phase')}")
            for container in pod["spec"]["containers"]:
                await self._tail(where, name, container["name"])

    async def _tail(self, namespace: str, pod: str, container: str) -> None:
        try:
            log = await self._client.read_log(namespace, pod, container=container, tail_lines=8)
        except KubeError as error:
            log = str(error)
        for line in log.splitlines():
            self._say(f"    {container}: {line}")

    async def _install(self) -> None:
        base = installing.load(CHECKOUT / "manifests" / "overlays" / "current")
        objects = list(installing.with_image(base, "neo4j-backup-operator", OPERATOR_IMAGE))
        targets = installing.load(CHECKOUT / "manifests" / "samples" / "targets" / "crds")
        await installing.apply(self._client, [*targets, *objects])
        await self._until_ready(DEPLOYMENTS, "neo4j-backup-operator", OPERATOR_NAMESPACE, 2)
        self._say("the operator runs: 2 replicas, one leads")

    async def _deploy(self) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
        await installing.apply(self._client, [namespace, *neo4j.cluster(self._sample)])
        for name, replicas, _ in self._sample.sets():
            await self._until_ready(STATEFUL_SETS, name, self.namespace, replicas)
        self._say(
            "a Neo4j cluster runs: 3 primaries and 1 secondary, databases system, neo4j, orders, customers"
        )

    async def _until_ready(self, resource: Resource, name: str, namespace: str, replicas: int) -> None:
        with anyio.fail_after(STEP_SECONDS):
            while True:
                found = await self._client.get(resource, name, namespace)
                if found.get("status", {}).get("readyReplicas", 0) == replicas:
                    return
                await anyio.sleep(0.2)

    async def _back_up(self) -> Json:
        spec = {
            "target": {"kind": "Cluster", "name": self._sample.name},
            "storage": {"type": "pvc", "pvc": {"name": "backup-storage", "size": "10Gi"}},
            "options": {"backupType": "FULL"},
        }
        metadata = {"name": self.backup, "namespace": self.namespace}
        kind = {"apiVersion": BACKUPS.api_version, "kind": BACKUPS.kind}
        await installing.apply(self._client, [{**kind, "metadata": metadata, "spec": spec}])
        self._say(f"applied Neo4jBackup {self.backup}")
        with anyio.fail_after(STEP_SECONDS):
            return await self._follow()

    async def _follow(self) -> Json:
        shown = ""
        while True:
            found = await self._client.get(BACKUPS, self.backup, self.namespace)
            status: Json = found.get("status", {})
            line = f"{status.get('phase', 'Pending')}: {status.get('message', 'seen by nobody yet')}"
            if line != shown:
                self._say(f"  {line}")
                shown = line
            if status.get("phase") == "Completed":
                return status
            if status.get("phase") == "Failed":
                raise Failed(status.get("message", "the backup failed"))
            await anyio.sleep(0.3)

    def _show_sources(self, run: Json) -> None:
        for item in run["artifacts"]:
            size = item["bytes"] / 1e6
            self._say(f"  {item['database']:<10} {size:6.1f} MB from {item['server']} ({item['role']})")

    async def _restore(self, run: Json) -> Json:
        """Into the writer of the database, beside it under another name; then compare the contents."""
        (item,) = (item for item in run["artifacts"] if item["database"] == RESTORED)
        stored = await self._stored(item["path"])
        content = await anyio.to_thread.run_sync(stored.read_bytes)
        if hashlib.sha256(content).hexdigest() != item["sha256"]:
            raise Failed(f"{stored} does not have the SHA-256 that the status says")
        pod = f"{self._sample.name}-server-0"
        there = f"/data/restore/{stored.name}"
        write = ["sh", "-c", 'mkdir -p /data/restore && cat > "$1" && sync && sha256sum "$1"', "sh", there]
        arrived = await self._exec(pod, write, content)
        if not arrived.startswith(item["sha256"]):
            raise Failed(f"the artifact arrived damaged in {pod}")
        name = f"{RESTORED}restored"
        await self._exec(pod, ["neo4j-admin", "database", "restore", f"--from-path={there}", name])
        restored = json.loads(await self._exec(pod, ["neo4j-admin", "sim-digest", name]))
        source = json.loads(await self._exec(item["server"], ["neo4j-admin", "sim-digest", RESTORED]))
        same = restored["digest"] == source["digest"] and restored["lastTx"] == source["lastTx"]
        if not same:
            raise Failed(f"what was restored differs from {item['server']}: {restored} and {source}")
        self._say(f"restored {RESTORED} from its artifact: same content, last transaction {source['lastTx']}")
        return {"database": RESTORED, "lastTx": source["lastTx"], "digest": source["digest"], "same": same}

    async def _stored(self, path: str) -> Path:
        claim = await self._client.get(CLAIMS, "backup-storage", self.namespace)
        pattern = f"{claim['spec']['volumeName']}/**/{path}"
        found = await anyio.to_thread.run_sync(lambda: list(self._directory.rglob(pattern)))
        if len(found) != 1:
            raise Failed(f"the artifact {path} is not on the claim's volume")
        return found[0]

    async def _exec(self, pod: str, command: list[str], stdin: bytes = b"") -> str:
        try:
            with anyio.fail_after(STEP_SECONDS):
                async with self._client.exec(self.namespace, pod, "neo4j", command) as session:
                    await session.send(stdin)
                    await session.close_stdin()
                    out = b"".join([data async for channel, data in session if channel == STDOUT])
        except NotFound as error:
            raise Failed(f"{pod}: {error}") from error
        except TimeoutError:
            # An exec has no limit of its own, and a rehearsal that waits for ever says nothing.
            raise Failed(f"{' '.join(command)} in {pod} did not end within {STEP_SECONDS:g} s") from None
        if session.exit_code != 0:
            raise Failed(f"{' '.join(command)} in {pod} ended with {session.exit_code}: {session.error}")
        return out.decode()

    def _outcome(self, status: Json, run: Json, restore: Json) -> Json:
        return {
            "phase": status["phase"],
            "message": status["message"],
            "seconds": self._seconds,
            "stats": run["stats"],
            "startTime": run["startTime"],
            "completionTime": run["completionTime"],
            "repository": run["repository"],
            "manifest": run["manifest"],
            "artifacts": [
                {
                    key: item.get(key)
                    for key in ("database", "path", "bytes", "sha256", "server", "role", "type")
                }
                for item in run["artifacts"]
            ],
            "restore": restore,
        }
