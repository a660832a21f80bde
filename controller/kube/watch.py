"""The list-and-watch protocol as a state and a step: list → watch → list again, and how to fail.

Guarantee: pure (time and jitter are arguments). The position never travels back: a list starts at the
server's cache (``0``), a relist at the last version seen, and at ``""`` (a quorum read) only after the
server said that it no longer has, or does not have yet, that version. A watch starts at the list's
version. Where lists are streamed (WatchList), the beginning of a watch takes the list's place, and a
server that refuses that, or does not bring it to an end, is listed. Every failure costs a growing delay,
so no broken proxy makes a hot loop, and no answer of a server ends the machine.

Non-guarantee: events that happened in a gap are not replayed; the relist that closes the gap is the
store's to compare.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
from msgspec.structs import replace

from controller.kube.backoff import Backoff
from controller.kube.errors import (
    BadRequest,
    ConnectionFailed,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    NotServed,
    ServerError,
    TooManyRequests,
)

PAGE_LIMIT = 500
WATCH_SECONDS = (300.0, 600.0)
IDLE_MARGIN_SECONDS = 30.0
VERY_SHORT_SECONDS = 1.0
INITIAL_IDLE_SECONDS = 30.0
"""How long the beginning of a streamed list may be silent: a server sends it without a pause. Well within
the time that a program waits for its caches, for the list comes after it."""
WATCH_RETRIES = 3
"""Consecutive 500s that a watch is tried again before the whole collection is listed again."""
ABSENCES = 3
"""404s in a row until a kind that was there counts as removed: a starting API server answers 404 for
custom resources that it has not loaded yet, and believing it would delete everything from the caches."""
ABSENT_SECONDS = 5.0
"""How often, about, a kind that the server does not have is looked for."""

Query = list[tuple[str, str]]


class Listing(msgspec.Struct, frozen=True):
    """About to ask for a page."""

    version: str
    token: str = ""
    snapshot: str = ""
    """The version of the first page, which the whole list is at."""
    paged: bool = True


class Streaming(msgspec.Struct, frozen=True):
    """About to open a watch that begins with all there is, or before the mark that ends this beginning."""

    version: str = ""
    """At least how new the content must be; empty means the newest."""


class Watching(msgspec.Struct, frozen=True):
    """About to open a watch, or in one, with everything up to ``version`` delivered."""

    version: str


class Position(msgspec.Struct, frozen=True):
    """All that has to be remembered between two requests. A Struct, because every event makes a new one."""

    state: Listing | Streaming | Watching = Listing("0")
    seen: str = ""
    """The newest version known; empty before the first complete list."""
    streams: bool = False
    """Lists are asked for as the beginning of a watch; until the server refuses it."""
    cache_pages: bool = False
    """The server pages lists that it could serve from its cache, so a relist must be paged too."""
    backoff: Backoff = msgspec.field(default_factory=Backoff)
    retries: int = 0
    absences: int = 0
    absent: bool = False
    """The server has no such kind: the collection is empty until it appears."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Where to go on after a failure, and after how many seconds."""

    position: Position
    delay: float


def start(*, streams: bool) -> Position:
    """Before the first request."""
    return Position(Streaming() if streams else Listing("0"), streams=streams)


def list_query(state: Listing) -> Query:
    """The query of the next page. A continue token carries its version; both together are refused."""
    limit = [("limit", str(PAGE_LIMIT))] if state.paged else []
    if state.token:
        return [*limit, ("continue", state.token)]
    return [*limit, ("resourceVersion", state.version)] if state.version else limit


def watch_seconds(jitter: float) -> int:
    """How long the server shall keep a watch; spread, so that reconnects do not come all at once."""
    low, high = WATCH_SECONDS
    return int(low + (high - low) * jitter)


def watch_query(state: Watching, seconds: int) -> Query:
    """The query of a watch. It never starts at ``0`` or ``""``, where old events come out of order."""
    assert state.version not in ("", "0"), "a watch starts at a list's version"
    return [("resourceVersion", state.version), *_watched(seconds)]


def stream_query(state: Streaming, seconds: int) -> Query:
    """The query of a watch that begins with the collection, ended by a bookmark that says so."""
    at = [("resourceVersion", state.version)] if state.version else []
    return [
        *at,
        ("sendInitialEvents", "true"),
        ("resourceVersionMatch", "NotOlderThan"),
        *_watched(seconds),
    ]


def opening_query(state: Watching | Streaming, seconds: int) -> Query:
    """The query of either."""
    return watch_query(state, seconds) if isinstance(state, Watching) else stream_query(state, seconds)


def _watched(seconds: int) -> Query:
    return [("watch", "true"), ("allowWatchBookmarks", "true"), ("timeoutSeconds", str(seconds))]


def after_page(position: Position, version: str, token: str) -> Position:
    """A page arrived; the list is complete when the new state is :class:`Watching`."""
    listing = _listing(position)
    snapshot = listing.snapshot or version
    if token:
        pages = position.cache_pages or listing.version == "0"
        following = replace(listing, token=token, snapshot=snapshot)
        return replace(position, state=following, cache_pages=pages)
    return _complete(position, snapshot)


