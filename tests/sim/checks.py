"""What must hold after every step: who leads, who writes, what a cache says, what is worked on.

What is promised of the lease, and checked here at the wire and at the server:

- At any moment at most one running process believes that it may act.
- No write leaves a process that is not the lease's holder at the server: neither one that was stopped and
  goes on, nor one whose renewals were lost.
- A write that was on its way when another process took the lease may still be carried out. So every write
  is one that cannot do harm: conditional on a version or uid, or one that makes what has a name of its
  own (twice is an error) or says the whole intent (and the next leader's reconcile says its own).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Container, Hashable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from controller.kube.controller import Done
from controller.kube.objects import Object
from controller.kube.resource import LEASES
from controller.kube.store import key_of
from controller.kube.versions import is_at_least
from hack.devcluster.objects import GroupResource
from hack.devcluster.store import Change
from tests.sim.http import Incoming
from tests.sim.processes import Process
from tests.sim.trace import Trace

if TYPE_CHECKING:
    from controller.kube.informer import Informer

K = TypeVar("K", bound=Hashable)

LEASE_KIND: GroupResource = (LEASES.group, LEASES.plural)
UNGUARDED = ("/leases", "/events")
"""Writes of those are nobody's privilege."""


class Leadership:
    """Who holds the lease at the server, and who acts as if it did."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.holder = ""
        self.terms: dict[int, str] = {}
        self.is_alive = False
        """Somebody wrote the lease since this was last reset."""
        self._believers: dict[Process, Callable[[], bool]] = {}

    def watch(self, process: Process, may_act: Callable[[], bool]) -> None:
        """``may_act`` is what the process believes."""
        self._believers[process] = may_act

    def leaders(self) -> list[Process]:
        """Who believes that it may act, and could."""
        return [
            process
            for process, may_act in self._believers.items()
            if process.runs and process.context.run(may_act)
        ]

    def check(self) -> None:
        """Never two."""
        believers = [process.identity for process in self.leaders()]
        if len(believers) > 1:
            raise self._trace.fail("checks", f"{' and '.join(believers)} lead at once")

    def changed(self, change: Change) -> None:
        """The lease at the server."""
        spec = change.last.get("spec") or {}
        holder = spec.get("holderIdentity") or ""
        if change.new is None:
            return
        term = spec.get("leaseTransitions") or 0
        if holder and self.terms.setdefault(term, holder) != holder:
            raise self._trace.fail("checks", f"term {term} has two holders: {self.terms[term]} and {holder}")
        if self.terms and term < max(self.terms):
            raise self._trace.fail("checks", f"the term goes back to {term}")
        self.holder, self.is_alive = holder, True

    def sends(self, process: Process, request: Incoming) -> None:
        """A request leaves its process."""
        if request.is_write and not is_unguarded(request) and self.holder != process.identity:
            holder = self.holder or "nobody"
            raise self._trace.fail("checks", f"{process.identity} sends {request}, but {holder} leads")

    def accepts(self, request: Incoming) -> None:
        """The server carried a write out; any could have been on its way when the lease was lost."""
        if not is_unguarded(request) and not is_harmless_late(request):
            who = request.process.identity if request.process else "somebody"
            raise self._trace.fail("checks", f"an unconditional write of {who}: {request}")


def is_unguarded(request: Incoming) -> bool:
    """Whether anybody may write this."""
    return any(part in request.path for part in UNGUARDED)


def is_harmless_late(request: Incoming) -> bool:
    """Whether a write may be carried out after its sender was replaced."""
    body: Any = json.loads(request.body) if request.body else {}
    match request.method:
        case "POST":
            return True
        case "DELETE":
            return bool((body.get("preconditions") or {}).get("uid"))
        case "PUT":
            return bool(body["metadata"].get("resourceVersion"))
    kind = request.headers.get("Content-Type", "")
    if kind.startswith("application/json-patch"):
        return any(step["op"] == "test" for step in body)
    if kind.startswith("application/apply-patch"):
        return True
    return bool((body.get("metadata") or {}).get("resourceVersion"))


class CacheCheck:
    """What one informer told its handlers, replayed: the same as its store, in steps that only go on."""

    def __init__(
        self, trace: Trace, process: Process, informer: Informer[Any], deleted: Container[str]
    ) -> None:
        """``deleted`` are the uids that are gone at the server."""
        self._trace, self._process, self.informer, self._deleted = trace, process, informer, deleted
        self.told: dict[tuple[str, str], Object] = {}
        self._version = ""
        informer.add_handler(self._heard)

    def _heard(self, old: Object | None, new: Object | None) -> None:
        item = new or old
        assert item is not None
        key = key_of(item)
        known = self.told.pop(key, None)
        what = f"{self.informer.resource.plural} {'/'.join(key)}"
        if (known is None) != (old is None):
            raise self._fail(f"{what}: told as {_shown(old)} → {_shown(new)}, and {_shown(known)} was known")
        if known is not None and old is not None and known.metadata.uid != old.metadata.uid:
            raise self._fail(f"{what}: another one went than the one that was known")
        if new is None and old is not None and old.metadata.uid not in self._deleted:
            raise self._fail(f"{what}: vanished, though nobody deleted it")
        if new is not None:
            if (
                old is not None
                and is_at_least(new.metadata.resource_version, old.metadata.resource_version) is False
            ):
                raise self._fail(f"{what}: goes back from {_shown(old)} to {_shown(new)}")
            self.told[key] = new
        self.check()

    @property
    def selector(self) -> str | None:
        """Of labels; None where all objects are seen."""
        return dict(self.informer._selectors).get("labelSelector")

    def check(self) -> None:
        """The store's version never goes back."""
        before, self._version = self._version, self.informer.store.version
        if before and is_at_least(self._version, before) is False:
            raise self._fail(
                f"the store of {self.informer.resource.plural} goes back: {before} → {self._version}"
            )

    def differences(self, stored: Iterable[dict[str, Any]]) -> list[str]:
        """What keeps cache, handlers and server from being equal."""
        plural = f"{self._process.identity}'s {self.informer.resource.plural}"
        server = {
            (each["metadata"].get("namespace", ""), each["metadata"]["name"]): each["metadata"][
                "resourceVersion"
            ]
            for each in stored
        }
        cache = {(item.namespace, item.name): item.resource_version for item in self.informer.store.list()}
        told = {key: _version(item) for key, item in self.told.items()}
        found = [f"{plural}: not synced"] if not self.informer.has_synced else []
        found += [f"{plural}: cache {_only(cache, server)}"] if cache != server else []
        return found + ([f"{plural}: handlers {_only(told, cache)}"] if told != cache else [])

    def _fail(self, what: str) -> BaseException:
        return self._trace.fail(self._process.identity, what)


