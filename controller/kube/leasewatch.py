"""Hear of a Lease's changes when they happen: the watch that a candidate keeps beside its polling.

Guarantee: what the server tells about this one Lease is passed on, in the server's order. No answer of the
server ends :meth:`LeaseWatch.run`, and every end of a watch costs a growing delay.

Non-guarantee: that a change is heard of. Watching may be forbidden, or cut, or dead without a sign;
whoever depends on the Lease must still look for himself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import structlog

from controller.kube import chance
from controller.kube.backoff import Backoff
from controller.kube.errors import KubeError, ServerError, status_error
from controller.kube.lines import LineSplitter, lines_of
from controller.kube.resource import LEASES
from controller.kube.transport import Transport

WATCH_SECONDS = 300
IDLE_SECONDS = 15.0
"""Silence after which a watch counts as dead: a living holder renews far more often."""

Heard = Callable[[dict[str, Any] | None], None]
"""The Lease as it is now, or None when it was deleted."""

log = structlog.get_logger(__name__)


class LeaseWatch:
    """The watch of one Lease over ``transport``."""

    def __init__(self, transport: Transport, namespace: str, name: str, jitter: chance.Jitter) -> None:
        self._transport, self._name, self._jitter = transport, name, jitter
        self._path = LEASES.path(namespace)

    async def run(self, heard: Heard) -> None:
        """Follow the Lease until cancelled; ``heard`` must neither block nor fail."""
        backoff = Backoff()
        while True:
            try:
                await self._follow(heard)
            except KubeError as error:
                log.info("not watching the lease, only polling it", lease=self._name, error=str(error))
            backoff, delay = backoff.failed(anyio.current_time(), self._jitter())
            await anyio.sleep(delay)

    async def _follow(self, heard: Heard) -> None:
        # No resource version: the watch begins with the Lease as it is, and none can be too old. With the
        # name as its selector RBAC treats it as a request for that one object.
        query = [
            ("fieldSelector", f"metadata.name={self._name}"),
            ("watch", "true"),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        splitter = LineSplitter()
        async with self._transport.stream(self._path, query=query, idle_seconds=IDLE_SECONDS) as chunks:
            async for chunk in chunks:
                for line in lines_of(splitter.feed(chunk)):
                    _tell(heard, line)


def _tell(heard: Heard, line: bytes) -> None:
    try:
        event = msgspec.json.decode(line)
        kind, lease = event["type"], event["object"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise ServerError(f"a watch event that is none: {error}", reason="BadAnswer") from error
    if kind == "ERROR":
        raise status_error(lease)
    if kind == "DELETED":
        heard(None)
    elif kind in ("ADDED", "MODIFIED"):
        heard(lease)
