"""Kubernetes objects as the cache holds them: just the fields that planning needs.

Guarantee: frozen, without cycles (hence ``gc=False``), decoded straight from JSON with everything else
dropped, so that a cache of thousands of objects stays small and fast. Every object has ``namespace``,
``name``, ``uid`` and ``resource_version``, as the store asks for. Fields that are copied verbatim
elsewhere stay JSON text (``msgspec.Raw``), detached from the response they came in.

Non-guarantee: these are not complete objects and are never written back.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, UnsetType

_set = msgspec.structs.force_setattr


class Slim(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the slim types."""


def detach(struct: msgspec.Struct, *names: str) -> None:
    # A Raw is a view that would keep the whole list response alive.
    for name in names:
        value = getattr(struct, name)
        if isinstance(value, Raw):
            _set(struct, name, value.copy())


class OwnerReference(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Who an object belongs to."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None


class Identity(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Which object this is, and which state of it."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    deletion_timestamp: datetime | None = None
    finalizers: tuple[str, ...] | None = None


class ObjectMeta(Identity, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Metadata, without managedFields."""

    creation_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class Entity(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Anything with a name."""

    metadata: Identity = msgspec.field(default_factory=Identity)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def resource_version(self) -> str:
        return self.metadata.resource_version

    @property
    def generation(self) -> int:
        return self.metadata.generation

    @property
    def finalizers(self) -> tuple[str, ...]:
        return self.metadata.finalizers or ()

    @property
    def is_deleting(self) -> bool:
        return self.metadata.deletion_timestamp is not None


class Object(Entity, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Anything with metadata; by itself it serves where only existence and labels matter."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)

    @property
    def labels(self) -> dict[str, str]:
        return self.metadata.labels or {}

    @property
    def annotations(self) -> dict[str, str]:
        return self.metadata.annotations or {}

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that controls this object, if any."""
        return next((owner for owner in self.metadata.owner_references or () if owner.controller), None)


class Condition(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A condition of a built-in object."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


# --- StatefulSet ---------------------------------------------------------------------------------


class Container(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A container of a template; what a sidecar copies from it is JSON text."""

    name: str = ""
    image: str = ""
    image_pull_policy: str = ""
    env: Raw | UnsetType = UNSET
    env_from: Raw | UnsetType = UNSET
    volume_mounts: Raw | UnsetType = UNSET
    security_context: Raw | UnsetType = UNSET

    def __post_init__(self) -> None:
        detach(self, "env", "env_from", "volume_mounts", "security_context")


class Named(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A list entry of which only the name matters."""

    name: str = ""


class PodTemplateSpec(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The pod that a StatefulSet makes."""

    containers: tuple[Container, ...] = ()
    init_containers: tuple[Container, ...] | None = None
    volumes: tuple[Named, ...] | None = None
    security_context: Raw | UnsetType = UNSET
    image_pull_secrets: tuple[Named, ...] | None = None

    def __post_init__(self) -> None:
        detach(self, "security_context")


class PodTemplate(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A template with its metadata."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PodTemplateSpec = msgspec.field(default_factory=PodTemplateSpec)


class LabelSelector(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The equality part of a selector."""

    match_labels: dict[str, str] | None = None


class StatefulSetSpec(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a StatefulSet wants."""

    replicas: int | None = None
    service_name: str = ""
    selector: LabelSelector = msgspec.field(default_factory=LabelSelector)
    template: PodTemplate = msgspec.field(default_factory=PodTemplate)


class StatefulSetStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a StatefulSet has."""

    observed_generation: int = 0
    replicas: int = 0
    ready_replicas: int = 0
    updated_replicas: int = 0
    current_revision: str = ""
    update_revision: str = ""


class StatefulSet(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The pods of a deployment of Neo4j."""

    spec: StatefulSetSpec = msgspec.field(default_factory=StatefulSetSpec)
    status: StatefulSetStatus = msgspec.field(default_factory=StatefulSetStatus)

    @property
    def replicas(self) -> int:
        """How many pods are wanted; the API's default is one."""
        return 1 if self.spec.replicas is None else self.spec.replicas

    @property
    def is_rolled_out(self) -> bool:
        """Every pod is ready and of the current template."""
        status = self.status
        return (
            status.observed_generation >= self.generation
            and status.ready_replicas == status.updated_replicas == self.replicas
            and status.current_revision == status.update_revision
        )


# --- Pod -----------------------------------------------------------------------------------------


class Waiting(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A container that has not started."""

    reason: str = ""
    message: str = ""


class Running(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A container that runs."""

    started_at: datetime | None = None


class Terminated(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A container that ended; ``message`` is its termination message."""

    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Exactly one is set, or none yet."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What the kubelet says about a container."""

    name: str = ""
    ready: bool = False
    restart_count: int = 0
    image: str = ""
    state: ContainerState = msgspec.field(default_factory=ContainerState)
    last_state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodSpec(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The parts of a running pod's spec that matter."""

    node_name: str = ""
    containers: tuple[Named, ...] = ()


class PodStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What the kubelet and the scheduler say about a pod."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    # Not podIp: Kubernetes writes the acronym in capitals.
    pod_ip: str = msgspec.field(default="", name="podIP")
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None


class Pod(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """A pod, of Neo4j or of a backup run."""

    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)

    def condition(self, type_: str) -> Condition | None:
        """The condition of that type, or None."""
        return next((item for item in self.status.conditions or () if item.type == type_), None)

    def container(self, name: str) -> ContainerStatus | None:
        """The status of that container, or None while the kubelet has not spoken."""
        return next((item for item in self.status.container_statuses or () if item.name == name), None)

    @property
    def is_ready(self) -> bool:
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True" and not self.is_deleting


# --- Job, CronJob, PersistentVolumeClaim ---------------------------------------------------------


class JobSpec(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a Job wants."""

    backoff_limit: int | None = None


class JobStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What became of a Job. Only its conditions are final; ``failed`` counts attempts."""

    active: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[Condition, ...] | None = None


class Job(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """One backup run."""

    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus = msgspec.field(default_factory=JobStatus)

    def final_condition(self) -> Condition | None:
        """``Complete`` or ``Failed`` once that is settled."""
        ends = ("Complete", "Failed")
        return next((c for c in self.status.conditions or () if c.type in ends and c.status == "True"), None)


class CronJobSpec(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a CronJob wants."""

    schedule: str = ""
    suspend: bool = False


class CronJobStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a CronJob did."""

    last_schedule_time: datetime | None = None
    last_successful_time: datetime | None = None


class CronJob(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The schedule of a backup, of batch/v1 or batch/v1beta1."""

    spec: CronJobSpec = msgspec.field(default_factory=CronJobSpec)
    status: CronJobStatus = msgspec.field(default_factory=CronJobStatus)


class PersistentVolumeClaimStatus(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """What a claim has."""

    phase: str = ""
    capacity: dict[str, str] | None = None


class PersistentVolumeClaim(Object, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The volume of ``storage.type: pvc``."""

    status: PersistentVolumeClaimStatus = msgspec.field(default_factory=PersistentVolumeClaimStatus)
