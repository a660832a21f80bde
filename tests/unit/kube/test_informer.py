"""The informer against scripted servers: every way in which a list or a watch can go wrong."""

from __future__ import annotations

import anyio
import msgspec
import pytest
import structlog

from controller.kube.client import Client
from controller.kube.informer import SLICE, Informer, SyncTimeout, wait_all_synced
from tests.support.scripted_api import (
    Answer,
    an_object,
    chunks,
    events,
    hang,
    listing,
    refuse,
    scripted_api,
    status,
)
from tests.unit.kube.following import QUIET, Seen, bookmark, following, shown, until
from tests.unit.kube.things import THINGS, Thing
from tests.unit.kube.virtual import virtual


@virtual
async def test_a_list_fills_the_store_and_events_follow() -> None:
    feed = events(
        ("ADDED", an_object("b", "6")),
        ("MODIFIED", an_object("a", "7")),
        ("DELETED", an_object("b", "8")),
        bookmark("20"),
        hold=True,
    )
    async with following(listing("5", an_object("a", "3")), feed) as (informer, api, seen):
        await informer.wait_synced()
        await until(informer, lambda: informer.store.version == "20")
    assert seen == [(None, "a@3"), (None, "b@6"), ("a@3", "a@7"), ("b@8", None)]
    assert [item.resource_version for item in informer.store.list()] == ["7"]
    assert api.calls[0].query == {"limit": "500", "resourceVersion": "0"}
    watched = api.calls[1].query
    assert (watched["watch"], watched["resourceVersion"], watched["allowWatchBookmarks"]) == (
        "true",
        "5",
        "true",
    )


@virtual
async def test_nothing_is_seen_before_the_last_page() -> None:
    pages = (listing("5", an_object("a", "1"), token="t"), hang)
    async with following(*pages) as (informer, api, seen):
        await api.asked(2)
        assert (informer.has_synced, seen, informer.store.list()) == (False, [], [])


@virtual
async def test_a_list_that_breaks_between_pages_starts_again_without_doubles() -> None:
    first = listing("5", an_object("a", "1"), token="t")
    whole = listing("6", an_object("a", "1"), an_object("b", "2"))
    async with following(first, refuse(410, "Expired"), whole, QUIET) as (informer, api, seen):
        await informer.wait_synced()
    assert seen == [(None, "a@1"), (None, "b@2")]
    assert api.calls[2].query == {"resourceVersion": "0"}


@virtual
async def test_a_watch_that_ends_goes_on_where_it_was_without_a_list() -> None:
    script = (listing("5"), events(("ADDED", an_object("a", "6")), bookmark("9")), QUIET)
    async with following(*script) as (informer, api, _):
        await until(informer, lambda: informer.store.version == "9")
        await api.asked(3)
    assert "watch" in api.calls[2].query
    assert api.calls[2].query["resourceVersion"] == "9"


@pytest.mark.parametrize("gone", [refuse(410, "Expired"), events(("ERROR", status(410, "Expired")))])
def test_a_version_that_is_gone_relists_and_reports_what_vanished(gone: Answer) -> None:
    @virtual
    async def run() -> None:
        first = listing("5", an_object("a", "1"), an_object("b", "2"))
        second = listing("9", an_object("b", "2"), an_object("c", "8"))
        async with following(first, gone, second) as (informer, api, seen):
            await until(informer, lambda: informer.store.version == "9")
        assert seen[2:] == [("a@1", None), (None, "c@8")]
        assert api.calls[2].query == {"resourceVersion": "5"}

    run()


@virtual
async def test_a_version_that_is_gone_is_no_alarm() -> None:
    with structlog.testing.capture_logs() as lines:
        async with following(listing("5"), refuse(410, "Expired"), listing("9")) as (informer, _, _seen):
            await until(informer, lambda: informer.store.version == "9")
    assert [line["log_level"] for line in lines] == ["debug"]


