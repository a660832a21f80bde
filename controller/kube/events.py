"""Events on objects, written beside the work and never in its way.

Guarantee: :meth:`EventRecorder.event` never waits and never fails; what repeats raises a count instead
of making objects. Non-guarantee: Events get lost, by design: when the buffer is full, when an object
floods, when the server refuses, or when the process dies. Each loss is counted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import anyio
import structlog

from controller.kube import metrics
from controller.kube.client import Client
from controller.kube.errors import AlreadyExists, ConnectionFailed, KubeError, NotFound
from controller.kube.eventcore import Correlator, Entry, Happening, ObjectRef
from controller.kube.resource import EVENTS, Resource

BUFFER = 1000
log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


def reference(resource: Resource, obj: dict[str, Any]) -> ObjectRef:
    """The reference to an object in the API's own form."""
    metadata = obj["metadata"]
    return ObjectRef(
        resource.api_version,
        resource.kind,
        metadata["name"],
        metadata.get("namespace", ""),
        metadata.get("uid", ""),
        metadata.get("resourceVersion", ""),
    )


class EventRecorder:
    """``component`` says which program, ``instance`` which process of it."""

    def __init__(
        self, client: Client, *, component: str, instance: str, clock: Callable[[], datetime] = _now
    ) -> None:
        self._client, self._component, self._instance, self._clock = client, component, instance, clock
        self._waiting: deque[Happening] = deque()
        self._correlator = Correlator()
        self._work, self._idle = anyio.Event(), anyio.Event()
        self._idle.set()

    def event(
        self,
        ref: ObjectRef,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        action: str = "",
    ) -> None:
        """Tell something about an object. ``reason`` is CamelCase; ``action`` what was tried."""
        if len(self._waiting) >= BUFFER:
            metrics.EVENTS_DROPPED.labels("buffer full").inc()
            return
        self._waiting.append(Happening(ref, type_, reason, message, action))
        if self._idle.is_set():
            self._idle = anyio.Event()
        self._work.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            while self._waiting:
                await self._write(self._waiting[0])
                self._waiting.popleft()
            self._idle.set()
            self._work = anyio.Event()
            await self._work.wait()

    async def flush(self, seconds: float = 2.0) -> None:
        """Wait until all is written, but not for long. Needs :meth:`run` to be running."""
        with anyio.move_on_after(seconds):
            while self._waiting:
                await self._idle.wait()

    async def _write(self, happening: Happening) -> None:
        entry = self._correlator.observe(happening, self._clock().timestamp())
        if entry is None:
            metrics.EVENTS_DROPPED.labels("object floods").inc()
            return
        try:
            await self._send(entry)
        except AlreadyExists:
            return
        except ConnectionFailed as error:
            self._give_up(entry, "not reached", error)
        except KubeError as error:
            # Refused, e.g. by a terminating namespace: saying it again would not help.
            self._give_up(entry, "refused", error)

    async def _send(self, entry: Entry) -> None:
        if entry.count > 1:
            patch = {"count": entry.count, "lastTimestamp": _stamp(entry.last)}
            try:
                await self._client.merge_patch(EVENTS, entry.name, _namespace(entry), patch)
            except NotFound:
                # The server forgets Events after an hour.
                log.debug("an Event was forgotten by the server", name=entry.name)
            else:
                return
        await self._client.create(EVENTS, self._object(entry))

    def _give_up(self, entry: Entry, why: str, error: KubeError) -> None:
        metrics.EVENTS_DROPPED.labels(why).inc()
        log.warning("an Event was not written", reason=entry.happening.reason, error=str(error))

    def _object(self, entry: Entry) -> dict[str, Any]:
        happening, ref = entry.happening, entry.happening.ref
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": entry.name, "namespace": _namespace(entry)},
            "involvedObject": {
                "apiVersion": ref.api_version,
                "kind": ref.kind,
                "name": ref.name,
                **{
                    key: value
                    for key, value in (
                        ("namespace", ref.namespace),
                        ("uid", ref.uid),
                        ("resourceVersion", ref.resource_version),
                    )
                    if value
                },
            },
            "type": happening.type,
            "reason": happening.reason,
            "message": happening.message,
            "action": happening.action,
            "count": entry.count,
            "firstTimestamp": _stamp(entry.first),
            "lastTimestamp": _stamp(entry.last),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }


def _namespace(entry: Entry) -> str:
    """Events of objects of the cluster live in ``default``, as everywhere."""
    return entry.happening.ref.namespace or "default"


def _stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
