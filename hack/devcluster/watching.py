"""Watches: changes as lines of JSON, exactly the later ones, for as long as the client stays.

Guarantee: an object that stops matching the selector is told as DELETED and one that starts as ADDED; a
version that is forgotten, from the start or because the client fell behind, is told as an ERROR event
with code 410; bookmarks come in quiet times and before the end when asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass

import anyio
from aiohttp import web

from hack.devcluster import list_options
from hack.devcluster.errors import ApiStatus, bad_request
from hack.devcluster.faults import ENDS_AFTER, CutStream
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry
from hack.devcluster.requests import Wanted, is_true, wanted_of
from hack.devcluster.selectors import Predicate, predicate
from hack.devcluster.store import Change, Store
from hack.devcluster.tables import partial, table
from hack.devcluster.verbs import Call

_INITIAL_EVENTS_END = "k8s.io/initial-events-end"


@dataclass(slots=True)
class Form:
    """How objects are written into one stream; a table's head comes once."""

    call: Call
    wanted: Wanted
    headed: bool = True

    def write(self, type_: str, obj: Obj) -> bytes:
        body = self._object(self.call.shown(obj)) if type_ != "ERROR" else obj
        return json.dumps({"type": type_, "object": body}, separators=(",", ":")).encode() + b"\n"

    def _object(self, obj: Obj) -> Obj:
        if self.wanted.form == "Table":
            shown = table(
                self.call.kind, self.call.version, [obj], include=self.wanted.include, headed=self.headed
            )
            self.headed = False
            return shown
        return partial(obj) if self.wanted.form == "PartialObjectMetadata" else obj

    def bookmark(self, version: int, *, initial: bool = False) -> bytes:
        metadata: Obj = {"resourceVersion": str(version), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {_INITIAL_EVENTS_END: "true"}
        kind = self.call.kind
        obj = {
            "kind": kind.kind,
            "apiVersion": kind.api_version(self.call.version.name),
            "metadata": metadata,
        }
        return json.dumps({"type": "BOOKMARK", "object": obj}, separators=(",", ":")).encode() + b"\n"


class Watches:
    """``bookmark_seconds`` is how long a watch is quiet before a bookmark; real servers take a minute."""

    def __init__(self, registry: Registry, bookmark_seconds: float = 2.0) -> None:
        self.bookmark_seconds = bookmark_seconds
        self._registry = registry

    async def watch(self, call: Call) -> web.StreamResponse:
        query = call.request.query
        accepts = selected(call)
        list_options.check(query, watch=True)
        response = CutStream(headers={"Content-Type": "application/json"})
        await response.prepare(call.request)
        asked = float(query.get("timeoutSeconds") or 1800)
        seconds = min(asked, call.request.get(ENDS_AFTER, asked))
        async for line in self._lines(call, accepts, anyio.current_time() + seconds):
            await response.write(line)
        await response.write_eof()
        return response

    async def _lines(self, call: Call, accepts: Predicate, end: float) -> AsyncIterator[bytes]:
        query = call.request.query
        form = Form(call, wanted_of(call.request))
        marks = is_true(query.get("allowWatchBookmarks"))
        asked = query.get("resourceVersion", "")
        if asked and not asked.isdecimal():
            raise bad_request(f"invalid resource version {asked!r}")
        initial = is_true(query.get("sendInitialEvents"))
        since = int(asked or 0)
        if initial or since == 0:
            since = self._registry.version
            for obj in self._registry.list(call.gr)[0]:
                if accepts(obj):
                    yield form.write("ADDED", obj)
            if initial and marks:
                yield form.bookmark(since, initial=True)
        quiet = self.bookmark_seconds if marks else math.inf
        async for change in changes_and_marks(self._registry.store, call.gr, since, end, quiet):
            if isinstance(change, int):
                yield form.bookmark(change)
            elif isinstance(change, ApiStatus):
                yield form.write("ERROR", change.body())
            elif event := event_of(change, accepts):
                yield form.write(*event)


async def changes_and_marks(
    store: Store, gr: GroupResource, since: int, end: float, quiet: float
) -> AsyncIterator[Change | ApiStatus | int]:
    """Changes; after every ``quiet`` seconds a version to bookmark; at most one error, which ends it."""
    while anyio.current_time() < end:
        # The version of this very look: what is written while the silence runs out is not marked as told.
        signal, version = store.next_change, store.version
        try:
            changes = store.changes(gr, since)
        except ApiStatus as error:
            yield error
            return
        for change in changes:
            since = change.version
            yield change
        if changes:
            continue
        with anyio.move_on_after(min(quiet, end - anyio.current_time())) as silence:
            await signal.wait()
        if silence.cancelled_caught and quiet < math.inf:
            since = max(since, version)
            yield since


def selected(call: Call) -> Predicate:
    """Which objects a list or watch is about."""
    query = call.request.query
    name = call.target.name
    accepts = predicate(query.get("labelSelector"), query.get("fieldSelector"), call.kind.selectable)
    namespace = call.target.namespace if call.kind.namespaced else ""

    def accepted(obj: Obj) -> bool:
        metadata = obj["metadata"]
        here = not namespace or metadata.get("namespace") == namespace
        return here and (not name or metadata["name"] == name) and accepts(obj)

    return accepted


def event_of(change: Change, accepts: Predicate) -> tuple[str, Obj] | None:
    """What a change is to whoever sees only what ``accepts`` lets through; None when it is nothing."""
    was = change.old is not None and accepts(change.old)
    if change.new is None:
        return ("DELETED", change.last) if was else None
    now = accepts(change.new)
    if was and not now:
        assert change.old is not None
        metadata = {**change.old["metadata"], "resourceVersion": str(change.version)}
        return "DELETED", {**change.old, "metadata": metadata}
    if not now:
        return None
    return ("MODIFIED" if was else "ADDED"), change.new
