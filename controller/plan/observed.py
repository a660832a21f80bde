"""What was seen of one backup and its surroundings: the only thing that a plan is made from.

Guarantee: frozen; "could not look" (:class:`Unknown`) is a different value from "is not there"
(``None`` or an empty tuple); the order of every tuple is meaningless. The objects are slim, so a
server's defaults and most foreign fields are not even visible.

Non-guarantee: the parts were not read at one instant. A plan must be safe on a view that is stale,
which is why every dangerous change names a uid.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from controller.api.backup import BackupSpec
from controller.api.cached import Neo4jBackup
from controller.api.objects import (
    CronJob,
    Job,
    Object,
    PersistentVolumeClaim,
    Pod,
    StatefulSet,
)
from controller.api.status import BackupStatus
from controller.api.targets import Database, Deployment
from controller.kube.resource import Resource
from controller.plan.causes import Cause, Warned
from controller.plan.kinds import CRON_JOBS
from controller.wire.messages import Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """We could not look; the reason is one line."""

    reason: str


Seen: TypeAlias = T | Unknown


@dataclass(frozen=True, slots=True)
class Invalid:
    """The spec cannot be used as it stands; every problem says what to write instead."""

    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator itself was told, and what the server can do."""

    image: str
    """The operator's own image: the runner's, and the source of the agent."""
    image_pull_policy: str = "IfNotPresent"
    cron_jobs: Resource = CRON_JOBS
    time_zone: str = ""
    """``Etc/UTC`` where CronJobs know the field."""
    log_level: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One pod of a run."""

    pod: Pod
    events: Seen[tuple[Warned, ...]] = ()
    progress: Progress | None = None
    """Newest progress line of its log; None when there is none, or when it could not be read."""


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A Job of this backup, made by us or by its CronJob, with its pods."""

    job: Job
    attempts: Seen[tuple[Attempt, ...]] = ()
    events: Seen[tuple[Warned, ...]] = ()


@dataclass(frozen=True, slots=True)
class DeploymentSeen:
    """A cluster or standalone, and whom it allows to back it up."""

    deployment: Deployment
    allow_from: str = ""
    """The consent annotation: namespaces, separated by commas, or ``*``."""


@dataclass(frozen=True, slots=True)
class Observed:
    """One backup and everything that deciding about it needs."""

    backup: Neo4jBackup
    spec: BackupSpec | Invalid
    status: BackupStatus
    settings: Settings
    deployments: Seen[tuple[DeploymentSeen, ...]] = ()
    """Of the target's namespace; so are the databases, the StatefulSets and the pods."""
    databases: Seen[tuple[Database, ...]] = ()
    stateful_sets: Seen[tuple[StatefulSet, ...]] = ()
    pods: Seen[tuple[Pod, ...]] = ()
    runs: Seen[tuple[RunSeen, ...]] = ()
    neighbours: Seen[tuple[Job, ...]] = ()
    """Unfinished Jobs of other backups with a target in the same namespace."""
    cron_job: Seen[CronJob | None] = None
    service_account: Seen[Object | None] = None
    roles: Seen[tuple[Object, ...]] = ()
    """Of this backup, in any namespace; so are the bindings."""
    role_bindings: Seen[tuple[Object, ...]] = ()
    claim: Seen[PersistentVolumeClaim | None] = None
    denied: Cause | None = None
    """Why the server refused what was tried a moment ago: a name that is taken, a right, a quota."""

    @property
    def target_namespace(self) -> str:
        """Where the target is, as far as the spec can be read."""
        spec = self.spec
        named = None if isinstance(spec, Invalid) else spec.target.namespace
        return named or self.backup.namespace