def _only(ours: dict[tuple[str, str], str], theirs: dict[tuple[str, str], str]) -> str:
    names = sorted({name for name, _ in ours.items() ^ theirs.items()})
    return ", ".join(f"{'/'.join(name)} at {ours.get(name)}, not {theirs.get(name)}" for name in names[:3])


def _shown(item: Object | None) -> str:
    return f"{item.metadata.uid[-4:]}@{_version(item)}" if item is not None else "nothing"


class WorkCheck:
    """What is worked on: no key twice at once in a process."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._active: dict[Process, dict[object, int]] = {}

    def begins(self, process: Process, key: object) -> None:
        """A reconcile starts."""
        keys = self._active.setdefault(process, {})
        if key in keys:
            raise self._trace.fail(process.identity, f"works on {key} twice at once")
        keys[key] = 1

    def watched(
        self, process: Process, reconcile: Callable[[K], Awaitable[Done]]
    ) -> Callable[[K], Awaitable[Done]]:
        """``reconcile``, looked at."""

        async def watched(key: K) -> Done:
            self.begins(process, key)
            try:
                return await reconcile(key)
            finally:
                self.ends(process, key)

        return watched

    def ends(self, process: Process, key: object) -> None:
        """It is over, well or badly."""
        self._active[process].pop(key, None)

    def unfinished(self, process: Process) -> list[str]:
        """What is in hand, and may still write what it found out before."""
        return [f"{process.identity} works on {key}" for key in self._active.get(process, ())]


class Checks:
    """Those of a run that are not about one informer."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.leadership, self.work = Leadership(trace), WorkCheck(trace)
        self.deleted: set[str] = set()
        """The uids that are gone at the server."""

    def committed(self, request: Incoming | None, gr: GroupResource, change: Change) -> None:
        """The server changed something."""
        if change.new is None:
            self.deleted.add(change.last["metadata"]["uid"])
        if gr == LEASE_KIND:
            self.leadership.changed(change)
        elif request is not None:
            self.leadership.accepts(request)
        self.leadership.check()

    def sends(self, process: Process, request: Incoming) -> None:
        """A request leaves its process."""
        self.leadership.sends(process, request)
        self.leadership.check()


def _version(item: Object) -> str:
    return item.metadata.resource_version
