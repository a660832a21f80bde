"""The product itself: Neo4jBackups, the operator's own parts, and as much of a cluster as they need to see.

The parts are :mod:`controller.app.main`'s, put together as there. A cluster of one server gets its sidecar,
Jobs run for a while and end well, owners' dependents are collected; users ask for runs, change their minds,
delete, and break things.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from controller.api import targets
from controller.api.cached import RUN_NOW_ANNOTATION
from controller.app.main import NAME, _Machine, _Operator
from controller.app.settings import OperatorSettings
from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.credentials import NoCredentials
from controller.kube.leader import LeaderElector
from controller.kube.resource import Resource
from controller.kube.supervisor import Supervisor
from controller.plan import kinds
from controller.plan.runs import ATTEMPT
from controller.resources import labels
from controller.wire.messages import Outcome, RunResult, encode
from hack.devcluster.controllers.gc import GarbageCollector
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry
from hack.devcluster.store import Change
from tests.sim.checks import CacheCheck, Checks
from tests.sim.http import Incoming
from tests.sim.operators import LEASE_NAME, LEASE_NAMESPACE, STOP_SECONDS
from tests.sim.processes import Process
from tests.sim.trace import Trace
from tests.sim.widgets import definition

NAMESPACE = "prod"
BACKUP_KIND: GroupResource = (kinds.BACKUPS.group, kinds.BACKUPS.plural)
JOB_KIND: GroupResource = ("batch", "jobs")
CRON_KIND: GroupResource = ("batch", "cronjobs")
POD_KIND: GroupResource = ("", "pods")
SET_KIND: GroupResource = ("apps", "statefulsets")
CLUSTER = Resource(kinds.BACKUPS.group, kinds.BACKUPS.version, targets.CLUSTER.plural, targets.CLUSTER.kind)
SERVERS = "graph-server"
SPOILED = "sometimes"
"""A retention.maxAge that cannot be used."""
S3: Obj = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}}
SETTINGS = OperatorSettings(
    image="operator:1",
    image_pull_policy="",
    namespaces=(),
    kubeconfig=None,
    context=None,
    lease_name=LEASE_NAME,
    lease_namespace=LEASE_NAMESPACE,
    instance="",
    host=None,
    port=0,
    workers=3,
    log_format="json",
    log_level="error",
)


class BackupOperator:
    """One life of the operator; ``main`` is its program."""

    def __init__(self, process: Process, checks: Checks) -> None:
        self.process, self._checks = process, checks
        self.caches: list[CacheCheck] = []
        agent = f"{NAME}/{process.identity}"
        self._config = ClusterConfig("http://api", None, NoCredentials(), user_agent=agent)
        self.elector = LeaderElector(
            self._config, namespace=LEASE_NAMESPACE, name=LEASE_NAME, identity=process.identity
        )
        checks.leadership.watch(process, lambda: self.elector.seconds_left() > 0)

    async def main(self) -> None:
        """As :func:`controller.app.main.run`, less the HTTP port."""
        fence = self.elector.seconds_left
        settings = replace(SETTINGS, instance=self.process.identity)
        async with Client(self._config) as reader, Client(self._config, fence=fence) as writer:
            operator = _Watched(settings, self.elector, reader, writer)
            operator.watch = self._watch
            supervisor = Supervisor()
            supervisor.add("events", operator.events)
            supervisor.add("caches", operator.caches)
            supervisor.add("leader", operator.leader, stop_seconds=STOP_SECONDS)
            await supervisor.run()

    def _watch(self, machine: _Machine) -> _Machine:
        checks, process = self._checks, self.process
        self.caches = [
            CacheCheck(checks.trace, process, informer, checks.deleted)
            for informer in machine.caches.informers
        ]
        reconciler: Any = checks.work.watched(process, machine.reconciler)
        return _Machine(machine.caches, reconciler)


class _Watched(_Operator):
    """The program's parts, looked at from outside."""

    watch: Callable[[_Machine], _Machine]

    async def _assemble(self) -> None:
        await super()._assemble()
        assert self._machine is not None
        self._machine = self.watch(self._machine)


# --- the world around it ---------------------------------------------------------------------------


