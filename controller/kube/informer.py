"""A live cache of one kind: the thin driver between the protocol, the HTTP stream and the store.

Guarantee: once synced, the store follows the server until :meth:`Informer.run` is cancelled; handlers
run after the store was changed and see one call for every difference, so that whoever replays them ends
with the store's content. A kind that the server does not have is empty and synced, and appears later.
No answer of the server ends ``run``. With ``streamed`` the collection comes as the beginning of a watch
where the server can do that, else in pages. An object that does not fit its type is left out, or kept in its
last good form, and logged: one odd object cannot hide the others.

Non-guarantee: intermediate states are skipped, and there is no order across objects. Handlers must not
block or await; they put a key into a queue.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

import anyio
import anyio.lowlevel
import msgspec
import structlog

from controller.kube import chance, metrics, watch
from controller.kube.client import Client, ListMeta, selectors
from controller.kube.errors import ApiError, Gone, KubeError, NotFound, NotServed, ServerError, status_error
from controller.kube.lines import LineSplitter, lines_of
from controller.kube.objects import Keeper, Kept, KubeObject, Object
from controller.kube.resource import Resource
from controller.kube.store import Indexes, IndexFunction, Store, StoreWriter

T = TypeVar("T", bound=Object)
Handler = Callable[[T | None, T | None], None]

log = structlog.get_logger(__name__)


class SyncTimeout(KubeError):
    """A cache was not filled in time; the message names it."""


S = TypeVar("S")


class _Page(msgspec.Struct, Generic[S], frozen=True):
    metadata: ListMeta = ListMeta()
    items: list[S] | None = None


class _Event(msgspec.Struct, Generic[S], frozen=True, gc=False):
    type: str
    object: S


class _Change(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """What nearly all events are. An event of another type does not fit, and is looked at on its own then."""

    # These strings are not made anew for each event, as those of a str are.
    type: Literal["ADDED", "MODIFIED", "DELETED"]
    object: S


FREEZE_SECONDS = 0.1
SLICE = 100
"""Differences of a list that handlers are told before the rest of the program gets its turn."""

_PAGE = msgspec.json.Decoder(_Page[msgspec.Raw])
_EVENT = msgspec.json.Decoder(_Event[msgspec.Raw])
_CHANGES = frozenset({"ADDED", "MODIFIED", "DELETED"})
_METADATA = msgspec.json.Decoder(KubeObject)
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
"""The annotation of the bookmark that ends the beginning of a streamed list."""


class Informer(Generic[T]):
    """List and watch one collection into :attr:`store`."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        type_: type[T],
        *,
        namespace: str | None = None,
        label_selector: str | None = None,
        field_selector: str | None = None,
        indexes: Indexes[T] | Mapping[str, IndexFunction[T]] | None = None,
        streamed: bool = False,
        jitter: chance.Jitter = chance.jitter,
    ) -> None:
        if "managed_fields" in getattr(type_, "__struct_fields__", ()):
            raise ValueError(f"{type_.__name__} would cache managedFields, which nobody may afford")
        self.resource = resource
        self._client, self._namespace, self._jitter = client, namespace, jitter
        self._selectors = selectors(label_selector, field_selector)
        self._decoder = msgspec.json.Decoder(type_)
        wanted: Any = type_
        self._page_decoder: msgspec.json.Decoder[_Page[T]] = msgspec.json.Decoder(_Page[wanted])
        self._change_decoder: msgspec.json.Decoder[_Change[T]] = msgspec.json.Decoder(_Change[wanted])
        self._writer: StoreWriter[T] = StoreWriter(indexes, _keeper(type_))
        self._handlers: list[Handler[T]] = []
        self._position = watch.start(streams=streamed)
        self._meter = metrics.InformerMeter(resource.plural)
        self._synced = anyio.Event()
        self._changed: anyio.Event | None = None
        """Set with the next change; made by the first who waits for it."""

    @property
    def store(self) -> Store[T]:
        """The cache; read it any time, it is empty before the first sync."""
        return self._writer.store

    @property
    def has_synced(self) -> bool:
        """The first complete list is in the store and every handler was told all of it."""
        return self._synced.is_set()

    @property
    def absent(self) -> bool:
        """The server says that it has no such kind."""
        return self._position.absent

    def covers(self, namespace: str) -> bool:
        """Whether objects of ``namespace`` belong to the collection, selectors aside."""
        return self._namespace is None or self._namespace == namespace

    def __repr__(self) -> str:
        state = type(self._position.state).__name__
        return f"<Informer of {self.resource.plural}, {state}, {self.store!r}>"

    async def wait_synced(self) -> None:
        """Wait for the first sync; no limit of its own (see :func:`wait_all_synced`)."""
        await self._synced.wait()

    async def wait_changed(self) -> None:
        """Wait until the store's content or version changes after this call."""
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def add_handler(self, handler: Handler[T]) -> None:
        """Call ``handler(old, new)`` for every change from now on, and first for what is there already."""
        # No await between the replay and the registration, so no change falls in between; and a list
        # that is being told just now is told to those only who listened when it came.
        for item in self.store.list():
            self._tell(handler, None, item)
        self._handlers.append(handler)

    async def run(self) -> None:
        """Follow the server until cancelled."""
        while True:
            state = self._position.state
            if isinstance(state, watch.Listing):
                await self._list(state)
            else:
                await self._watch(state)

    async def _list(self, state: watch.Listing) -> None:
        query = [*self._selectors, *watch.list_query(state)]
        try:
            body = await self._client.raw("GET", self._path, query=query)
            metadata, items = self._page(body)
        except KubeError as error:
            now = anyio.current_time()
            await self._failed(error, watch.after_list_error(self._position, error, now, self._jitter()))
            return
        if not state.token:
            self._writer.begin()
        self._writer.stage(items)
        self._position = watch.after_page(self._position, metadata.resource_version, metadata.continue_)
        if isinstance(self._position.state, watch.Watching):
            await self._replace(self._position.seen)

    def _page(self, body: bytes) -> tuple[ListMeta, Iterable[T]]:
        try:
            page = self._page_decoder.decode(body)
        except msgspec.MsgspecError:
            # One object does not fit, or all of it: object by object shows which.
            raw = _decoded(_PAGE, body)
            return raw.metadata, self._objects(raw.items or [])
        return page.metadata, page.items or []

    async def _replace(self, version: str) -> None:
        deltas, handlers = self._writer.commit(version), tuple(self._handlers)
        self._meter.lists.inc()
        for told, delta in enumerate(deltas, 1):
            for handler in handlers:
                self._tell(handler, delta.old, delta.new)
            if told % SLICE == 0:
                await anyio.lowlevel.checkpoint()
        self._announce()
        self._synced.set()

    async def _watch(self, state: watch.Watching | watch.Streaming) -> None:
        seconds = watch.watch_seconds(self._jitter())
        opened, events = anyio.current_time(), 0
        try:
            async with self._stream(watch.opening_query(state, seconds), seconds) as chunks:
                splitter = LineSplitter()
                if isinstance(state, watch.Streaming):
                    events += await self._begin(chunks, splitter)
                async for chunk in chunks:
                    events += self._take_all(splitter.feed(chunk))
        except KubeError as error:
            now = anyio.current_time()
            await self._failed(error, watch.after_watch_error(self._position, error, now, self._jitter()))
            return
        now = anyio.current_time()
        failed = watch.after_watch_end(self._position, opened, events, now, self._jitter())
        await self._failed(None, failed)

    async def _begin(self, chunks: AsyncIterator[Sequence[bytes]], splitter: LineSplitter) -> int:
        """Collect up to the mark, show it in one step, and take what came along behind it."""
        self._writer.begin()
        while True:
            try:
                with anyio.fail_after(watch.INITIAL_IDLE_SECONDS):
                    chunk = await anext(chunks, None)
            except TimeoutError:
                raise ServerError("the initial events stopped before their end") from None
            if chunk is None:
                raise ServerError("a watch ended before the end of its initial events")
            lines = lines_of(splitter.feed(chunk))
            for place, line in enumerate(lines, 1):
                version = self._take_initial(line)
                if version:
                    self._position = watch.after_initial_events(self._position, version)
                    await self._replace(version)
                    return self._take_all(b"\n".join(lines[place:]))

    def _take_initial(self, line: bytes) -> str:
        """One event before the mark; the mark's version, and nothing for all others."""
        try:
            change = self._change_decoder.decode(line)
        except msgspec.MsgspecError:
            return self._take_odd_initial(_decoded(_EVENT, line))
        if change.type == "DELETED":
            self._writer.unstage(change.object)
        else:
            self._writer.stage((change.object,))
        return ""

    def _take_odd_initial(self, event: _Event[msgspec.Raw]) -> str:
        if event.type in ("ADDED", "MODIFIED"):
            self._writer.stage(self._objects([event.object]))
            return ""
        if event.type == "DELETED":
            self._writer.unstage(_decoded(_METADATA, event.object))
            return ""
        if event.type == "BOOKMARK":
            metadata = _decoded(_METADATA, event.object).metadata
            return metadata.resource_version if INITIAL_EVENTS_END in (metadata.annotations or {}) else ""
        raise _refused(event)

    def _stream(
        self, query: watch.Query, seconds: int
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[Sequence[bytes]]]:
        idle = seconds + watch.IDLE_MARGIN_SECONDS
        return self._client.transport.stream(self._path, query=[*self._selectors, *query], idle_seconds=idle)

    def _take_all(self, text: bytes) -> int:
        """The events that arrived together, a line each; handlers hear of each at once."""
        try:
            # All at once, which saves a call for each.
            changes = self._change_decoder.decode_lines(text)
        except msgspec.MsgspecError:
            return self._count(map(self._take, lines_of(text)))
        return self._count(map(self._apply, changes))

    def _count(self, versions: Iterable[str]) -> int:
        """How many events there are; the last one's version is the new position."""
        taken, version = 0, ""
        try:
            for taken, version in enumerate(versions, 1):  # noqa: B007
                pass
        finally:
            if taken:
                self._position = watch.after_event(self._position, version)
                self._meter.events.inc(taken)
                self._announce()
        return taken

    def _take(self, line: bytes) -> str:
        """One event of those that are not all changes; returns the version that it moves the position to."""
        try:
            change = self._change_decoder.decode(line)
        except msgspec.MsgspecError:
            return self._take_odd(_decoded(_EVENT, line))
        return self._apply(change)

    def _take_odd(self, event: _Event[msgspec.Raw]) -> str:
        """An event that is no change of an object, or whose object does not fit."""
        if event.type != "BOOKMARK" and event.type not in _CHANGES:
            raise _refused(event)
        version = _decoded(_METADATA, event.object).resource_version
        if event.type in _CHANGES:
            item = self._fitting(event.object) or self._last_good(event.object)
            if item is not None:
                type_: Any = event.type
                self._apply(_Change(type_, item))
        self._writer.bookmark(version)
        return version

    def _apply(self, change: _Change[T]) -> str:
        item = change.object
        deltas = self._writer.remove(item) if change.type == "DELETED" else self._writer.put(item)
        for delta in deltas:
            for handler in self._handlers:
                self._tell(handler, delta.old, delta.new)
        return item.metadata.resource_version

    def _objects(self, raws: Iterable[msgspec.Raw]) -> Iterable[T]:
        for raw in raws:
            item = self._fitting(raw) or self._last_good(raw)
            if item is not None:
                yield item

    def _fitting(self, raw: msgspec.Raw) -> T | None:
        try:
            return self._decoder.decode(raw)
        except msgspec.MsgspecError as error:
            metadata = _decoded(_METADATA, raw).metadata
            self._meter.unfit.inc()
            where = f"{metadata.namespace}/{metadata.name}"
            log.warning(
                "object does not fit its type", kind=self.resource.kind, object=where, error=str(error)
            )
            return None

    def _last_good(self, raw: msgspec.Raw) -> T | None:
        metadata = _decoded(_METADATA, raw).metadata
        known = self.store.get(metadata.namespace, metadata.name)
        return known if known is not None and known.metadata.uid == metadata.uid else None

    async def _failed(self, error: KubeError | None, failed: watch.Failed) -> None:
        was_absent, self._position = self._position.absent, failed.position
        if failed.position.absent and isinstance(error, NotFound | NotServed):
            if not was_absent:
                log.info("the API server has no such kind", resource=self.resource.plural)
            self._writer.begin()
            await self._replace(self.store.version)
        elif error is not None and failed.delay:
            self._meter.failures.inc()
            # A version that is gone is everyday life: after a quiet night, or a compaction.
            say = log.debug if isinstance(error, Gone) else log.warning
            say("list or watch failed", resource=self.resource.plural, error=str(error))
        await anyio.sleep(failed.delay)

    def _announce(self) -> None:
        self._meter.objects.set(len(self.store))
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set()

    def _tell(self, handler: Handler[T], old: T | None, new: T | None) -> None:
        try:
            handler(old, new)
        except Exception:
            # The store is right already, and the other handlers must hear of the change all the same.
            log.exception("a handler failed", resource=self.resource.plural)

    @property
    def _path(self) -> str:
        return self.resource.path(self._namespace)


