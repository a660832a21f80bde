"""A live cache of one kind: the thin driver between the protocol, the HTTP stream and the store.

Guarantee: once synced, the store follows the server until :meth:`Informer.run` is cancelled; handlers
run after the store was changed and see one call for every difference, so that whoever replays them ends
with the store's content. A kind that the server does not have is empty and synced, and appears later.
No answer of the server ends ``run``. An object that does not fit its type is left out, or kept in its
last good form, and logged: one odd object cannot hide the others.

Non-guarantee: intermediate states are skipped, and there is no order across objects. Handlers must not
block or await; they put a key into a queue.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import anyio
import msgspec
import structlog

from controller.kube import chance, metrics, watch
from controller.kube.client import Client, ListMeta, selectors
from controller.kube.errors import KubeError, NotFound, ServerError, status_error
from controller.kube.lines import LineSplitter
from controller.kube.objects import KubeObject, Object
from controller.kube.resource import Resource
from controller.kube.store import Delta, IndexFunction, Store, StoreWriter

T = TypeVar("T", bound=Object)
Handler = Callable[[T | None, T | None], None]

log = structlog.get_logger(__name__)


class SyncTimeout(KubeError):
    """A cache was not filled in time; the message names it."""


class _RawPage(msgspec.Struct, frozen=True):
    metadata: ListMeta = ListMeta()
    items: list[msgspec.Raw] | None = None


class _RawEvent(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


_PAGE = msgspec.json.Decoder(_RawPage)
_EVENT = msgspec.json.Decoder(_RawEvent)
_METADATA = msgspec.json.Decoder(KubeObject)


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
        indexes: Mapping[str, IndexFunction[T]] | None = None,
        jitter: chance.Jitter = chance.jitter,
    ) -> None:
        if "managed_fields" in getattr(type_, "__struct_fields__", ()):
            raise ValueError(f"{type_.__name__} would cache managedFields, which nobody may afford")
        self.resource = resource
        self._client, self._namespace, self._jitter = client, namespace, jitter
        self._selectors = selectors(label_selector, field_selector)
        self._decoder = msgspec.json.Decoder(type_)
        self._writer: StoreWriter[T] = StoreWriter(indexes)
        self._handlers: list[Handler[T]] = []
        self._position = watch.Position()
        self._pages: list[T] = []
        self._meter = metrics.InformerMeter(resource.plural)
        self._synced = anyio.Event()
        self._changed = anyio.Event()

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

    def __repr__(self) -> str:
        state = type(self._position.state).__name__
        return f"<Informer of {self.resource.plural}, {state}, {self.store!r}>"

    async def wait_synced(self) -> None:
        """Wait for the first sync; no limit of its own (see :func:`wait_all_synced`)."""
        await self._synced.wait()

    async def wait_changed(self) -> None:
        """Wait until the store's content or version changes after this call."""
        await self._changed.wait()

    def add_handler(self, handler: Handler[T]) -> None:
        """Call ``handler(old, new)`` for every change from now on, and first for what is there already."""
        # No await between the replay and the registration, so no change falls in between.
        for item in self.store.list() if self.has_synced else ():
            self._tell(handler, Delta(None, item))
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
            page = _decoded(_PAGE, await self._client.raw("GET", self._path, query=query))
        except KubeError as error:
            self._pages.clear()
            now = anyio.current_time()
            await self._failed(error, watch.after_list_error(self._position, error, now, self._jitter()))
            return
        if not state.token:
            self._pages.clear()
        self._pages += self._objects(page.items or [])
        self._position = watch.after_page(
            self._position, page.metadata.resource_version, page.metadata.continue_
        )
        if isinstance(self._position.state, watch.Watching):
            self._replace(self._position.seen)

    def _replace(self, version: str) -> None:
        items, self._pages = self._pages, []
        self._meter.lists.inc()
        self._publish(self._writer.replace(items, version))
        self._synced.set()

    async def _watch(self, state: watch.Watching) -> None:
        seconds = watch.watch_seconds(self._jitter())
        query = [*self._selectors, *watch.watch_query(state, seconds)]
        opened, events = anyio.current_time(), 0
        try:
            async with self._stream(query, seconds) as chunks:
                splitter = LineSplitter()
                async for chunk in chunks:
                    for line in splitter.feed(chunk):
                        self._take(_decoded(_EVENT, line))
                        self._meter.events.inc()
                        events += 1
        except KubeError as error:
            now = anyio.current_time()
            await self._failed(error, watch.after_watch_error(self._position, error, now, self._jitter()))
            return
        now = anyio.current_time()
        failed = watch.after_watch_end(self._position, opened, events, now, self._jitter())
        await self._failed(None, failed)

    def _stream(
        self, query: watch.Query, seconds: int
    ) -> contextlib.AbstractAsyncContextManager[AsyncIterator[bytes]]:
        idle = seconds + watch.IDLE_MARGIN_SECONDS
        return self._client.transport.stream(self._path, query=query, idle_seconds=idle)

    def _take(self, event: _RawEvent) -> None:
        if event.type == "ERROR":
            raise status_error(_decoded(msgspec.json.Decoder(dict[str, Any]), event.object))
        if event.type == "BOOKMARK":
            version = _decoded(_METADATA, event.object).resource_version
            self._writer.bookmark(version)
            self._publish([])
        elif event.type in ("ADDED", "MODIFIED", "DELETED"):
            version = self._apply(event)
        else:
            raise ServerError(f"a watch event of the unknown type {event.type!r}", reason="BadAnswer")
        self._position = watch.after_event(self._position, version)

    def _apply(self, event: _RawEvent) -> str:
        item = self._fitting(event.object)
        version = item.resource_version if item else _decoded(_METADATA, event.object).resource_version
        item = item or self._last_good(event.object)
        deltas: list[Delta[T]] = []
        if item is not None:
            deltas = self._writer.remove(item) if event.type == "DELETED" else self._writer.put(item)
        self._writer.bookmark(version)
        self._publish(deltas)
        return version

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
        return known if known is not None and known.uid == metadata.uid else None

    async def _failed(self, error: KubeError | None, failed: watch.Failed) -> None:
        was_absent, self._position = self._position.absent, failed.position
        if failed.position.absent and isinstance(error, NotFound):
            if not was_absent:
                log.info("the API server has no such kind", resource=self.resource.plural)
            self._replace(self.store.version)
        elif error is not None and failed.delay:
            self._meter.failures.inc()
            log.warning("list or watch failed", resource=self.resource.plural, error=str(error))
        await anyio.sleep(failed.delay)

    def _publish(self, deltas: Sequence[Delta[T]]) -> None:
        for delta in deltas:
            for handler in self._handlers:
                self._tell(handler, delta)
        self._meter.objects.set(len(self.store))
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    def _tell(self, handler: Handler[T], delta: Delta[T]) -> None:
        try:
            handler(delta.old, delta.new)
        except Exception:
            # The store is right already, and the other handlers must hear of the change all the same.
            log.exception("a handler failed", resource=self.resource.plural)

    @property
    def _path(self) -> str:
        return self.resource.path(self._namespace)


D = TypeVar("D")


def _decoded(decoder: msgspec.json.Decoder[D], content: bytes | msgspec.Raw) -> D:
    try:
        return decoder.decode(content)
    except msgspec.MsgspecError as error:
        raise ServerError(f"the answer is not what was expected: {error}", reason="BadAnswer") from error


async def wait_all_synced(informers: Sequence[Informer[Any]], *, seconds: float = 120.0) -> None:
    """Wait for the first sync of all; :class:`SyncTimeout` names those that did not make it."""
    with anyio.move_on_after(seconds):
        for informer in informers:
            await informer.wait_synced()
    late = [informer.resource.plural for informer in informers if not informer.has_synced]
    if late:
        raise SyncTimeout(f"not synced after {seconds:g} s: {', '.join(late)}")
