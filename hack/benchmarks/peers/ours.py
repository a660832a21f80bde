"""Ours: the operator's informer of Neo4jBackups with its type, indexes, predicate, queue and workers.

The reconcile is the benchmark's own, since planning a backup is no machinery: it reads the object from
the cache, works out a status, and hands both to the operator's own writer, which sends the difference if
there is one. The models of a status are loaded for that, and not for holding a cache.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable

import anyio
from msgspec.structs import replace

from controller.api.cached import Neo4jBackup
from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.controller import Done, Reconcile, run_workers
from controller.kube.credentials import BasicCredentials
from controller.kube.informer import Informer, wait_all_synced
from controller.kube.resource import Resource
from controller.kube.store import key_of
from controller.kube.workqueue import WorkQueue
from controller.reconcile.indexes import OF_BACKUPS, is_asked_anew
from hack.benchmarks import objects, talk

Key = tuple[str, str]
BACKUPS = Resource(objects.GROUP, objects.VERSION, objects.PLURAL, objects.KIND)
RECONCILE_SECONDS = 120.0


class Peer:
    """One informer, one queue, and what was counted."""

    def __init__(self, client: Client, task: talk.Task) -> None:
        self._task = task
        self.queue: WorkQueue[Key] = WorkQueue("bench")
        streamed = bool(os.environ.get("OURS_STREAMED"))
        self.informer = Informer(client, BACKUPS, Neo4jBackup, indexes=OF_BACKUPS, streamed=streamed)
        self.informer.add_handler(self._heard)
        self._events = self._calls = 0
        self._finished = anyio.Event()

    def _heard(self, old: Neo4jBackup | None, new: Neo4jBackup | None) -> None:
        changed = new or old
        # The operator's predicate (reconcile.watches): a status is never news to who wrote it.
        if changed is not None and (old is None or new is None or is_asked_anew(old, new)):
            self.queue.add(key_of(changed))
        if old is not None and new is not None:
            self._events += 1
            if self._events == self._task.events:
                talk.say("watched", events=self._events, **self._state())

    def _state(self) -> dict[str, int]:
        return {"cached": len(self.informer.store), "queued": self.queue.statistics().ready}

    async def synced(self) -> None:
        await wait_all_synced([self.informer])
        talk.say("synced", **self._state())

    def counting(self, reconcile: Reconcile[Key]) -> Reconcile[Key]:
        async def counted(key: Key) -> Done:
            self._calls += 1
            done = await reconcile(key)
            if self._calls == 2 * self._task.objects:
                self._finished.set()
            return done

        return counted

    async def reconciled(self) -> None:
        """When the last echo is in the cache."""
        while self._events < self._task.objects:
            await self.informer.wait_changed()
        talk.say("reconciled")

    def settled(self) -> None:
        talk.say("settled", calls=self._calls)

    async def again(self) -> None:
        for backup in self.informer.store.list():
            self.queue.add(key_of(backup))
        await self._finished.wait()
        talk.say("unchanged", calls=self._calls)


def writing(client: Client, get: Callable[[str, str], Neo4jBackup | None]) -> Reconcile[Key]:
    """The phase ``Completed``, written as the operator writes a status."""
    from controller.api.status import Phase, parse_status
    from controller.reconcile.statuses import write_status

    async def reconcile(key: Key) -> Done:
        backup = get(*key)
        if backup is not None:
            before = parse_status(backup.status)
            await write_status(client, backup, before, replace(before, phase=Phase.COMPLETED))
        return Done()

    return reconcile


async def main(task: talk.Task) -> None:
    """Sync, then what standard input asks for."""
    config = ClusterConfig(task.url, None, BasicCredentials("Bearer benchmark"))
    async with Client(config) as client, anyio.create_task_group() as group:
        peer = Peer(client, task)
        group.start_soon(peer.informer.run)
        if task.mode == "reconcile":
            reconcile = peer.counting(writing(client, peer.informer.store.get))
        await peer.synced()
        while line := await anyio.to_thread.run_sync(sys.stdin.readline):
            if line == "reconcile\n":
                workers = functools.partial(run_workers, timeout=RECONCILE_SECONDS)
                group.start_soon(workers, peer.queue, reconcile, task.workers)
                await peer.reconciled()
            elif line == "settle\n":
                peer.settled()
            else:
                await peer.again()
        os._exit(0)


if __name__ == "__main__":
    anyio.run(main, talk.task())
