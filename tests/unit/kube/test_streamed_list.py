"""The informer where lists are streamed (WatchList): the beginning of a watch takes the list's place."""

from __future__ import annotations

import anyio
import pytest

from controller.kube.informer import INITIAL_EVENTS_END
from tests.support.scripted_api import Answer, an_object, events, hang, listing, refuse, status
from tests.unit.kube.following import QUIET, bookmark, following, until
from tests.unit.kube.virtual import virtual

Event = tuple[str, dict[str, object]]


def added(name: str, version: str) -> Event:
    return "ADDED", an_object(name, version)


def mark(version: str) -> Event:
    """The bookmark that ends the beginning."""
    metadata = {"resourceVersion": version, "annotations": {INITIAL_EVENTS_END: "true"}}
    return "BOOKMARK", {"kind": "Thing", "metadata": metadata}


@virtual
async def test_the_beginning_of_a_stream_fills_the_store_in_one_step_and_the_stream_goes_on() -> None:
    feed = events(added("b", "3"), added("a", "1"), mark("5"), added("c", "6"), bookmark("9"), hold=True)
    async with following(feed, streamed=True) as (informer, api, seen):
        await until(informer, lambda: informer.store.version == "9")
        assert informer.has_synced
        assert len(api.calls) == 1, "neither a list nor a second watch"
    assert seen == [(None, "b@3"), (None, "a@1"), (None, "c@6")]
    assert api.calls[0].query["sendInitialEvents"] == "true"
    assert "resourceVersion" not in api.calls[0].query


@virtual
async def test_nothing_is_seen_before_the_mark() -> None:
    feed = events(added("a", "1"), bookmark("4"), hold=True)
    async with following(feed, streamed=True) as (informer, api, seen):
        await api.asked(1)
        await anyio.sleep(5)
        assert (informer.has_synced, seen, informer.store.list()) == (False, [], [])


@virtual
async def test_changes_before_the_mark_belong_to_the_beginning() -> None:
    feed = events(
        added("a", "1"),
        added("b", "2"),
        ("MODIFIED", an_object("a", "6")),
        ("DELETED", an_object("b", "7")),
        mark("8"),
        hold=True,
    )
    async with following(feed, streamed=True) as (informer, _, seen):
        await informer.wait_synced()
    assert seen == [(None, "a@6")]


@virtual
async def test_an_odd_object_in_the_beginning_hides_only_itself() -> None:
    odd = {**an_object("odd", "3"), "color": {"not": "a string"}}
    gone = {**an_object("was-odd", "4"), "color": 7}
    feed = events(
        ("ADDED", odd), added("a", "1"), added("was-odd", "2"), ("DELETED", gone), mark("5"), hold=True
    )
    async with following(feed, streamed=True) as (informer, _, seen):
        await informer.wait_synced()
    assert seen == [(None, "a@1")]


@pytest.mark.parametrize("refusal", [refuse(422, "Invalid"), refuse(400, "BadRequest")])
def test_a_server_that_does_not_stream_lists_is_listed(refusal: Answer) -> None:
    @virtual
    async def run() -> None:
        script = (refusal, listing("5", an_object("a", "1")), refuse(410), listing("9"))
        async with following(*script, streamed=True) as (informer, api, _):
            await until(informer, lambda: informer.store.version == "9")
        assert ["sendInitialEvents" in call.query for call in api.calls[:4]] == [True, False, False, False]

    run()


@virtual
async def test_a_relist_is_streamed_and_reports_what_vanished() -> None:
    first = events(added("a", "1"), added("b", "2"), mark("5"), ("ERROR", status(410, "Expired")))
    second = events(added("b", "2"), added("c", "8"), mark("9"), hold=True)
    async with following(first, second, streamed=True) as (informer, api, seen):
        await until(informer, lambda: informer.store.version == "9")
    assert seen[2:] == [("a@1", None), (None, "c@8")]
    assert api.calls[1].query["resourceVersion"] == "5"


@virtual
async def test_half_a_beginning_counts_for_nothing() -> None:
    half = events(added("ghost", "1"), cut=True)
    async with following(half, listing("5", an_object("a", "2")), streamed=True) as (informer, _, seen):
        await informer.wait_synced()
    assert seen == [(None, "a@2")]


@pytest.mark.parametrize(
    "silence",
    [events(added("a", "1"), hold=True), events(added("a", "1")), hang],
    ids=["held", "ended", "hang"],
)
def test_a_beginning_without_an_end_is_listed_in_time(silence: Answer) -> None:
    """A proxy that buffers, a server that does not know the mark: the program must start all the same."""

    @virtual
    async def run() -> None:
        begun = anyio.current_time()
        script = (silence, listing("5", an_object("a", "1")), QUIET)
        async with following(*script, streamed=True) as (informer, api, seen):
            await informer.wait_synced()
            assert anyio.current_time() - begun < 100.0
        assert seen == [(None, "a@1")]
        assert api.calls[1].query == {"limit": "500", "resourceVersion": "0"}

    run()


@virtual
async def test_a_kind_that_is_not_installed_is_empty_and_synced_with_streams_too() -> None:
    script = (refuse(404), listing("5", an_object("a", "4")), QUIET)
    async with following(*script, streamed=True) as (informer, _, seen):
        await informer.wait_synced()
        assert (informer.absent, informer.store.list(), seen) == (True, [], [])
        await until(informer, lambda: informer.store.version == "5")
    assert seen == [(None, "a@4")]
