"""The list-and-watch protocol, step by step, without a server."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from controller.kube import watch
from controller.kube.errors import (
    BadRequest,
    ConnectionFailed,
    Forbidden,
    Gone,
    Invalid,
    KubeError,
    NotFound,
    NotServed,
    ServerError,
    TooManyRequests,
)
from controller.kube.watch import Listing, Position, Streaming, Watching

AT_7 = Position(state=Watching("7"), seen="7")
STREAMING = watch.start(streams=True)


def test_the_first_list_asks_the_servers_cache() -> None:
    assert watch.list_query(Listing("0")) == [("limit", "500"), ("resourceVersion", "0")]


def test_a_complete_list_starts_the_watch_at_the_lists_version() -> None:
    position = watch.after_page(Position(), "42", "")
    assert position.state == Watching("42")
    assert position.seen == "42"


def test_pages_follow_the_token_without_a_version_and_keep_the_first_pages_version() -> None:
    position = watch.after_page(Position(), "42", "next")
    assert watch.list_query(_listing(position)) == [("limit", "500"), ("continue", "next")]
    assert watch.after_page(position, "43", "").state == Watching("42")


def test_a_token_that_expired_is_answered_by_one_whole_list_at_the_same_version() -> None:
    position = watch.after_page(Position(), "42", "next")
    failed = watch.after_list_error(position, Gone("expired"), 0.0, 0.0)
    assert failed.delay == 0.0
    assert watch.list_query(_listing(failed.position)) == [("resourceVersion", "0")]


def test_a_version_that_is_gone_means_a_quorum_read_at_once() -> None:
    position = Position(state=Listing("7", paged=False), seen="7")
    failed = watch.after_list_error(position, Gone("expired"), 0.0, 0.0)
    assert failed == watch.Failed(replace(position, state=Listing("")), 0.0)
    assert watch.list_query(Listing("")) == [("limit", "500")]


@pytest.mark.parametrize(
    "error",
    [
        ServerError("Timeout: Too large resource version: 9, current: 3"),
        ServerError("t", details={"causes": [{"reason": "ResourceVersionTooLarge"}]}),
    ],
)
def test_a_version_that_the_server_has_not_reached_means_a_quorum_read(error: KubeError) -> None:
    failed = watch.after_list_error(Position(state=Listing("9"), seen="9"), error, 0.0, 0.0)
    assert (failed.position.state, failed.delay) == (Listing(""), 0.0)


def test_a_quorum_read_that_fails_costs_a_delay() -> None:
    failed = watch.after_list_error(Position(state=Listing(""), seen="9"), Gone("?"), 0.0, 0.0)
    assert (failed.position.state, failed.delay) == (Listing(""), 0.8)


def test_a_relist_starts_at_the_last_version_seen() -> None:
    moved = watch.after_event(AT_7, "9")
    failed = watch.after_watch_error(moved, Gone("compacted"), 0.0, 0.0)
    assert failed.position.state == Listing("9", paged=False)
    assert watch.list_query(_listing(failed.position)) == [("resourceVersion", "9")]
    assert failed.delay > 0, "a server with a short history must not make a hot loop"


def test_a_relist_is_paged_where_the_server_pages_its_cache() -> None:
    position = watch.after_page(watch.after_page(Position(), "7", "t"), "7", "")
    failed = watch.after_watch_error(position, Gone("compacted"), 0.0, 0.0)
    assert watch.list_query(_listing(failed.position)) == [("limit", "500"), ("resourceVersion", "7")]


@pytest.mark.parametrize("error", [ConnectionFailed("refused"), TooManyRequests("slow down")])
def test_a_watch_that_could_not_be_opened_is_opened_again_not_listed(error: KubeError) -> None:
    failed = watch.after_watch_error(AT_7, error, 0.0, 0.0)
    assert (failed.position.state, failed.delay) == (Watching("7"), 0.8)


def test_the_server_may_ask_for_a_longer_wait() -> None:
    error = TooManyRequests("slow down", retry_after=17.0)
    assert watch.after_watch_error(AT_7, error, 0.0, 0.0).delay == 17.0
    assert watch.after_list_error(Position(), error, 0.0, 0.0).delay == 17.0


def test_a_server_error_is_tried_again_for_a_bounded_time() -> None:
    position = AT_7
    for now in range(watch.WATCH_RETRIES):
        position = watch.after_watch_error(position, ServerError("etcd"), float(now), 0.0).position
        assert position.state == Watching("7")
    position = watch.after_watch_error(position, ServerError("etcd"), 9.0, 0.0).position
    assert position.state == Listing("7", paged=False)


def test_progress_renews_the_patience_with_server_errors() -> None:
    position = replace(AT_7, retries=watch.WATCH_RETRIES)
    assert watch.after_event(position, "8").retries == 0


def test_every_other_answer_leaves_the_watch_and_lists_again_later() -> None:
    failed = watch.after_watch_error(AT_7, Forbidden("no"), 0.0, 0.0)
    assert failed.position.state == Listing("7", paged=False)
    assert failed.delay == 0.8


def test_the_end_of_a_watch_is_normal() -> None:
    assert watch.after_watch_end(AT_7, 0.0, 0, 300.0, 0.0) == watch.Failed(AT_7, 0.0)
    assert watch.after_watch_end(AT_7, 0.0, 3, 0.1, 0.0) == watch.Failed(AT_7, 0.0)


def test_a_watch_that_ends_at_once_and_empty_is_a_failure() -> None:
    failed = watch.after_watch_end(AT_7, 0.0, 0, 0.1, 0.0)
    assert failed.position.state == Listing("7", paged=False)
    assert failed.delay == 0.8


def test_a_kind_that_was_never_there_is_absent_at_once() -> None:
    failed = watch.after_list_error(Position(), NotServed("404 page not found"), 0.0, 0.0)
    assert failed.position.absent
    assert failed.delay == watch.ABSENT_SECONDS


def test_a_kind_that_was_there_is_absent_only_after_several_looks() -> None:
    position = Position(state=Listing("7"), seen="7")
    seen = []
    for now in range(watch.ABSENCES):
        position = watch.after_list_error(position, NotFound("404"), float(now), 0.0).position
        seen.append(position.absent)
    assert seen == [False, False, True]


def test_another_answer_between_two_404s_starts_the_count_again() -> None:
    position = Position(state=Listing("7"), seen="7", absences=watch.ABSENCES - 1)
    position = watch.after_list_error(position, ConnectionFailed("starting"), 0.0, 0.0).position
    assert not watch.after_list_error(position, NotFound("404"), 1.0, 0.0).position.absent


def test_a_kind_that_appears_is_there() -> None:
    position = watch.after_list_error(Position(), NotFound("404"), 0.0, 0.0).position
    assert not watch.after_page(position, "3", "").absent


def test_watches_are_spread_and_ask_for_bookmarks() -> None:
    assert watch.watch_seconds(0.0) == 300
    assert watch.watch_seconds(0.999) == 599
    query = dict(watch.watch_query(Watching("7"), 321))
    assert query == {
        "watch": "true",
        "resourceVersion": "7",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "321",
    }


@pytest.mark.parametrize("version", ["", "0"])
def test_a_watch_never_starts_without_a_lists_version(version: str) -> None:
    with pytest.raises(AssertionError):
        watch.watch_query(Watching(version), 300)


def test_a_streamed_list_asks_for_all_there_is_and_a_mark_at_its_end() -> None:
    position = watch.start(streams=True)
    assert position.state == Streaming("")
    query = dict(watch.opening_query(Streaming(""), 321))
    assert query == {
        "watch": "true",
        "sendInitialEvents": "true",
        "resourceVersionMatch": "NotOlderThan",
        "allowWatchBookmarks": "true",
        "timeoutSeconds": "321",
    }
    assert dict(watch.opening_query(Streaming("7"), 321)) == {**query, "resourceVersion": "7"}


def test_the_mark_turns_the_stream_into_a_watch_at_its_version() -> None:
    position = replace(STREAMING, retries=2, absences=1)
    assert watch.after_initial_events(position, "9") == Position(state=Watching("9"), seen="9", streams=True)


def test_a_relist_is_streamed_from_the_last_version_seen() -> None:
    watching = replace(AT_7, streams=True)
    assert watch.after_watch_error(watching, Gone("old"), 0.0, 0.0).position.state == Streaming("7")


@pytest.mark.parametrize("error", [Invalid("forbidden for watch"), BadRequest("unknown parameter")])
def test_a_server_that_refuses_to_stream_is_listed_at_once_and_not_asked_again(error: KubeError) -> None:
    failed = watch.after_watch_error(STREAMING, error, 0.0, 0.0)
    assert failed == watch.Failed(Position(Listing("0")), 0.0)
    known = replace(STREAMING, state=Streaming("7"), seen="7")
    assert watch.after_watch_error(known, error, 0.0, 0.0).position.state == Listing("7", paged=False)


@pytest.mark.parametrize("error", [Gone("expired"), ServerError("Too large resource version: 8")])
def test_a_stream_from_a_version_that_is_gone_or_not_there_yet_starts_at_the_newest(error: KubeError) -> None:
    known = replace(STREAMING, state=Streaming("7"), seen="7")
    assert watch.after_watch_error(known, error, 0.0, 0.0) == watch.Failed(
        replace(known, state=Streaming("")), 0.0
    )
    assert watch.after_watch_error(STREAMING, error, 0.0, 0.0).delay > 0.0


def test_a_stream_that_is_too_old_though_it_starts_at_the_newest_is_listed() -> None:
    asked = replace(STREAMING, seen="7")
    failed = watch.after_watch_error(asked, Gone("expired"), 0.0, 0.0)
    assert failed.position.state == Listing("7", paged=False)
    assert failed.delay > 0.0


@pytest.mark.parametrize(
    "error", [ConnectionFailed("cut"), ServerError("no mark"), TooManyRequests("slow down"), Forbidden("no")]
)
def test_a_stream_that_does_not_reach_its_mark_is_listed_and_the_next_one_tried_again(
    error: KubeError,
) -> None:
    failed = watch.after_watch_error(STREAMING, error, 0.0, 0.0)
    assert (failed.position.state, failed.delay) == (Listing("0"), 0.8)
    listed = watch.after_page(failed.position, "9", "")
    assert watch.after_watch_error(listed, Gone("old"), 0.0, 0.0).position.state == Streaming("9")


def test_a_kind_that_is_absent_is_looked_for_with_lists() -> None:
    failed = watch.after_watch_error(STREAMING, NotFound("404"), 0.0, 0.0)
    assert failed.position.absent
    assert failed.position.state == Listing("")


def _listing(position: Position) -> Listing:
    assert isinstance(position.state, Listing)
    return position.state