def _keeper(type_: Any) -> Keeper | None:
    return type_.keeper() if issubclass(type_, Kept) else None


D = TypeVar("D")


def _decoded(decoder: msgspec.json.Decoder[D], content: bytes | msgspec.Raw) -> D:
    try:
        return decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise ServerError(f"the answer is not what was expected: {error}", reason="BadAnswer") from error


def _refused(event: _Event[msgspec.Raw]) -> ApiError:
    """What an event that is neither a change nor a bookmark says."""
    if event.type == "ERROR":
        return status_error(_decoded(msgspec.json.Decoder(dict[str, Any]), event.object))
    return ServerError(f"a watch event of the unknown type {event.type!r}", reason="BadAnswer")


async def _freeze_what_arrives() -> None:
    """What the caches hold lives as long as the process: no collection needs to look at it again."""
    while True:
        # From the start and not only at the end: the full collections on the way there would look at
        # everything again and again, for fifty milliseconds and more at a time.
        gc.freeze()
        await anyio.sleep(FREEZE_SECONDS)


async def wait_all_synced(informers: Sequence[Informer[Any]], *, seconds: float = 120.0) -> None:
    """Wait for the first sync of all; :class:`SyncTimeout` names those that did not make it."""
    with anyio.move_on_after(seconds):
        async with anyio.create_task_group() as group:
            group.start_soon(_freeze_what_arrives)
            for informer in informers:
                await informer.wait_synced()
            group.cancel_scope.cancel()
    gc.freeze()
    late = [informer.resource.plural for informer in informers if not informer.has_synced]
    if late:
        raise SyncTimeout(f"not synced after {seconds:g} s: {', '.join(late)}")
