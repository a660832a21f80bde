"""A small world for plans: objects as JSON, what carrying out a change does to them, and how time goes on.

Guarantee: the few rules of Kubernetes that plans lean on hold (names are taken once, uids tell namesakes
apart, finalizers hold a deletion, rolling updates go one pod at a time, Jobs end by their conditions).
Non-guarantee: everything else of Kubernetes; the contract tests are for that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from controller.api import cached, objects, targets
from controller.api.backup import ALLOW_FROM_ANNOTATION, parse_spec
from controller.api.model import InvalidObject
from controller.api.status import BackupStatus
from controller.kube.resource import Resource
from controller.plan.causes import Warned
from controller.plan.changes import (
    Apply,
    Change,
    Create,
    Delete,
    EmitEvent,
    Patch,
    PatchSidecar,
    SetFinalizer,
)
from controller.plan.observed import Attempt, DeploymentSeen, Invalid, Observed, RunSeen, Settings, Unknown
from controller.plan.plan import Plan, plan
from controller.resources import labels
from controller.wire.messages import Outcome, RunResult, SavedDatabase, encode

Json = dict[str, Any]
T = TypeVar("T")

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NAMESPACE = "prod"
SETTINGS = Settings(image="operator:1")
COLLECTIONS = (
    "deployments",
    "databases",
    "stateful_sets",
    "pods",
    "runs",
    "neighbours",
    "roles",
    "role_bindings",
)
SINGLES = ("cron_job", "service_account", "claim")


def slim(content: Json, as_: type[T]) -> T:
    """As the cache would hold it."""
    return msgspec.json.decode(msgspec.json.encode(content), type=as_)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass
class World:
    """Everything around one backup."""

    spec: Json
    name: str = "nightly"
    annotations: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    finalizers: list[str] = field(default_factory=list)
    deleting: bool = False
    status: BackupStatus = field(default_factory=BackupStatus)
    now: datetime = START
    stored: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    """By plural, namespace and name."""
    outcome: Outcome = Outcome.SUCCEEDED
    error_reason: str = ""
    verified: bool | None = None
    mount_trouble: str = ""
    """What the kubelet says about the run's pod that waits for a volume; empty when there is none."""
    events: list[EmitEvent] = field(default_factory=list)
    made_jobs: list[str] = field(default_factory=list)
    reverting: bool = False
    """Another controller takes the sidecar out again whenever it sees it."""
    _serial: int = 0

    # --- building --------------------------------------------------------------------------------

    def put(self, plural: str, content: Json) -> Json:
        metadata = content["metadata"]
        metadata.setdefault("namespace", NAMESPACE)
        self._serial += 1
        metadata.setdefault("uid", f"uid-{plural}-{self._serial}")
        metadata["resourceVersion"] = str(self._serial)
        metadata.setdefault("creationTimestamp", stamp(self.now))
        self.stored[plural, metadata["namespace"], metadata["name"]] = content
        return content

    def all(self, plural: str) -> list[Json]:
        return [content for (kind, _, _), content in self.stored.items() if kind == plural]

    def one(self, plural: str, name: str, namespace: str = NAMESPACE) -> Json | None:
        return self.stored.get((plural, namespace, name))

    def cluster(
        self, name: str = "graph", servers: int = 3, namespace: str = NAMESPACE, allow: str = ""
    ) -> None:
        note = {ALLOW_FROM_ANNOTATION: allow} if allow else {}
        self.put(
            "neo4jenterpriseclusters",
            {
                "metadata": {"name": name, "namespace": namespace, "annotations": note},
                "spec": {"topology": {"servers": servers}},
            },
        )
        self.servers(f"{name}-server", servers, namespace)

    def servers(self, name: str, replicas: int, namespace: str = NAMESPACE, **metadata: Any) -> Json:
        """A StatefulSet that is rolled out, and its pods."""
        content = self.put(
            "statefulsets",
            {
                "metadata": {"name": name, "namespace": namespace, "generation": 1, **metadata},
                "spec": {
                    "replicas": replicas,
                    "template": {
                        "metadata": {},
                        "spec": {
                            "containers": [
                                {
                                    "name": "neo4j",
                                    "image": "neo4j:5.26.0-enterprise",
                                    "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                                }
                            ],
                        },
                    },
                },
            },
        )
        for index in range(replicas):
            self._pod(content, index)
        self._settle(content)
        return content

    def _pod(self, stateful_set: Json, index: int) -> Json:
        metadata, template = stateful_set["metadata"], stateful_set["spec"]["template"]
        owner = {"kind": "StatefulSet", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        return self.put(
            "pods",
            {
                "metadata": {
                    "name": f"{metadata['name']}-{index}",
                    "namespace": metadata["namespace"],
                    "annotations": dict(template["metadata"].get("annotations") or {}),
                    "ownerReferences": [owner],
                },
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            },
        )

    def _pods_of(self, owner: Json) -> list[Json]:
        uid = owner["metadata"]["uid"]
        pods = [pod for pod in self.all("pods") if pod["metadata"]["ownerReferences"][0]["uid"] == uid]
        return sorted(pods, key=lambda pod: pod["metadata"]["name"])

    # --- looking ---------------------------------------------------------------------------------

    @property
    def backup(self) -> cached.Neo4jBackup:
        metadata: Json = {
            "name": self.name,
            "namespace": NAMESPACE,
            "uid": "uid-backup",
            "resourceVersion": "1",
            "generation": self.generation,
            "annotations": self.annotations,
            "finalizers": self.finalizers,
        }
        if self.deleting:
            metadata["deletionTimestamp"] = stamp(self.now)
        return slim({"metadata": metadata, "spec": self.spec}, cached.Neo4jBackup)

    def observe(self) -> Observed:
        where = self.spec.get("target", {}).get("namespace") or NAMESPACE
        claim = (self.spec.get("storage", {}).get("pvc") or {}).get("name") or f"{self.name}-backup"
        return Observed(
            backup=self.backup,
            spec=self._parsed(),
            status=self.status,
            settings=SETTINGS,
            deployments=tuple(
                DeploymentSeen(
                    targets.read_cluster(slim(item, targets.Neo4jEnterpriseCluster)),
                    item["metadata"].get("annotations", {}).get(ALLOW_FROM_ANNOTATION, ""),
                )
                for item in self._in("neo4jenterpriseclusters", where)
            ),
            databases=tuple(
                targets.read_database(slim(item, targets.Neo4jDatabase))
                for item in self._in("neo4jdatabases", where)
            ),
            stateful_sets=tuple(slim(item, objects.StatefulSet) for item in self._in("statefulsets", where)),
            pods=tuple(slim(item, objects.Pod) for item in self._in("pods", where)),
            runs=tuple(self._run(item) for item in self.all("jobs") if self._is_ours(item)),
            neighbours=tuple(slim(item, objects.Job) for item in self.all("jobs") if not self._is_ours(item)),
            cron_job=self._found("cronjobs", f"{self.name}-backup-cron", objects.CronJob),
            service_account=self._found("serviceaccounts", f"{self.name}-backup", objects.Object),
            roles=tuple(slim(item, objects.Object) for item in self.all("roles")),
            role_bindings=tuple(slim(item, objects.Object) for item in self.all("rolebindings")),
            claim=self._found("persistentvolumeclaims", claim, objects.PersistentVolumeClaim),
        )

    def _parsed(self) -> Any:
        try:
            return parse_spec(msgspec.json.encode(self.spec))
        except InvalidObject as error:
            return Invalid(error.problems)

    def _in(self, plural: str, namespace: str) -> list[Json]:
        return [item for item in self.all(plural) if item["metadata"]["namespace"] == namespace]

    def _found(self, plural: str, name: str, as_: type[T]) -> T | None:
        content = self.one(plural, name)
        return None if content is None else slim(content, as_)

    def _is_ours(self, job: Json) -> bool:
        return bool(job["metadata"].get("labels", {}).get(labels.BACKUP_UID) == "uid-backup")

    def _run(self, job: Json) -> RunSeen:
        pods = [
            pod
            for pod in self.all("pods")
            if pod["metadata"]["ownerReferences"][0]["uid"] == job["metadata"]["uid"]
        ]
        said = (Warned(reason="FailedMount", message=self.mount_trouble),) if self.mount_trouble else ()
        return RunSeen(slim(job, objects.Job), tuple(Attempt(slim(pod, objects.Pod), said) for pod in pods))

    # --- acting ----------------------------------------------------------------------------------

    def round(self, *, crash_after: int | None = None, write_status: bool = True) -> Plan:
        """Plan and carry out, wholly or until a crash."""
        planned = plan(self.observe(), self.now)
        done = planned.changes if crash_after is None else planned.changes[:crash_after]
        for change in done:
            self.carry_out(change)
        if write_status and (crash_after is None or crash_after >= len(planned.changes)):
            if planned.status is not None:
                self.status = planned.status
            self.events += planned.announcements
        return planned

    def carry_out(self, change: Change) -> None:
        match change:
            case EmitEvent():
                self.events.append(change)
            case SetFinalizer():
                self.finalizers = ["backup.neo4j.com/cleanup"] if change.present else []
            case Create() | Apply():
                self._write(change)
            case Patch():
                content = self.one(change.resource.plural, change.name, change.namespace)
                if content is not None:
                    content["spec"] |= change.patch["spec"]
            case Delete():
                self._delete(change.resource, change)
            case PatchSidecar():
                self._patch_sidecar(change)

    def _write(self, change: Create | Apply) -> None:
        document = copy.deepcopy(change.document)
        metadata, plural = document["metadata"], change.resource.plural
        existing = self.one(plural, metadata["name"], metadata["namespace"])
        if existing is not None and isinstance(change, Create):
            return
        if existing is not None:
            metadata["uid"] = existing["metadata"]["uid"]
        if existing is None and plural == "jobs":
            self.made_jobs.append(metadata["name"])
        self.put(plural, document)

    def _delete(self, resource: Resource, change: Delete) -> None:
        content = self.one(resource.plural, change.name, change.namespace)
        if content is None or content["metadata"]["uid"] != change.uid:
            return
        del self.stored[resource.plural, change.namespace, change.name]
        for pod in [p for p in self.all("pods") if p["metadata"]["ownerReferences"][0]["uid"] == change.uid]:
            del self.stored["pods", pod["metadata"]["namespace"], pod["metadata"]["name"]]

    def _patch_sidecar(self, change: PatchSidecar) -> None:
        content = self.one("statefulsets", change.name, change.namespace)
        assert content is not None
        metadata, template = content["metadata"], content["spec"]["template"]
        applied = change.document["spec"]["template"]
        metadata.setdefault("annotations", {}).update(change.document["metadata"]["annotations"])
        template["metadata"]["annotations"] = applied["metadata"]["annotations"]
        pod = template["spec"]
        pod["containers"] = [pod["containers"][0], *applied["spec"]["containers"]]
        pod["initContainers"] = applied["spec"]["initContainers"]
        pod["volumes"] = applied["spec"]["volumes"]
        self._changed(content)

    def _changed(self, stateful_set: Json) -> None:
        stateful_set["metadata"]["generation"] += 1
        self.put("statefulsets", stateful_set)

    # --- time ------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Everybody else does one thing."""
        self.now += timedelta(seconds=30)
        for stateful_set in self.all("statefulsets"):
            self._roll(stateful_set)
        for claim in self.all("persistentvolumeclaims"):
            claim["status"] = {"phase": "Bound"}
        for job in self.all("jobs"):
            self._work(job)

    def _roll(self, stateful_set: Json) -> None:
        if self.reverting and len(stateful_set["spec"]["template"]["spec"]["containers"]) > 1:
            pod_spec = stateful_set["spec"]["template"]["spec"]
            pod_spec["containers"] = pod_spec["containers"][:1]
            pod_spec["initContainers"], pod_spec["volumes"] = [], []
            stateful_set["spec"]["template"]["metadata"]["annotations"] = {}
            self._changed(stateful_set)
            return
        template = stateful_set["spec"]["template"]["metadata"].get("annotations") or {}
        for pod in reversed(self._pods_of(stateful_set)):
            if pod["metadata"].get("annotations", {}) != template:
                pod["metadata"]["annotations"] = dict(template)
                pod["metadata"]["uid"] += "'"
                stateful_set["status"] |= {"observedGeneration": stateful_set["metadata"]["generation"]}
                stateful_set["status"] |= {"updateRevision": f"r{stateful_set['metadata']['generation']}"}
                return
        self._settle(stateful_set)

    def _settle(self, stateful_set: Json) -> None:
        replicas = stateful_set["spec"]["replicas"]
        pods = self._pods_of(stateful_set)
        ready = sum(pod["status"]["conditions"][0]["status"] == "True" for pod in pods)
        revision = f"r{stateful_set['metadata']['generation']}"
        stateful_set["status"] = {
            "observedGeneration": stateful_set["metadata"]["generation"],
            "replicas": replicas,
            "readyReplicas": ready,
            "updatedReplicas": replicas,
            "currentRevision": revision,
            "updateRevision": revision,
        }

    def _work(self, job: Json) -> None:
        status = job.setdefault("status", {})
        if status.get("conditions"):
            return
        if self.mount_trouble:
            self._runner(job, {"waiting": {"reason": "ContainerCreating"}})
            return
        if not status.get("startTime"):
            status["startTime"] = stamp(self.now)
            self._runner(job, {"running": {"startedAt": stamp(self.now)}})
            return
        good = self.outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS)
        result = self.result(job["metadata"]["uid"])
        ended = {
            "exitCode": 0 if good else 1,
            "message": encode(result).decode(),
            "finishedAt": stamp(self.now),
        }
        self._runner(job, {"terminated": ended})
        kind = "Complete" if good else "Failed"
        status["conditions"] = [{"type": kind, "status": "True", "lastTransitionTime": stamp(self.now)}]
        if good:
            status["completionTime"] = stamp(self.now)

    def result(self, run_id: str) -> RunResult:
        saved = SavedDatabase(
            name="neo4j", server="graph-server-2", role="secondary", artifact="a", size=2048
        )
        good = self.outcome in (Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS)
        return RunResult(
            run_id=run_id,
            outcome=self.outcome,
            started=self.now - timedelta(seconds=60),
            finished=self.now,
            databases=(saved,) if good else (),
            artifact_count=1,
            size=2048,
            duration_seconds=60.0,
            error="" if good else "no such bucket: backups" if self.error_reason else "it went wrong",
            error_reason=self.error_reason,
            verified=self.verified,
        )

    def _runner(self, job: Json, state: Json) -> None:
        metadata = job["metadata"]
        owner = {"kind": "Job", "name": metadata["name"], "uid": metadata["uid"], "controller": True}
        self.put(
            "pods",
            {
                "metadata": {
                    "name": f"{metadata['name']}-x",
                    "namespace": metadata["namespace"],
                    "ownerReferences": [owner],
                },
                "spec": {"nodeName": "node1"},
                "status": {"phase": "Running", "containerStatuses": [{"name": "backup", "state": state}]},
            },
        )

    def fire(self) -> None:
        """The CronJob's time has come."""
        for cron in self.all("cronjobs"):
            if cron["spec"]["suspend"]:
                continue
            template = copy.deepcopy(cron["spec"]["jobTemplate"])
            owner = {
                "kind": "CronJob",
                "name": cron["metadata"]["name"],
                "uid": cron["metadata"]["uid"],
                "controller": True,
            }
            name = f"{cron['metadata']['name']}-{self._serial}"
            metadata = template["metadata"] | {"name": name, "ownerReferences": [owner]}
            self.put("jobs", {"metadata": metadata, "spec": template["spec"]})

    def run_to_rest(self, rounds: int = 60) -> Plan:
        """Plan, act and let time pass until nothing changes any more."""
        for _ in range(rounds):
            before = self.snapshot()
            planned = self.round()
            self.tick()
            if not planned.changes and self.snapshot() == before:
                return planned
        raise AssertionError(f"not at rest after {rounds} rounds: {planned.reason}; {planned.changes}")

    def snapshot(self) -> object:
        progress = msgspec.structs.replace(self.status, next_run_time=None, conditions=())
        return copy.deepcopy(self.stored), progress, [*self.finalizers]


def shuffled(observed: Observed, order: Iterable[int]) -> Observed:
    """The same sight in another order."""
    keys = [*order]

    def mix(items: Any) -> Any:
        ranked = sorted(range(len(items)), key=lambda index: (keys[index % len(keys)], -index))
        return tuple(items[index] for index in ranked)

    names = (
        "deployments",
        "databases",
        "stateful_sets",
        "pods",
        "runs",
        "neighbours",
        "roles",
        "role_bindings",
    )
    return replace(observed, **{name: mix(getattr(observed, name)) for name in names})


def blinded(observed: Observed, part: str) -> Observed:
    """The same sight, but for one part that could not be looked at."""
    hidden: dict[str, Any] = {part: Unknown("the cache is empty")}
    return replace(observed, **hidden)
