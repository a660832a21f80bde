"""The live caches that one operator works from.

Guarantee: one view of each kind, whether all namespaces are watched or a list of them, with the indexes
that observing and waking need. Non-guarantee: as old as the informers are.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from controller.api import cached, objects, targets
from controller.api.backup import GROUP, VERSION
from controller.kube.client import Client
from controller.kube.informer import Handler, Informer
from controller.kube.ownwrites import Place
from controller.kube.resource import PODS, Resource
from controller.kube.store import Indexes
from controller.plan import kinds
from controller.reconcile import indexes
from controller.resources import labels

T = TypeVar("T", bound=objects.Entity)

BACKUP_UID = "backup-uid"
CONTROLLER_UID = "controller-uid"


class Collection(Generic[T]):
    """One kind: an informer for all namespaces, or one for each that is watched."""

    def __init__(self, informers: Sequence[Informer[T]]) -> None:
        self.informers = tuple(informers)

    @property
    def has_synced(self) -> bool:
        """The first complete list of every part is there."""
        return all(informer.has_synced for informer in self.informers)

    @property
    def resource(self) -> Resource:
        """Where the kind is on the API server."""
        return self.informers[0].resource

    @property
    def plural(self) -> str:
        """What the kind is called in a message."""
        return self.resource.plural

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None."""
        found = (informer.store.get(namespace, name) for informer in self.informers)
        return next((item for item in found if item is not None), None)

    def within(self, namespace: str) -> list[T]:
        """All objects of a namespace."""
        return [item for informer in self.informers for item in informer.store.list(namespace)]

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """The objects that ``index`` finds under ``value``."""
        return [item for informer in self.informers for item in informer.store.by_index(index, value)]

    def all(self) -> list[T]:
        """All objects."""
        return [item for informer in self.informers for item in informer.store.list()]

    def version_of(self, namespace: str) -> str | None:
        """The version that the cache of a namespace is at; None when it is not watched."""
        return next((item.store.version for item in self.informers if item.covers(namespace)), None)

    def add_handler(self, handler: Handler[T]) -> None:
        """Tell ``handler`` of every change."""
        for informer in self.informers:
            informer.add_handler(handler)


@dataclass(frozen=True, slots=True)
class Caches:
    """All kinds that an operator looks at."""

    namespaces: tuple[str, ...]
    """Empty: all of them."""
    backups: Collection[cached.Neo4jBackup]
    clusters: Collection[targets.Neo4jEnterpriseCluster]
    standalones: Collection[targets.Neo4jEnterpriseStandalone]
    databases: Collection[targets.Neo4jDatabase]
    stateful_sets: Collection[objects.StatefulSet]
    pods: Collection[objects.Pod]
    jobs: Collection[objects.Job]
    cron_jobs: Collection[objects.CronJob]
    claims: Collection[objects.PersistentVolumeClaim]
    service_accounts: Collection[objects.Object]
    roles: Collection[objects.Object]
    role_bindings: Collection[objects.Object]

    def watches(self, namespace: str) -> bool:
        """Whether anything of ``namespace`` can be seen at all."""
        return not self.namespaces or namespace in self.namespaces

    def version_of(self, resource: Resource, namespace: str) -> str | None:
        """The version that the cache of these objects is at; None when there is no such cache."""
        collection = self._of(resource)
        return None if collection is None else collection.version_of(namespace)

    def shows(self, place: Place, uid: str) -> bool:
        """Whether this very object is there and not on its way out."""
        collection = self._of(place.resource)
        found = None if collection is None else collection.get(place.namespace, place.name)
        return found is not None and found.uid == uid and not found.is_deleting

    def _of(self, resource: Resource) -> Collection[Any] | None:
        return next((item for item in self._collections if item.resource == resource), None)

    @property
    def informers(self) -> tuple[Informer[Any], ...]:
        """All of them, to be run."""
        return tuple(informer for item in self._collections for informer in item.informers)

    @property
    def _collections(self) -> tuple[Collection[Any], ...]:
        return (
            self.backups,
            self.clusters,
            self.standalones,
            self.databases,
            self.stateful_sets,
            self.pods,
            self.jobs,
            self.cron_jobs,
            self.claims,
            self.service_accounts,
            self.roles,
            self.role_bindings,
        )


def build_caches(client: Client, namespaces: tuple[str, ...], cron_jobs: Resource) -> Caches:
    """Informers for everything, not yet running."""

    def of(
        resource: Resource, type_: type[T], indexes: Indexes[T], selector: str | None = None
    ) -> Collection[T]:
        where: tuple[str | None, ...] = namespaces or (None,)
        # Streamed: at version 0 a server answers with the whole collection at once, whatever the limit,
        # and a container's memory is sized for its peak (docs/contributing/machinery.md has the figures).
        return Collection(
            [
                Informer(
                    client,
                    resource,
                    type_,
                    namespace=one,
                    label_selector=selector,
                    indexes=indexes,
                    streamed=True,
                )
                for one in where
            ]
        )

    ours = labels.SELECTOR_ALL
    none: Indexes[Any] = Indexes.of({})
    by_backup: Indexes[Any] = Indexes.of({BACKUP_UID: backup_uid_of})
    return Caches(
        namespaces=namespaces,
        backups=of(
            kinds.BACKUPS,
            cached.Neo4jBackup,
            indexes.OF_BACKUPS,
        ),
        clusters=of(_foreign(targets.CLUSTER), targets.Neo4jEnterpriseCluster, none),
        standalones=of(_foreign(targets.STANDALONE), targets.Neo4jEnterpriseStandalone, none),
        databases=of(_foreign(targets.DATABASE), targets.Neo4jDatabase, none),
        stateful_sets=of(kinds.STATEFUL_SETS, objects.StatefulSet, none),
        pods=of(PODS, objects.Pod, Indexes.of({CONTROLLER_UID: _controller_uid})),
        jobs=of(kinds.JOBS, objects.Job, by_backup, ours),
        cron_jobs=of(cron_jobs, objects.CronJob, by_backup, ours),
        claims=of(kinds.CLAIMS, objects.PersistentVolumeClaim, none),
        service_accounts=of(kinds.SERVICE_ACCOUNTS, objects.Object, by_backup, ours),
        roles=of(kinds.ROLES, objects.Object, by_backup, ours),
        role_bindings=of(kinds.ROLE_BINDINGS, objects.Object, by_backup, ours),
    )


def backup_uid_of(item: objects.Object) -> tuple[str, ...]:
    """The backup that made an object."""
    uid = item.labels.get(labels.BACKUP_UID)
    return (uid,) if uid else ()


def _controller_uid(pod: objects.Pod) -> tuple[str, ...]:
    return (pod.controller.uid,) if pod.controller else ()


def _foreign(kind: targets.Kind) -> Resource:
    return Resource(GROUP, VERSION, kind.plural, kind.kind)