@virtual
async def test_an_object_made_again_in_a_gap_is_a_deletion_and_an_addition() -> None:
    second = listing("9", an_object("a", "8", uid="another"))
    async with following(listing("5", an_object("a", "1")), refuse(410), second) as (informer, _, seen):
        await until(informer, lambda: informer.store.version == "9")
    assert seen[1:] == [("a@1", None), (None, "a@8")]


@virtual
async def test_a_cut_connection_resumes_the_watch_after_a_pause() -> None:
    script = (listing("5"), events(("ADDED", an_object("a", "6")), cut=True), QUIET)
    async with following(*script) as (informer, api, _):
        await until(informer, lambda: informer.store.version == "6")
        await api.asked(3)
    assert api.calls[2].query["resourceVersion"] == "6"


@virtual
async def test_half_an_event_is_not_an_event() -> None:
    whole = msgspec.json.encode({"type": "ADDED", "object": an_object("a", "6")}) + b"\n"
    script = (listing("5"), chunks(whole[:30], cut=True), chunks(whole, hold=True))
    async with following(*script) as (informer, api, seen):
        await until(informer, lambda: informer.store.version == "6")
    assert seen == [(None, "a@6")]
    assert api.calls[2].query["resourceVersion"] == "5"


@virtual
async def test_an_event_may_be_megabytes_long_and_come_in_any_pieces() -> None:
    line = (
        msgspec.json.encode({"type": "ADDED", "object": an_object("a", "6", color="x" * 3_000_000)}) + b"\n"
    )
    pieces = [line[start : start + 700_001] for start in range(0, len(line), 700_001)]
    async with following(listing("5"), chunks(*pieces, hold=True)) as (informer, _, _seen):
        await until(informer, lambda: informer.store.version == "6")
        found = informer.store.get("ns", "a")
    assert found is not None
    assert len(found.color) == 3_000_000


@virtual
async def test_no_answer_ends_the_informer() -> None:
    mishaps = (
        refuse(403, "Forbidden"),
        refuse(500),
        chunks(b"<html>a proxy</html>"),
        refuse(401),
        refuse(401),
        listing("5"),
        chunks(b"this is no event\n"),
        events(("SURPRISE", {})),
        events(("ERROR", status(500, "InternalError"))),
        events(),
    )
    async with following(*mishaps, listing("7", an_object("a", "6"))) as (informer, _, _seen):
        await until(informer, lambda: informer.store.version == "7")


@virtual
async def test_a_broken_proxy_makes_no_hot_loop() -> None:
    async with following(listing("5")) as (informer, api, _):
        api.otherwise = chunks()
        await informer.wait_synced()
        await anyio.sleep(600)
        assert len(api.calls) < 60


@virtual
async def test_a_kind_that_is_not_installed_is_empty_and_synced_and_appears_later() -> None:
    script = (refuse(404), refuse(404), listing("5", an_object("a", "4")))
    async with following(*script) as (informer, _, seen):
        await informer.wait_synced()
        assert (informer.absent, informer.store.list(), seen) == (True, [], [])
        await until(informer, lambda: informer.store.version == "5")
        assert not informer.absent
    assert seen == [(None, "a@4")]


@virtual
async def test_a_kind_that_is_removed_takes_its_objects_along_but_not_at_the_first_404() -> None:
    script = (listing("5", an_object("a", "4")), *[refuse(404)] * 4)
    async with following(*script) as (informer, api, seen):
        await api.asked(4)
        assert len(informer.store) == 1
        await until(informer, lambda: len(informer.store) == 0)
    assert seen == [(None, "a@4"), ("a@4", None)]


@virtual
async def test_an_odd_object_hides_only_itself() -> None:
    odd = {**an_object("odd", "3"), "color": {"not": "a string"}}
    async with following(listing("5", an_object("a", "1"), odd), QUIET) as (informer, _, seen):
        await informer.wait_synced()
        assert seen == [(None, "a@1")]


