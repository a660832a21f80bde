"""Which change of which object wakes which backups.

Guarantee: whatever a plan depends on wakes it; our own status writes do not. Handlers only put keys
into a queue; what the first list of a kind brings goes to ``wake_low``, so that a change is not held up
by everything that was there before. Non-guarantee: a key is woken too often rather than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from controller.api.objects import Job, Neo4jBackup, Object, PersistentVolumeClaim, Pod
from controller.kube.informer import Handler
from controller.plan.runs import DEPLOYMENT
from controller.reconcile.caches import CLAIM, TARGET_NAMESPACE, UID, Caches, Collection, backup_uid_of
from controller.resources import labels

T = TypeVar("T", bound=Object)
Key = tuple[str, str]


class Waker:
    """Puts the keys of backups into ``wake``."""

    def __init__(
        self, caches: Caches, wake: Callable[[Key], None], wake_low: Callable[[Key], None] | None = None
    ) -> None:
        self._caches, self._urgent, self._low = caches, wake, wake_low or wake
        self._wake = wake

    def connect(self) -> None:
        """Listen to all caches; do this before they run."""
        caches = self._caches
        self._listen(caches.backups, self._backup)
        owned: Iterable[Any] = (caches.cron_jobs, caches.service_accounts, caches.roles, caches.role_bindings)
        for item in owned:
            self._listen(item, self._owned)
        self._listen(caches.jobs, self._job)
        self._listen(caches.pods, self._pod)
        self._listen(caches.claims, self._claim)
        targets: Iterable[Any] = (caches.clusters, caches.standalones, caches.databases, caches.stateful_sets)
        for target in targets:
            self._listen(target, self._target)

    def _listen(self, collection: Collection[T], handler: Handler[T]) -> None:
        def heard(old: T | None, new: T | None) -> None:
            self._wake = self._urgent if collection.has_synced else self._low
            handler(old, new)

        collection.add_handler(heard)

    def _backup(self, old: Neo4jBackup | None, new: Neo4jBackup | None) -> None:
        changed = new or old
        if changed is not None and (old is None or new is None or _asked(old) != _asked(new)):
            self._wake((changed.namespace, changed.name))

    def _owned(self, old: Object | None, new: Object | None) -> None:
        for item in (old, new):
            if item is not None:
                self._wake_uids(backup_uid_of(item))

    def _job(self, old: Job | None, new: Job | None) -> None:
        self._owned(old, new)
        current = new or old
        namespace = current.annotations.get(DEPLOYMENT, "").partition("/")[0] if current else ""
        # Neighbours wait for it to end before they restart the servers that it uses.
        if current is not None and namespace and (new is None or new.final_condition() is not None):
            self._wake_namespace(namespace)

    def _pod(self, old: Pod | None, new: Pod | None) -> None:
        self._owned(old, new)
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

    def _target(self, old: Object | None, new: Object | None) -> None:
        current = new or old
        if current is not None:
            self._wake_namespace(current.namespace)

    def _wake_uids(self, uids: Iterable[str]) -> None:
        for uid in uids:
            self._wake_all(self._caches.backups.by_index(UID, uid))

    def _wake_namespace(self, namespace: str) -> None:
        self._wake_all(self._caches.backups.by_index(TARGET_NAMESPACE, namespace))

    def _wake_all(self, backups: Iterable[Neo4jBackup]) -> None:
        for backup in backups:
            self._wake((backup.namespace, backup.name))


def _asked(backup: Neo4jBackup) -> tuple[object, ...]:
    """What a user changes; the status is ours."""
    return backup.uid, backup.generation, backup.annotations, backup.is_deleting, backup.finalizers


def _matters(pod: Pod | None) -> tuple[object, ...]:
    """What a plan looks at in a server's pod: it has a heartbeat of other changes."""
    return (pod.uid, pod.is_ready, pod.annotations.get(labels.SIDECAR_HASH)) if pod else ()
