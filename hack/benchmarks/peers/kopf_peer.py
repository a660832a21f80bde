"""kopf on uvloop. It is handed the file's own folder on its path, and knows nothing of this project.

``observe``: an event handler that fills a dict, the cheapest way to hold all objects. ``reconcile``:
create and update handlers which return a result, that kopf writes to the status.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from typing import Any

import kopf
import talk

TASK = talk.task()
WHERE = ("neo4j.neo4j.com", "v1alpha1", "neo4jbackups")
cache: dict[tuple[str, str], Any] = {}
queue: dict[tuple[str, str], None] = {}
counted = {"events": 0, "calls": 0}


@kopf.on.startup()  # type: ignore[untyped-decorator, unused-ignore]
async def configure(settings: Any, **_: Any) -> None:
    settings.posting.enabled = False
    settings.watching.server_timeout = 600


@kopf.on.login()  # type: ignore[untyped-decorator, unused-ignore]
async def login(**_: Any) -> Any:
    return kopf.ConnectionInfo(server=TASK.url)


async def observe(event: Any, body: Any, namespace: str, name: str, **_: Any) -> None:
    """Every object of the list, then every event."""
    cache[namespace, name] = body
    queue[namespace, name] = None
    if event["type"] is None:
        if len(cache) == TASK.objects:
            talk.say("synced", cached=len(cache), queued=len(queue))
        return
    counted["events"] += 1
    if counted["events"] == TASK.events:
        talk.say("watched", events=counted["events"], cached=len(cache), queued=len(queue))


async def reconcile(namespace: str, name: str, **_: Any) -> dict[str, str]:
    """Once for each object."""
    counted["calls"] += 1
    cache[namespace, name] = None
    if counted["calls"] == 1:
        talk.say("synced", cached=TASK.objects, queued=TASK.objects)
    return {"phase": "Completed"}


if TASK.mode == "observe":
    kopf.on.event(*WHERE)(observe)
else:
    kopf.on.create(*WHERE)(reconcile)
    kopf.on.update(*WHERE)(reconcile)
    kopf.on.resume(*WHERE)(reconcile)


def end_with_input() -> None:
    while line := sys.stdin.readline():
        if line == "settle\n":
            talk.say("settled", calls=counted["calls"])
    os._exit(0)


def main() -> None:
    import uvloop

    logging.basicConfig(level=logging.ERROR)
    threading.Thread(target=end_with_input, daemon=True).start()
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    kopf.run(clusterwide=True, standalone=True, loop=loop)


if __name__ == "__main__":
    main()