def after_initial_events(position: Position, version: str) -> Position:
    """The mark arrived: what came before it is the collection at ``version``."""
    assert isinstance(position.state, Streaming), "the mark ends the beginning of a stream"
    return _complete(position, version)


def _complete(position: Position, version: str) -> Position:
    return replace(position, state=Watching(version), seen=version, retries=0, absences=0, absent=False)


def after_event(position: Position, version: str) -> Position:
    """An event or a bookmark moved the position; whatever was failing works again."""
    return replace(position, state=Watching(version), seen=version, retries=0)


def after_list_error(position: Position, error: KubeError, now: float, jitter: float) -> Failed:
    """A list failed: from which version to try again, and after what delay."""
    listing = _listing(position)
    position = replace(
        position, absences=position.absences + 1 if isinstance(error, NotFound | NotServed) else 0
    )
    if isinstance(error, Gone) and listing.token:
        # The token expired between pages. Once more, whole: paging again could lose the same race.
        return Failed(replace(position, state=Listing(listing.version, paged=False)), 0.0)
    if (isinstance(error, Gone) or is_too_new(error)) and listing.version:
        return Failed(replace(position, state=Listing("")), 0.0)
    absent = position.absent or (position.absences >= (ABSENCES if position.seen else 1))
    restart = (
        Listing("") if isinstance(error, NotFound | NotServed) else replace(listing, token="", snapshot="")
    )
    position = replace(position, state=restart, absent=absent)
    if absent:
        # Nothing is wrong, so nothing grows: a kind that is installed later is seen within seconds.
        return Failed(position, ABSENT_SECONDS * (1.0 + jitter))
    return _delayed(position, error, now, jitter)


def after_watch_end(position: Position, opened: float, events: int, now: float, jitter: float) -> Failed:
    """The server closed a watch, which is normal unless it was at once and without a single event."""
    if now - opened >= VERY_SHORT_SECONDS or events:
        return Failed(position, 0.0)
    return _delayed(_relisting(position), ServerError("a watch ended at once, empty"), now, jitter)


def after_watch_error(position: Position, error: KubeError, now: float, jitter: float) -> Failed:
    """A watch could not be opened, was cut, or carried an ERROR event."""
    if isinstance(position.state, Streaming):
        return _after_stream_error(position, position.state, error, now, jitter)
    if isinstance(error, ConnectionFailed | TooManyRequests):
        return _delayed(position, error, now, jitter)
    if isinstance(error, ServerError) and position.retries < WATCH_RETRIES:
        return _delayed(replace(position, retries=position.retries + 1), error, now, jitter)
    return _delayed(_relisting(position), error, now, jitter)


def _after_stream_error(
    position: Position, state: Streaming, error: KubeError, now: float, jitter: float
) -> Failed:
    """The initial events were refused or cut; what came of them does not count."""
    if isinstance(error, Invalid | BadRequest):
        # Servers before 1.27 refuse resourceVersionMatch in a watch, later ones without the feature
        # sendInitialEvents. Neither will change its mind, so it is not asked again.
        return Failed(replace(position, state=_first_list(position), streams=False), 0.0)
    if isinstance(error, NotFound | NotServed):
        return after_list_error(replace(position, state=_first_list(position)), error, now, jitter)
    if (isinstance(error, Gone) or is_too_new(error)) and state.version:
        return Failed(replace(position, state=Streaming()), 0.0)
    if isinstance(error, Gone):
        # Too old, though it asked for no age: whatever says so may still answer a list.
        return _delayed(replace(position, state=_first_list(position), retries=0), error, now, jitter)
    # Whatever it was (a proxy that buffers, a server that does not know the mark), a list may get through.
    return _delayed(replace(position, state=_first_list(position)), error, now, jitter)


def is_too_new(error: KubeError) -> bool:
    """The server has not reached the version yet (it restarted, or another one answered)."""
    if not isinstance(error, ServerError):
        return False
    causes = error.details.get("causes") or []
    return any(cause.get("reason") == "ResourceVersionTooLarge" for cause in causes) or (
        "Too large resource version" in error.message
    )


def _first_list(position: Position) -> Listing:
    return Listing(position.seen or "0", paged=position.cache_pages or not position.seen)


def _relisting(position: Position) -> Position:
    again = Streaming(position.seen) if position.streams else _first_list(position)
    return replace(position, state=again, retries=0)


def _listing(position: Position) -> Listing:
    assert isinstance(position.state, Listing), "a page answers a list"
    return position.state


def _delayed(position: Position, error: KubeError, now: float, jitter: float) -> Failed:
    backoff, delay = position.backoff.failed(now, jitter)
    asked = getattr(error, "retry_after", None) or 0.0
    return Failed(replace(position, backoff=backoff), max(delay, asked))
