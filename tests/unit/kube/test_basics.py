"""Paths, errors, versions, lines and back-off: the small pure parts."""

from __future__ import annotations

import json

import pytest

from controller.kube import errors
from controller.kube.backoff import Backoff
from controller.kube.lines import LineSplitter, lines_of
from controller.kube.resource import PODS, Resource
from controller.kube.versions import is_at_least, is_version

STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
NAMESPACES = Resource("", "v1", "namespaces", "Namespace", namespaced=False)


def test_api_versions_and_paths() -> None:
    assert PODS.api_version == "v1"
    assert STATEFULSETS.api_version == "apps/v1"
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("ns") == "/api/v1/namespaces/ns/pods"
    assert STATEFULSETS.path("ns", "a", "status") == "/apis/apps/v1/namespaces/ns/statefulsets/a/status"
    assert NAMESPACES.path(None, "x") == "/api/v1/namespaces/x"
    assert NAMESPACES.path("ignored", "x") == "/api/v1/namespaces/x"


def test_a_hostile_name_stays_in_its_place() -> None:
    assert PODS.path("ns", "../../secrets?x=1") == "/api/v1/namespaces/ns/pods/..%2F..%2Fsecrets%3Fx%3D1"
    with pytest.raises(ValueError, match=r"\.\."):
        PODS.path("..", "a")


def test_a_path_that_would_mean_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="namespace is needed"):
        PODS.path(None, "a")
    with pytest.raises(ValueError, match="name is needed"):
        PODS.path("ns", None, "log")


@pytest.mark.parametrize(
    ("code", "reason", "expected"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "Conflict", errors.Conflict),
        (409, "AlreadyExists", errors.AlreadyExists),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.ServerError),
        (504, "Timeout", errors.ServerError),
        (418, "", errors.ApiError),
    ],
)
def test_a_status_becomes_its_error(code: int, reason: str, expected: type[errors.ApiError]) -> None:
    body = json.dumps(
        {"kind": "Status", "code": code, "reason": reason, "message": "m", "details": {"name": "x"}}
    )
    error = errors.api_error(code, body.encode())
    assert type(error) is expected
    assert (error.status, error.reason, error.message, error.details) == (code, reason, "m", {"name": "x"})


def test_an_answer_that_is_no_status_keeps_its_text_and_its_class() -> None:
    error = errors.api_error(503, b"<html>upstream is down</html>", "7")
    assert isinstance(error, errors.ServerError)
    assert "upstream is down" in str(error)
    assert error.retry_after == 7.0
    assert str(errors.api_error(404, b"")) == "HTTP status 404 (404)"


@pytest.mark.parametrize(
    "body",
    [
        b"404 page not found\n",
        b'{"kind": "Status", "code": 404, "reason": "NotFound", "details": {},'
        b' "message": "the server could not find the requested resource"}',
    ],
)
def test_a_path_that_is_not_served_says_nothing_about_an_object(body: bytes) -> None:
    error = errors.api_error(404, body)
    assert type(error) is errors.NotServed
    assert not isinstance(error, errors.NotFound)


def test_the_wait_that_a_status_asks_for_is_kept() -> None:
    document = {"code": 429, "details": {"retryAfterSeconds": 3}}
    assert errors.status_error(document).retry_after == 3.0


def test_errors_can_be_made_by_hand() -> None:
    assert errors.NotFound("gone").status == 404
    assert errors.Gone("old").status == 410


def test_versions_compare_by_length_then_by_digits() -> None:
    assert is_at_least("10", "9") is True
    assert is_at_least("9", "10") is False
    assert is_at_least("10", "10") is True
    assert is_at_least("123456789012345678901234567890", "9") is True


@pytest.mark.parametrize("text", ["", "0", "01", "-1", "1.5", "abc", "١"])
def test_what_is_no_version_cannot_be_compared(text: str) -> None:
    assert not is_version(text)
    assert is_at_least(text, "1") is None
    assert is_at_least("1", text) is None


def test_lines_are_cut_from_chunks_and_a_half_line_waits() -> None:
    splitter = LineSplitter()
    assert splitter.feed([b"ab"]) == b""
    assert splitter.pending == 2
    assert splitter.feed([b"c\n", b"\r\nde\nf"]) == b"abc\n\r\nde\n"
    assert splitter.feed([b"\n", b"g", b"", b"h"]) == b"f\n"
    assert splitter.pending == 2
    assert splitter.feed([]) == b""
    assert splitter.feed([b"\n"]) == b"gh\n"
    assert splitter.pending == 0


def test_blank_lines_are_none() -> None:
    assert lines_of(b"abc\n\r\n\n  \nde\n") == [b"abc", b"de"]


def test_back_off_grows_to_its_cap_and_forgets_after_quiet() -> None:
    backoff, delays = Backoff(first=1.0, cap=5.0, quiet=60.0), []
    for now in (0.0, 1.0, 2.0, 3.0, 4.0):
        backoff, delay = backoff.failed(now, 0.0)
        delays.append(delay)
    assert delays == [1.0, 2.0, 4.0, 5.0, 5.0]
    _, delay = backoff.failed(64.0, 0.5)
    assert delay == 1.5


def test_back_off_survives_a_very_long_outage() -> None:
    backoff = Backoff(failures=100_000, last=0.0)
    assert backoff.failed(1.0, 0.0)[1] == 30.0
