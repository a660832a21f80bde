"""Ours: the operator's informer of Neo4jBackups with its type, its indexes, its wake-ups and its queue.

The reconcile is the benchmark's own, since planning a backup is no machinery: it reads the object from
the cache, works out a status, and writes the difference, if there is one, as the operator does.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import anyio
import msgspec

from controller.api.objects import Neo4jBackup
from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.controller import Done, run_workers
from controller.kube.credentials import BasicCredentials
from controller.kube.informer import Informer, wait_all_synced
from controller.kube.resource import Resource
from controller.kube.workqueue import WorkQueue
from hack.benchmarks import objects, talk

Key = tuple[str, str]
BACKUPS = Resource(objects.GROUP, objects.VERSION, objects.PLURAL, objects.KIND)


class _Phase(msgspec.Struct, frozen=True):
    phase: str = ""


class Peer:
    """One informer, one queue, some workers."""

    def __init__(self, client: Client, task: talk.Task) -> None:
        self._client, self._task = client, task
        self.queue: WorkQueue[Key] = WorkQueue("bench")
        self.informer = Informer(client, BACKUPS, Neo4jBackup)
        self.informer.add_handler(self._heard)
        self._events = self._calls = 0

    def _heard(self, old: Neo4jBackup | None, new: Neo4jBackup | None) -> None:
        item = new or old
        assert item is not None
        # The operator's own predicate (reconcile.watches): a status is never news to who wrote it.
        if old is None or new is None or _asked(old) != _asked(new):
            self.queue.add((item.namespace, item.name))
        if old is not None and new is not None:
            self._events += 1
            self._tell()

    def _tell(self) -> None:
        if self._events == self._task.events:
            ready = self.queue.statistics().ready
            talk.say("watched", events=self._events, cached=len(self.informer.store), queued=ready)

    async def synced(self) -> None:
        await wait_all_synced([self.informer])
        ready = self.queue.statistics().ready
        talk.say("synced", cached=len(self.informer.store), queued=ready)

    async def reconcile(self, key: Key) -> Done:
        self._calls += 1
        backup = self.informer.store.get(*key)
        if backup is None:
            return Done()
        status = msgspec.json.decode(backup.status, type=_Phase)
        if status.phase != "Reconciled":
            body = {
                "metadata": {"resourceVersion": backup.resource_version},
                "status": {"phase": "Reconciled"},
            }
            await self._client.merge_patch(BACKUPS, backup.name, backup.namespace, body, subresource="status")
        return Done()

    async def reconcile_all(self) -> None:
        """Every object once; done when the last echo is in the cache."""
        async with anyio.create_task_group() as group:
            group.start_soon(
                partial(run_workers, self.queue, self.reconcile, self._task.workers, timeout=120.0)
            )
            while self._events < self._task.objects:
                await self.informer.wait_changed()
            talk.say("reconciled", calls=self._calls, echoes=self._events)
            await anyio.sleep(0.3)
            talk.say("settled", calls=self._calls)
            self.queue.shutdown()


def _asked(backup: Neo4jBackup) -> tuple[object, ...]:
    return backup.uid, backup.generation, backup.annotations, backup.is_deleting, backup.finalizers


async def main(task: talk.Task) -> None:
    """Sync, then what standard input asks for."""
    config = ClusterConfig(task.url, None, BasicCredentials("Bearer benchmark"))
    async with Client(config) as client, anyio.create_task_group() as group:
        peer = Peer(client, task)
        group.start_soon(peer.informer.run)
        await peer.synced()
        if await anyio.to_thread.run_sync(sys.stdin.readline) == "reconcile\n":
            await peer.reconcile_all()
        await anyio.to_thread.run_sync(sys.stdin.read)
        os._exit(0)


if __name__ == "__main__":
    anyio.run(main, talk.task())
