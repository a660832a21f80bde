"""The API server of a run: the embedded control plane's storage and verbs, answering over simulated wires.

Guarantee: semantics are :mod:`hack.devcluster`'s (versions, conflicts, paging, status, finalizers, apply,
410 after a compaction), everything is executed in one step at the moment of its arrival, and whoever
watches is told of exactly the changes after its version unless the plan of faults says otherwise.

Non-guarantee: authentication and authorisation, which are tried elsewhere.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

from hack.devcluster import discovery, list_options
from hack.devcluster.errors import (
    ApiStatus,
    expired,
    forbidden_field,
    invalid,
    method_not_allowed,
    no_such_path,
)
from hack.devcluster.identity import ADMIN
from hack.devcluster.kinds import Kind as ServedKind
from hack.devcluster.kinds import Version
from hack.devcluster.objects import GroupResource
from hack.devcluster.registry import Registry
from hack.devcluster.requests import Target, is_true, target_of, wanted_of
from hack.devcluster.selectors import Predicate
from hack.devcluster.store import Change
from hack.devcluster.verbs import Call, Verbs
from hack.devcluster.watching import Form, event_of, selected
from tests.sim.faults import TROUBLE_SECONDS, FaultPlan, Kind
from tests.sim.http import STREAM_END, STREAM_HEAD, Incoming, chunk, whole
from tests.sim.loop import SimLoop
from tests.sim.network import Network, Nowhere, Wire
from tests.sim.storage import Anybody
from tests.sim.trace import Trace

T = TypeVar("T")

_REFUSALS: dict[Kind, tuple[int, str]] = {
    Kind.CONFLICT: (409, "Conflict"),
    Kind.TOO_MANY: (429, "TooManyRequests"),
    Kind.ERROR: (500, "InternalError"),
    Kind.UNAVAILABLE: (503, "ServiceUnavailable"),
    Kind.TIMEOUT: (504, "Timeout"),
    Kind.TIMEOUT_DONE: (504, "Timeout"),
}
_STREAM_TURN = 4
"""A fault of a watch fires within its first so many events: most watches carry few."""

Committed = Callable[[str, Incoming | None, GroupResource, Change], None]


@dataclass(slots=True)
class Watch:
    """One open watch, and what is to go wrong with it."""

    wire: Wire
    request: Incoming
    form: Form
    accepts: Predicate
    told: int = 0
    again: bytes = b""
    """An event that is told again behind the next one."""
    ended: bool = False


@dataclass(slots=True)
class ApiModel:
    """See the module. ``committed`` is told of every change of ``observed`` kinds as it is made."""

    loop: SimLoop
    network: Network
    trace: Trace
    registry: Registry
    plan: FaultPlan
    seed: int
    observed: tuple[GroupResource, ...] = ()
    committed: Committed = lambda _actor, _request, _gr, _change: None
    requests: int = 0
    cold_until: float = 0.0
    """A server that just started does not know its custom types yet."""
    bookmark_seconds: float = field(init=False)
    streams_lists: bool = field(init=False)
    """Whether it knows WatchList."""
    _verbs: Verbs = field(init=False)
    _chance: random.Random = field(init=False)
    _watches: defaultdict[GroupResource, list[Watch]] = field(init=False)
    _told: int = field(init=False)

    def __post_init__(self) -> None:
        self._verbs = Verbs(self.registry, Anybody())  # type: ignore[arg-type]
        self._chance = random.Random(f"server {self.seed}")
        self._watches = defaultdict(list)
        self._told = self.registry.version
        self.bookmark_seconds = self._chance.uniform(5.0, 50.0)
        self.streams_lists = self._chance.random() < 0.7

    # --- connections ---------------------------------------------------------------------------------

    def arrived(self, request: Incoming, wire: Wire | Nowhere) -> None:
        """Execute and answer."""
        self.requests += 1
        if wire.dead:
            return
        try:
            if request.is_watch:
                assert isinstance(wire, Wire)
                self._open(request, wire)
            else:
                self._answer(request, wire)
        except ApiStatus as error:
            self._say(request, wire, _refusal(error))

    def gone(self, wire: Wire) -> None:
        """The client closed the connection, or it broke."""
        for watches in self._watches.values():
            watches[:] = [watch for watch in watches if watch.wire is not wire]

    def restart(self) -> None:
        """The server's process ends, and with it every connection; what is stored stays."""
        self.trace.add("server", "down")
        self.network.down = True
        self._watches.clear()
        self.network.reset_all()

    def is_back(self) -> None:
        """It listens again."""
        self.trace.add("server", "up")
        self.network.down = False
        self.cold_until = self.loop.now + self._chance.choice((0.0, 2.0))

    def compact(self) -> None:
        """Forget the past: old versions are gone for lists and new watches."""
        self.trace.add("server", f"compacts at {self.registry.version}")
        self.registry.store.compact()

    # --- requests ------------------------------------------------------------------------------------

    def _answer(self, request: Incoming, wire: Wire | Nowhere) -> None:
        fault = request.fault
        self._refuse(request)
        answer = self._execute(request)
        if fault is not None and fault.kind is Kind.TIMEOUT_DONE:
            answer = _refusal(ApiStatus(504, "Timeout", "the storage did not answer in time"))
        self._say(request, wire, answer)

    def _refuse(self, request: Incoming) -> None:
        """Raises what the plan has for this request instead of its execution."""
        fault = request.fault
        if fault is None or fault.kind is Kind.TIMEOUT_DONE:
            return
        if fault.kind in _REFUSALS and not (fault.kind is Kind.CONFLICT and not request.is_write):
            details = {"retryAfterSeconds": round(fault.seconds)} if fault.kind is Kind.TOO_MANY else {}
            raise ApiStatus(*_REFUSALS[fault.kind], "a fault of the plan", details)
        if request.is_write or target_of(request.path) is None:
            return
        if fault.kind is Kind.GONE:
            raise expired("a fault of the plan")
        if fault.kind is Kind.TOO_NEW and not request.is_watch:
            cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
            raise ApiStatus(504, "Timeout", "Too large resource version: a fault", {"causes": [cause]})

    def _say(self, request: Incoming, wire: Wire | Nowhere, answer: bytes) -> None:
        fault = request.fault
        kind = fault.kind if fault is not None else None
        if fault is None or kind not in (
            Kind.ANSWER_LOST,
            Kind.ANSWER_SILENT,
            Kind.CUT,
            Kind.ANSWER_LATE,
        ):
            wire.answer(answer)
        elif kind is Kind.ANSWER_SILENT:
            wire.die()
        elif kind is Kind.ANSWER_LATE:
            wire.answer(answer, fault.seconds)
        else:
            if kind is Kind.CUT:
                wire.answer(answer[: min(fault.count, len(answer) - 1)])
            wire.reset()

    def _execute(self, request: Incoming) -> bytes:
        target = target_of(request.path)
        if target is None:
            return _document(self.registry, request.path)
        call = self._call(request, target)
        actor = request.process.name if request.process else "nobody"
        try:
            answer = _result(self._method(call)(call))
        except ApiStatus as error:
            if request.is_write:
                self.trace.add("server", f"{actor} {request}: {error.code} {error.reason}")
            raise
        if request.is_write:
            self.trace.add("server", f"{actor} {request}: {answer.status}")
        self.tell(actor, request)
        return whole(answer.status, answer.body)  # type: ignore[arg-type]

    def _call(self, request: Incoming, target: Target) -> Call:
        kind, version = self._served(target)
        if target.subresource and target.subresource not in version.subresources:
            raise no_such_path()
        return Call(request, ADMIN, target, kind, version)  # type: ignore[arg-type]

    def _served(self, target: Target) -> tuple[ServedKind, Version]:
        kind = self.registry.kinds.get((target.group, target.resource))
        version = kind.version(target.version) if kind else None
        if kind is None or version is None or (kind.is_custom and self.loop.now < self.cold_until):
            raise no_such_path()
        return kind, version

    def _method(self, call: Call) -> Callable[[Call], Coroutine[Any, Any, web.Response]]:
        target, method, verbs = call.target, call.request.method, self._verbs
        if method == "GET" and target.subresource in ("", "status"):
            return verbs.get if target.name else self._list
        methods = {"POST": verbs.create, "PUT": verbs.update, "PATCH": verbs.patch, "DELETE": verbs.delete}
        if method not in methods or bool(target.name) == (method == "POST"):
            raise method_not_allowed()
        return methods[method]

    async def _list(self, call: Call) -> web.Response:
        query: Any = call.request.query
        if query.get("resourceVersion") == "0" and self.plan.lag and "continue" not in query:
            # A replica that is behind answers from its cache what its cache has.
            old = max(self.registry.version - self.plan.lag, 101)
            query |= {"resourceVersion": str(old), "resourceVersionMatch": "Exact"}
            try:
                return await self._verbs.list_(call)
            except ApiStatus:
                query |= {"resourceVersion": "0"}
                del query["resourceVersionMatch"]
        return await self._verbs.list_(call)

    # --- watches -------------------------------------------------------------------------------------

    def _open(self, request: Incoming, wire: Wire) -> None:
        fault = request.fault
        if fault is None or fault.count == 0:
            self._refuse(request)
        target = target_of(request.path)
        assert target is not None
        call = self._call(request, target)
        watch = Watch(wire, request, Form(call, wanted_of(call.request)), selected(call))
        list_options.check(request.query, watch=True)
        is_list = is_true(request.query.get("sendInitialEvents"))
        if is_list and not self.streams_lists:
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            cause = forbidden_field("sendInitialEvents", why)
            raise invalid("ListOptions", "meta.k8s.io", "", [cause])
        self._say(request, wire, STREAM_HEAD)
        since = request.query.get("resourceVersion", "0")
        if is_list or since == "0":
            self._begin_with_all(watch, call.gr, marked=is_list)
        else:
            self._catch_up(watch, call.gr, int(since))
        if watch.ended:
            return
        self._watches[call.gr].append(watch)
        seconds = float(request.query.get("timeoutSeconds", 1800))
        self.loop.at(self.loop.now + seconds, self._end, watch)
        if is_true(request.query.get("allowWatchBookmarks")):
            self.loop.at(self.loop.now + self.bookmark_seconds, self._bookmark, watch)

    def _begin_with_all(self, watch: Watch, gr: GroupResource, *, marked: bool) -> None:
        for obj in self.registry.list(gr)[0]:
            if watch.accepts(obj) and not watch.ended:
                self._event(watch, watch.form.write("ADDED", obj))
        if marked and not watch.ended:
            watch.wire.answer(chunk(watch.form.bookmark(self.registry.version, initial=True)))

    def _catch_up(self, watch: Watch, gr: GroupResource, since: int) -> None:
        try:
            changes = self.registry.store.changes(gr, since)
        except ApiStatus as error:
            self._event(watch, watch.form.write("ERROR", error.body()))
            self._end(watch)
            return
        self._tell_one(watch, changes)

    def tell(self, actor: str, request: Incoming | None = None) -> None:
        """Let everybody know what changed since the last time, which was ``actor``'s doing."""
        since, self._told = self._told, self.registry.version
        if since == self._told:
            return
        for gr in self.observed:
            for change in self.registry.store.changes(gr, since):
                self.trace.add("server", f"{change.version} {change.type} {gr[1]} {_name(change)} by {actor}")
                self.committed(actor, request, gr, change)
        for gr, watches in self._watches.items():
            changes = self.registry.store.changes(gr, since) if watches else ()
            for watch in [*watches] if changes else ():
                self._tell_one(watch, changes)

    def act(self, actor: str, doing: Callable[[], object]) -> None:
        """Somebody else writes, past the network; what the server refuses does not happen."""
        try:
            doing()
        except ApiStatus as error:
            self.trace.add(actor, f"is refused: {error.code} {error.reason}")
        self.tell(actor)

    def _tell_one(self, watch: Watch, changes: Iterable[Change]) -> None:
        for change in changes:
            event = event_of(change, watch.accepts)
            if event is not None and not watch.ended:
                self._event(watch, watch.form.write(*event))

    def _event(self, watch: Watch, line: bytes) -> None:
        """One line, or what the plan makes of it."""
        fault, data = watch.request.fault, chunk(line)
        in_time = self.loop.now < TROUBLE_SECONDS
        due = fault is not None and in_time and watch.told == fault.count % _STREAM_TURN
        watch.told += 1
        if fault is None or not due:
            watch.wire.answer(data)
            again, watch.again = watch.again, b""
            if again:
                watch.wire.answer(again)
            return
        match fault.kind:
            case Kind.CUT:
                watch.wire.answer(data[: len(data) // 2])
                self._stop(watch)
                watch.wire.reset()
            case Kind.MUTE:
                self._stop(watch)
                watch.wire.fall_mute()
            case Kind.TOLD_TWICE:
                watch.wire.answer(data)
                watch.again = data
            case Kind.GONE | Kind.ERROR:
                code, reason = (410, "Expired") if fault.kind is Kind.GONE else (500, "InternalError")
                error = ApiStatus(code, reason, "a fault of the plan").body()
                watch.wire.answer(chunk(watch.form.write("ERROR", error)))
                self._end(watch)
            case _:
                watch.wire.answer(data)

    def _bookmark(self, watch: Watch) -> None:
        if watch.ended or watch.wire.is_closing():
            return
        watch.wire.answer(chunk(watch.form.bookmark(self.registry.version)))
        self.loop.at(self.loop.now + self.bookmark_seconds, self._bookmark, watch)

    def _end(self, watch: Watch) -> None:
        if not watch.ended:
            watch.wire.answer(STREAM_END)
            self._stop(watch)

    def _stop(self, watch: Watch) -> None:
        watch.ended = True
        for watches in self._watches.values():
            if watch in watches:
                watches.remove(watch)


def _name(change: Change) -> str:
    metadata = change.last["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"


def _result(coroutine: Coroutine[Any, Any, T]) -> T:
    """The verbs read the request's body, which is there: they never wait."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        result: T = ended.value
        return result
    raise AssertionError("a verb waited")


def _refusal(error: ApiStatus) -> bytes:
    headers = {}
    if "retryAfterSeconds" in error.details:
        headers["Retry-After"] = str(error.details["retryAfterSeconds"])
    return whole(error.code, json.dumps(error.body()).encode(), headers)


def _document(registry: Registry, path: str) -> bytes:
    if path == "/version":
        return whole(200, json.dumps(discovery.VERSION).encode())
    return whole(200, json.dumps(discovery.document(registry.kinds, path.rstrip("/"))).encode())