@virtual
async def test_an_object_that_becomes_odd_stays_in_its_last_good_form_until_it_goes() -> None:
    odd = {**an_object("a", "6"), "color": 3}
    gone = {**an_object("a", "7"), "color": 3}
    feed = events(("MODIFIED", odd), bookmark("6"), hold=True)
    relist, later = listing("6", odd), events(("DELETED", gone), hold=True)
    async with following(listing("5", an_object("a", "4")), feed) as (informer, _, seen):
        await until(informer, lambda: informer.store.version == "6")
        assert [item.resource_version for item in informer.store.list()] == ["4"]
    async with following(listing("5", an_object("a", "4")), refuse(410), relist, later) as (
        informer,
        _,
        seen,
    ):
        await until(informer, lambda: informer.store.version == "7")
    assert informer.store.list() == []
    assert seen == [(None, "a@4"), ("a@4", None)]


@virtual
async def test_a_late_handler_is_told_what_is_there_and_then_what_changes() -> None:
    feed = events(("ADDED", an_object("b", "6")), hold=True)
    late: Seen = []
    async with following(listing("5", an_object("a", "1")), feed) as (informer, _, _seen):
        await until(informer, lambda: informer.store.version == "6")
        informer.add_handler(lambda old, new: late.append((shown(old), shown(new))))
    assert late == [(None, "a@1"), (None, "b@6")]


@virtual
async def test_the_store_is_changed_before_its_handlers_run_and_one_that_fails_stops_nobody() -> None:
    sizes: list[int] = []
    async with following(listing("5", an_object("a", "1"), an_object("b", "1"))) as (informer, _, seen):

        def broken(_old: Thing | None, _new: Thing | None) -> None:
            sizes.append(len(informer.store))
            raise ZeroDivisionError

        informer.add_handler(broken)
        informer.add_handler(lambda _old, _new: sizes.append(100))
        await informer.wait_synced()
    assert sizes == [2, 100, 2, 100]
    assert len(seen) == 2


@virtual
async def test_it_is_synced_when_every_handler_was_told_everything_and_not_before() -> None:
    objects = [an_object(f"o{number}", "1") for number in range(3 * SLICE)]
    async with following(hang) as (informer, api, _):
        first: list[bool] = []
        second: list[bool] = []
        informer.add_handler(lambda _old, _new: first.append(informer.has_synced))
        informer.add_handler(lambda _old, _new: second.append(informer.has_synced))
        api.otherwise = listing("5", *objects)
        await informer.wait_synced()
    assert first == second == [False] * len(objects)


@virtual
async def test_a_kind_is_watched_from_the_lists_version_and_not_from_an_items() -> None:
    async with following(listing("5", an_object("a", "3"), an_object("b", "4"))) as (informer, api, _):
        await informer.wait_synced()
        await api.asked(2)
    assert api.calls[1].query["resourceVersion"] == "5"


@virtual
async def test_a_bookmark_moves_the_version_and_is_told_to_nobody() -> None:
    async with following(listing("5"), events(bookmark("9"), hold=True)) as (informer, _, seen):
        await until(informer, lambda: informer.store.version == "9")
    assert seen == []


@virtual
async def test_a_cache_that_does_not_fill_in_time_is_named() -> None:
    async with following(hang) as (informer, _, _seen):
        with pytest.raises(SyncTimeout, match="things"):
            await wait_all_synced([informer], seconds=20.0)


@virtual
async def test_managed_fields_cannot_be_cached() -> None:
    class Greedy(Thing, frozen=True, gc=False):
        managed_fields: tuple[str, ...] = ()

    async with scripted_api() as api, Client(api.config()) as client:
        with pytest.raises(ValueError, match="managedFields"):
            Informer(client, THINGS, Greedy)
        assert "Listing" in repr(Informer(client, THINGS, Thing))
