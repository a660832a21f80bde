"""Which change of which object wakes which backups.

Guarantee: whatever a plan depends on wakes it; the echoes of its own writes do not, whether of its
status or of what it makes. Handlers only put keys into a queue; what the first list of a kind brings goes
to ``wake_low``, so that a change is not held up by everything that was there before. Non-guarantee: a key
is woken too often rather than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from controller.api.cached import Neo4jBackup
from controller.api.objects import Entity, Job, Object, PersistentVolumeClaim, Pod
from controller.kube.informer import Handler
from controller.kube.ownwrites import OwnWrites, Place
from controller.kube.resource import Resource
from controller.kube.store import Key, key_of
from controller.plan.runs import DEPLOYMENT
from controller.reconcile.caches import Caches, Collection, backup_uid_of
from controller.reconcile.indexes import CLAIM, TARGET_NAMESPACE, UID, is_asked_anew
from controller.resources import labels

T = TypeVar("T", bound=Entity)


class Waker:
    """Puts the keys of backups into ``wake``."""

    def __init__(
        self,
        caches: Caches,
        own: OwnWrites[Key],
        wake: Callable[[Key], None],
        wake_low: Callable[[Key], None] | None = None,
    ) -> None:
        self._caches, self._own, self._urgent, self._low = caches, own, wake, wake_low or wake
        self._wake = wake

    def connect(self) -> None:
        """Listen to all caches; do this before they run."""
        caches = self._caches
        self._listen(caches.backups, self._backup)
        owned: Iterable[Any] = (caches.cron_jobs, caches.service_accounts, caches.roles, caches.role_bindings)
        for item in owned:
            self._listen(item, partial(self._owned, item.resource))
        self._listen(caches.jobs, self._job)
        self._listen(caches.pods, self._pod)
        self._listen(caches.claims, self._claim)
        targets: Iterable[Any] = (caches.clusters, caches.standalones, caches.databases, caches.stateful_sets)
        for target in targets:
            self._listen(target, partial(self._target, target.resource))

    def _listen(self, collection: Collection[T], handler: Handler[T]) -> None:
        def heard(old: T | None, new: T | None) -> None:
            self._wake = self._urgent if collection.has_synced else self._low
            handler(old, new)

        collection.add_handler(heard)

    def _backup(self, old: Neo4jBackup | None, new: Neo4jBackup | None) -> None:
        changed = new or old
        if changed is not None and (old is None or new is None or is_asked_anew(old, new)):
            self._wake(key_of(changed))

    def _owned(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        for uid in {uid for item in (old, new) if item is not None for uid in backup_uid_of(item)}:
            self._tell(self._caches.backups.by_index(UID, uid), resource, new)

    def _job(self, old: Job | None, new: Job | None) -> None:
        self._owned(self._caches.jobs.resource, old, new)
        current = new or old
        namespace = current.annotations.get(DEPLOYMENT, "").partition("/")[0] if current else ""
        # Neighbours wait for it to end before they restart the servers that it uses.
        if current is not None and namespace and (new is None or new.final_condition() is not None):
            self._wake_namespace(namespace)

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        self._owned(self._caches.pods.resource, old, new)
        current = new or old
        controller = current.controller if current else None
        if controller is None or current is None or controller.kind != "StatefulSet":
            return
        if _matters(old) != _matters(new):
            self._wake_namespace(current.namespace)

    def _claim(self, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None) -> None:
        current = new or old
        if current is not None:
            self._wake_all(self._caches.backups.by_index(CLAIM, (current.namespace, current.name)))

    def _target(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        current = new or old
        if current is not None:
            self._tell(self._looking_into(current.namespace), resource, new)

    def _tell(self, backups: Iterable[Neo4jBackup], resource: Resource, new: Object | None) -> None:
        """Wake those to whom ``new`` is news; that something is gone is news to everybody."""
        for backup in backups:
            key = key_of(backup)
            if new is None or not self._own.is_echo(key, _place(resource, new), new.resource_version):
                self._wake(key)

    def _wake_namespace(self, namespace: str) -> None:
        self._wake_all(self._looking_into(namespace))

    def _looking_into(self, namespace: str) -> list[Neo4jBackup]:
        return self._caches.backups.by_index(TARGET_NAMESPACE, namespace)

    def _wake_all(self, backups: Iterable[Neo4jBackup]) -> None:
        for backup in backups:
            self._wake(key_of(backup))


def _place(resource: Resource, item: Object) -> Place:
    return Place(resource, item.namespace, item.name)


def _matters(pod: Pod | None) -> tuple[object, ...]:
    """What a plan looks at in a server's pod: it has a heartbeat of other changes."""
    return (pod.uid, pod.is_ready, pod.annotations.get(labels.SIDECAR_HASH)) if pod else ()
