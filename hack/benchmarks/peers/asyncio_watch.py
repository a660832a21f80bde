"""kubernetes-asyncio: its generated client lists, its ``Watch`` follows, plain dicts are the cache."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from kubernetes_asyncio import client, watch

from hack.benchmarks import objects, talk

WHERE = (objects.GROUP, objects.VERSION, objects.PLURAL)
Store = dict[tuple[str, str], dict[str, Any]]
called: list[str] = []


def place(item: dict[str, Any]) -> tuple[str, str]:
    return item["metadata"]["namespace"], item["metadata"]["name"]


async def sync(api: client.CustomObjectsApi, store: Store, queue: dict[tuple[str, str], None]) -> str:
    """List in pages; returns the version to watch from."""
    token = ""
    while True:
        page = await api.list_cluster_custom_object(*WHERE, limit=500, _continue=token)
        for item in page["items"]:
            store[place(item)] = item
            queue[place(item)] = None
        token = page["metadata"].get("continue", "")
        if not token:
            version: str = page["metadata"]["resourceVersion"]
            return version


async def follow(
    api: client.CustomObjectsApi, version: str, store: Store, queue: dict[tuple[str, str], None]
) -> None:
    """Watch until all events of the task arrived."""
    task, seen, echoes = talk.task(), 0, 0
    stream = watch.Watch().stream(api.list_cluster_custom_object, *WHERE, resource_version=version)
    async for event in stream:
        item = event["object"]
        old = store.get(place(item))
        store[place(item)] = item
        if old is None or old["metadata"]["generation"] != item["metadata"]["generation"]:
            queue[place(item)] = None
        else:
            echoes += 1
        seen += 1
        if seen == task.events:
            talk.say("watched", events=seen, cached=len(store), queued=len(queue))
        if echoes == task.objects:
            talk.say("reconciled")


async def reconcile(api: client.CustomObjectsApi, store: Store, keys: list[tuple[str, str]]) -> None:
    while keys:
        namespace, name = keys.pop()
        called.append(name)
        item = store[namespace, name]
        if item["status"]["phase"] == "Completed":
            continue
        await api.patch_namespaced_custom_object_status(
            objects.GROUP,
            objects.VERSION,
            namespace,
            objects.PLURAL,
            name,
            {
                "metadata": {"resourceVersion": item["metadata"]["resourceVersion"]},
                "status": {"phase": "Completed"},
            },
            _content_type="application/merge-patch+json",
        )


async def reconcile_all(api: client.CustomObjectsApi, store: Store, workers: int) -> None:
    keys = list(store)
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(reconcile(api, store, keys))


async def main(task: talk.Task) -> None:
    configuration = client.Configuration(host=task.url)
    store: Store = {}
    queue: dict[tuple[str, str], None] = {}
    async with client.ApiClient(configuration) as connection, asyncio.TaskGroup() as group:
        api = client.CustomObjectsApi(connection)
        version = await sync(api, store, queue)
        group.create_task(follow(api, version, store, queue))
        talk.say("synced", cached=len(store), queued=len(queue))
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line == "settle\n":
                talk.say("settled", calls=len(called))
                continue
            await reconcile_all(api, store, task.workers)
            if line == "again\n":
                talk.say("unchanged", calls=len(called))
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(main(talk.task()))