class Cluster:
    """Users, the cluster's own controllers, and a Neo4j to back up."""

    observed: tuple[GroupResource, ...] = (
        BACKUP_KIND,
        JOB_KIND,
        POD_KIND,
        SET_KIND,
        CRON_KIND,
        ("", "serviceaccounts"),
        ("rbac.authorization.k8s.io", "roles"),
        ("rbac.authorization.k8s.io", "rolebindings"),
    )

    def __init__(self, registry: Registry, trace: Trace, seed: int) -> None:
        self._registry, self._trace = registry, trace
        self._chance = random.Random(f"backups {seed}")
        self._collector = GarbageCollector(registry)
        self._broken: set[str] = set()
        self._runs: Counter[tuple[object, ...]] = Counter()
        """Jobs by the uid and the request that asked for them: one each, unless somebody deleted it."""
        registry.create(("", "namespaces"), {"metadata": {"name": NAMESPACE}})
        foreign = [Resource(CLUSTER.group, CLUSTER.version, kind.plural, kind.kind) for kind in targets.KINDS]
        for kind in (kinds.BACKUPS, *foreign):
            crd = definition(kind)
            crd["spec"]["versions"][0]["name"] = kind.version
            registry.create(("apiextensions.k8s.io", "customresourcedefinitions"), crd)
        self._build()

    def _build(self) -> None:
        place = {"namespace": NAMESPACE}
        self._registry.create(
            (CLUSTER.group, CLUSTER.plural),
            {"metadata": {"name": "graph", **place}, "spec": {"topology": {"servers": 1}}},
        )
        labels = {"neo4j.com/cluster": "graph"}
        mount = {"name": "data", "mountPath": "/data"}
        container = {"name": "neo4j", "image": "neo4j:5.26.0-enterprise", "volumeMounts": [mount]}
        spec = {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]}
        template = {"metadata": {"labels": labels}, "spec": spec}
        body = {"replicas": 1, "serviceName": "graph", "selector": {"matchLabels": labels}}
        metadata = {"name": SERVERS, "labels": labels, **place}
        self._registry.create(SET_KIND, {"metadata": metadata, "spec": {**body, "template": template}})
        self._roll_out()

    # --- what users do -------------------------------------------------------------------------------

    def script(self, seconds: float) -> Iterator[tuple[float, str]]:
        """When somebody does something, and what."""
        names = [f"n{number}" for number in range(self._chance.randint(1, 3))]
        for name in names:
            yield self._chance.uniform(0.0, seconds / 3), f"make {name}"
        verbs = ("run", "change", "delete", "make", "break", "schedule", "suspend", "spoil")
        for _ in range(self._chance.randint(0, 5)):
            verb, name = self._chance.choice(verbs), self._chance.choice(names)
            yield self._chance.uniform(1.0, seconds), f"{verb} {name}"

    def do(self, what: str) -> None:
        """One step of the script; raises ApiStatus where it makes no sense any more."""
        verb, name = what.split()
        key = (NAMESPACE, name)
        match verb:
            case "make":
                spec = {"target": {"kind": "Cluster", "name": "graph"}, "storage": S3}
                self._registry.create(
                    BACKUP_KIND, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
                )
            case "run":
                note = {RUN_NOW_ANNOTATION: f"{self._chance.randint(1, 99)}"}
                self._registry.modify(
                    BACKUP_KIND, key, lambda old: old | {"metadata": old["metadata"] | {"annotations": note}}
                )
            case "change":
                retention = {"maxCount": self._chance.randint(1, 9)}
                self._respec(key, {"retention": retention})
            case "schedule":
                self._respec(key, {"schedule": f"{self._chance.randint(0, 59)} 3 * * *"})
            case "suspend":
                self._respec(key, {"suspend": self._chance.random() < 0.5})
            case "spoil":
                # A schedule is stopped while its spec cannot be used.
                self._respec(key, {"retention": {"maxAge": self._chance.choice((SPOILED, "30d"))}})
            case "delete":
                self._registry.delete(BACKUP_KIND, NAMESPACE, name)
            case "break":
                for job in self._registry.list(JOB_KIND, NAMESPACE)[0][:1]:
                    self._broken.add(job["metadata"]["uid"])
                    self._registry.delete(JOB_KIND, NAMESPACE, job["metadata"]["name"])

    def _respec(self, key: tuple[str, str], change: Obj) -> None:
        self._registry.modify(BACKUP_KIND, key, lambda old: old | {"spec": old["spec"] | change})

    # --- what follows --------------------------------------------------------------------------------

    def committed(self, request: Incoming | None, gr: GroupResource, change: Change) -> tuple[str, float]:
        """Checks a change; what the cluster's own controllers do about it, and after how long."""
        name = change.last["metadata"]["name"]
        if gr == BACKUP_KIND and change.old is not None and change.new is not None:
            self._check_status(change.old, change.new)
        if change.new is None or change.new["metadata"].get("deletionTimestamp"):
            return "collect", self._chance.uniform(0.1, 2.0)
        if change.old is None and self._is_orphan(change.new):
            return "collect", self._chance.uniform(0.1, 2.0)
        if gr == JOB_KIND and change.old is None:
            self._count(change.last)
            return f"begin {name}", self._chance.uniform(0.1, 5.0)
        if gr == SET_KIND and change.old is not None and change.old["spec"] != change.new["spec"]:
            return "roll", self._chance.uniform(0.5, 8.0)
        if gr == POD_KIND and change.old is None and name.endswith("-x"):
            return f"end {name.removesuffix('-x')}", self._chance.uniform(0.5, 15.0)
        return "", 0.0

    def _is_orphan(self, item: Obj) -> bool:
        """Whether its owner is gone: of a part that arrives late. The collector looks at new ones as well."""
        owners = {owner["uid"] for owner in item["metadata"].get("ownerReferences") or ()}
        lists = [self._registry.list(kind)[0] for kind in (BACKUP_KIND, JOB_KIND, SET_KIND)]
        return bool(owners) and owners.isdisjoint(
            each["metadata"]["uid"] for items in lists for each in items
        )

    def follow(self, what: str) -> None:
        """Do it; raises ApiStatus when it is no longer there."""
        verb, _, name = what.partition(" ")
        match verb:
            case "collect":
                self._collector.sweep()
            case "roll":
                self._roll_out()
            case "begin":
                self._begin(name)
            case "end":
                self._end(name)

    def _roll_out(self) -> None:
        """The StatefulSet's controller and the kubelet do their part."""
        current = self._registry.get(SET_KIND, NAMESPACE, SERVERS)
        generation, template = current["metadata"]["generation"], current["spec"]["template"]
        counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), 1)
        revision = {"currentRevision": f"r{generation}", "updateRevision": f"r{generation}"}
        status = {"observedGeneration": generation, **counts, **revision}
        self._status(SET_KIND, SERVERS, status)
        owner = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": SERVERS, "controller": True}
        metadata = {
            "name": f"{SERVERS}-0",
            "namespace": NAMESPACE,
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [{**owner, "uid": current["metadata"]["uid"]}],
        }
        if self._registry.find(POD_KIND, NAMESPACE, f"{SERVERS}-0"):
            self._registry.delete(POD_KIND, NAMESPACE, f"{SERVERS}-0", grace_seconds=0)
        self._registry.create(POD_KIND, {"metadata": metadata, "spec": template["spec"]})
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self._status(POD_KIND, f"{SERVERS}-0", ready)

    def _begin(self, name: str) -> None:
        job = self._registry.get(JOB_KIND, NAMESPACE, name)
        uid, template = job["metadata"]["uid"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": uid, "controller": True}
        metadata = {
            "name": f"{name}-x",
            "namespace": NAMESPACE,
            "labels": {**template["metadata"]["labels"], "controller-uid": uid},
            "ownerReferences": [owner],
        }
        self._status(JOB_KIND, name, {"active": 1, "startTime": self._now()})
        if self._registry.find(POD_KIND, NAMESPACE, f"{name}-x"):
            # Of a namesake that was deleted; the collector would be too late.
            self._registry.delete(POD_KIND, NAMESPACE, f"{name}-x", grace_seconds=0)
        self._registry.create(POD_KIND, {"metadata": metadata, "spec": template["spec"]})
        running = {"name": "backup", "state": {"running": {}}, "ready": True}
        self._status(POD_KIND, f"{name}-x", {"phase": "Running", "containerStatuses": [running]})

    def _end(self, name: str) -> None:
        job = self._registry.get(JOB_KIND, NAMESPACE, name)
        moment = self._registry.now()
        told = encode(
            RunResult(
                run_id=job["metadata"]["uid"], outcome=Outcome.SUCCEEDED, started=moment, finished=moment
            )
        )
        ended = {"exitCode": 0, "message": told.decode(), "finishedAt": self._now()}
        container = {"name": "backup", "state": {"terminated": ended}, "ready": False}
        self._status(POD_KIND, f"{name}-x", {"phase": "Succeeded", "containerStatuses": [container]})
        done = {"type": "Complete", "status": "True", "lastTransitionTime": self._now()}
        self._status(JOB_KIND, name, {"succeeded": 1, "conditions": [done], "completionTime": self._now()})

    def _status(self, gr: GroupResource, name: str, status: Obj) -> None:
        self._registry.modify(
            gr, (NAMESPACE, name), lambda old: old | {"status": status}, subresource="status"
        )

    def _now(self) -> str:
        return self._registry.now().strftime("%Y-%m-%dT%H:%M:%SZ")

    # --- what is checked -----------------------------------------------------------------------------

    def _check_status(self, old: Obj, new: Obj) -> None:
        before, after = old.get("status") or {}, new.get("status") or {}
        if after.get("observedGeneration", 0) < before.get("observedGeneration", 0):
            raise self._trace.fail("checks", "observedGeneration goes back")
        runs = {run["runID"]: run for run in after.get("history", ())}
        for run in before.get("history", ()):
            if run["status"] != "Running" and runs.get(run["runID"], run) != run:
                raise self._trace.fail("checks", f"a settled run changes: {run} → {runs[run['runId']]}")

    def _count(self, job: Obj) -> None:
        metadata = job["metadata"]
        notes = metadata.get("annotations") or {}
        # Not by its name: the plain one is free again when the first Job is no longer kept.
        asked = (metadata["labels"][labels.GENERATION], notes.get(labels.RUN_NOW), notes.get(ATTEMPT))
        key = (metadata["ownerReferences"][0]["uid"], *asked)
        self._runs[key] += 1
        if self._runs[key] > 1 and not self._broken:
            raise self._trace.fail("checks", f"Job {metadata['name']} is made again")

    def unfinished(self) -> Iterator[str]:
        """What is not yet as its users want it."""
        owners = {each["metadata"]["uid"] for each in self._registry.list(BACKUP_KIND)[0]}
        for job in self._registry.list(JOB_KIND)[0]:
            name, status = job["metadata"]["name"], job.get("status") or {}
            if job["metadata"]["ownerReferences"][0]["uid"] not in owners:
                yield f"Job {name} has no owner"
            elif not status.get("conditions"):
                yield f"Job {name} runs"
        for backup in self._registry.list(BACKUP_KIND)[0]:
            yield from self._unfinished(backup)

    def _unfinished(self, backup: Obj) -> Iterator[str]:
        metadata, status = backup["metadata"], backup.get("status") or {}
        wanted = _phase_of(backup["spec"])
        if metadata.get("deletionTimestamp"):
            yield f"{metadata['name']} is still being deleted"
        elif status.get("observedGeneration") != metadata["generation"]:
            yield f"{metadata['name']} has seen generation {status.get('observedGeneration')}"
        elif status.get("phase") != wanted and not (self._broken and status.get("phase") == "Failed"):
            yield f"{metadata['name']} is {status.get('phase')}, not {wanted}: {status.get('message')}"
        for cron in self._registry.list(CRON_KIND)[0]:
            is_its_own = cron["metadata"]["ownerReferences"][0]["uid"] == metadata["uid"]
            if is_its_own and cron["spec"]["suspend"] != (wanted != "Scheduled"):
                yield f"{metadata['name']} is {wanted}, and suspend of its CronJob {cron['spec']['suspend']}"


def _phase_of(spec: Obj) -> str:
    """What a backup comes to."""
    if (spec.get("retention") or {}).get("maxAge") == SPOILED:
        return "Failed"
    if spec.get("schedule"):
        return "Suspended" if spec.get("suspend") else "Scheduled"
    return "Completed"
