"""One collection of an API server in memory, without HTTP: what an informer asks, and every way it fails.

Guarantee: lists are snapshots in pages, watches tell exactly what came later, a version that is forgotten
is gone, streamed lists end with their mark. Each request takes the next fault of its plan; when the plan
is used up, everything works. Nothing here takes time but what a fault says.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import anyio
import anyio.lowlevel
import msgspec

from controller.kube.errors import (
    ConnectionFailed,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    ServerError,
    TooManyRequests,
)
from controller.kube.informer import INITIAL_EVENTS_END
from tests.support.scripted_api import an_object, status


class Fault(Enum):
    """What becomes of one request."""

    NONE = "none"
    UNREACHED = "unreached"
    BUSY = "429"
    BROKEN = "500"
    FORBIDDEN = "403"
    NOT_FOUND = "404"
    GONE = "410"
    TOO_NEW = "504"
    GARBAGE = "garbage"
    EMPTY = "empty"
    """A watch that ends at once."""
    CUT = "cut"
    """A stream that breaks after its first event."""
    HALF = "half"
    """A stream that breaks within an event."""
    TOLD_GONE = "told gone"
    TOLD_BROKEN = "told broken"
    """ERROR events."""
    SILENT = "silent"
    """A peer that is dead and does not say so."""
    LATE = "late"
    """An answer that takes its time."""


_ERRORS: dict[Fault, KubeError] = {
    Fault.UNREACHED: ConnectionFailed("refused"),
    Fault.BUSY: TooManyRequests("slow down", retry_after=3.0),
    Fault.BROKEN: ServerError("etcd"),
    Fault.FORBIDDEN: Forbidden("not yet"),
    Fault.NOT_FOUND: NotFound("starting"),
    Fault.GONE: Gone("expired"),
    Fault.TOO_NEW: ServerError("Too large resource version: 9"),
}
_TOLD = {Fault.TOLD_GONE: status(410, "Expired"), Fault.TOLD_BROKEN: status(500, "InternalError")}


@dataclass
class MemoryApi:
    """Stands in for a Client and its transport."""

    faults: deque[Fault] = field(default_factory=deque)
    streams: bool = True
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    version: int = 10
    forgotten: int = 9
    requests: int = 0
    _changes: list[tuple[int, str, dict[str, Any]]] = field(default_factory=list)
    _changed: anyio.Event | None = None

    @property
    def transport(self) -> MemoryApi:
        return self

    # --- what others do ---------------------------------------------------------------------------

    def put(self, name: str, color: str, *, again: bool = False) -> None:
        """Create or change; ``again`` deletes an older one first, so that the uid changes."""
        if again and name in self.objects:
            self.delete(name)
        known = self.objects.get(name)
        self.version += 1
        uid = known["metadata"]["uid"] if known else f"uid-{name}-{self.version}"
        self.objects[name] = an_object(name, str(self.version), uid=uid, color=color)
        self._tell("MODIFIED" if known else "ADDED", self.objects[name])

    def delete(self, name: str) -> None:
        gone = self.objects.pop(name, None)
        if gone is not None:
            self.version += 1
            version = {"resourceVersion": str(self.version)}
            self._tell("DELETED", {**gone, "metadata": {**gone["metadata"], **version}})

    def forget(self) -> None:
        """Compact: every older version is gone."""
        self.forgotten = self.version
        self._changes.clear()

    def _tell(self, type_: str, obj: dict[str, Any]) -> None:
        self._changes.append((self.version, type_, obj))
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    # --- what an informer asks ----------------------------------------------------------------------

    async def raw(self, _method: str, _path: str, *, query: Iterable[tuple[str, str]]) -> bytes:
        asked, fault = dict(query), await self._fault()
        if fault is Fault.GARBAGE:
            return b"<html>a proxy</html>"
        version, start = self.version, ""
        if token := asked.get("continue"):
            taken, _, start = token.partition("/")
            version = int(taken)
            if version < self.forgotten:
                raise Gone("the token expired")
        elif asked.get("resourceVersion", "0") not in ("0", "") and int(asked["resourceVersion"]) > version:
            raise _ERRORS[Fault.TOO_NEW]
        rest = [obj for name, obj in sorted(self._at(version).items()) if name > start]
        limit = min(int(asked.get("limit", "0")), 2) or len(rest)
        metadata = {"resourceVersion": str(version)}
        if len(rest) > limit:
            metadata["continue"] = f"{version}/{rest[limit - 1]['metadata']['name']}"
        return msgspec.json.encode({"metadata": metadata, "items": rest[:limit]})

    def _at(self, version: int) -> dict[str, dict[str, Any]]:
        """The objects as of a version, undoing what came later."""
        state: dict[str, dict[str, Any]] = {}
        later = {obj["metadata"]["name"] for at, _, obj in self._changes if at > version}
        state |= {name: obj for name, obj in self.objects.items() if name not in later}
        for at, type_, obj in self._changes:
            name = obj["metadata"]["name"]
            if name in later and at <= version:
                state.pop(name, None)
                if type_ != "DELETED":
                    state[name] = obj
        return state

    @contextlib.asynccontextmanager
    async def stream(
        self, _path: str, *, query: Iterable[tuple[str, str]], idle_seconds: float
    ) -> AsyncIterator[AsyncIterator[list[bytes]]]:
        asked, fault = dict(query), await self._fault()
        if "sendInitialEvents" in asked and not self.streams:
            raise Invalid("resourceVersionMatch is forbidden for watch")
        chunks = self._stream(asked, fault, idle_seconds)
        try:
            yield chunks
        finally:
            await chunks.aclose()

    async def _stream(self, asked: dict[str, str], fault: Fault, idle_seconds: float) -> Any:
        if fault is Fault.EMPTY:
            return
        if fault is Fault.SILENT:
            await anyio.sleep(idle_seconds)
            raise ConnectionFailed("silent")
        if fault in _TOLD:
            yield [_line("ERROR", _TOLD[fault])]
            return
        async with contextlib.aclosing(self._lines(asked)) as lines:
            async for line in lines:
                whole = b"this is no event\n" if fault is Fault.GARBAGE else line
                yield [whole[: len(whole) // 2] if fault is Fault.HALF else whole]
                if fault in (Fault.CUT, Fault.HALF):
                    raise ConnectionFailed("cut")

    async def _lines(self, asked: dict[str, str]) -> AsyncGenerator[bytes, None]:
        end = anyio.current_time() + float(asked["timeoutSeconds"])
        since = int(asked.get("resourceVersion") or 0)
        if asked.get("sendInitialEvents"):
            since = self.version
            for _, obj in sorted(self.objects.items()):
                yield _line("ADDED", obj)
            marks = {"annotations": {INITIAL_EVENTS_END: "true"}}
            yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(since), **marks}})
        while anyio.current_time() < end:
            if since < self.forgotten:
                yield _line("ERROR", status(410, "Expired"))
                return
            news = [change for change in self._changes if change[0] > since]
            for version, type_, obj in news:
                since = version
                yield _line(type_, obj)
            if not news:
                since = await self._quiet(end, since)
                yield _line("BOOKMARK", {"metadata": {"resourceVersion": str(since)}})

    async def _quiet(self, end: float, since: int) -> int:
        """Wait for a change or for a minute without; what may be marked."""
        if self._changed is None:
            self._changed = anyio.Event()
        seen, changed = self.version, self._changed
        with anyio.move_on_after(min(60.0, max(0.0, end - anyio.current_time()))):
            await changed.wait()
        return max(since, seen)

    async def _fault(self) -> Fault:
        """The next of the plan; those that need no answer are raised."""
        self.requests += 1
        await anyio.lowlevel.checkpoint()
        fault = self.faults.popleft() if self.faults else Fault.NONE
        if fault is Fault.LATE:
            await anyio.sleep(5.0)
        if fault in _ERRORS:
            raise _ERRORS[fault]
        return fault


def _line(type_: str, obj: dict[str, Any]) -> bytes:
    return msgspec.json.encode({"type": type_, "object": obj}) + b"\n"
