"""The search for planted secrets finds them; a search that finds nothing would prove nothing."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote

import pytest

from tests.support.leaks import Planted

SECRET = 'p/a+s=s"w&rd-of-the-database'
PLANTED = Planted({"password": SECRET, "other": "something-else-altogether"})


@pytest.mark.parametrize("before", ["", "a", "ab", "abc", "neo4j/"])
@pytest.mark.parametrize("after", ["", "z", "yz", "xyz"])
def test_it_is_found_in_base64_wherever_it_lies(before: str, after: str) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        hidden = encode(f"{before}{SECRET}{after}".encode())
        assert set(PLANTED.found_in(b"data: " + hidden)) == {"password (base64)"}


@pytest.mark.parametrize(
    "hidden",
    [
        SECRET,
        f"--password={SECRET}",
        SECRET.encode().hex(),
        SECRET.encode().hex().upper(),
        quote(SECRET),
        quote(SECRET, safe=""),
        json.dumps({"log": f"login neo4j/{SECRET} failed"}),
    ],
)
def test_it_is_found_in_every_form(hidden: str) -> None:
    assert {name.partition(" ")[0] for name in PLANTED.found_in(f"\0{hidden}\0".encode())} == {"password"}


def test_what_is_allowed_in_a_place_is_not_told_of_there_and_the_rest_is() -> None:
    data = f"{SECRET} something-else-altogether".encode()
    assert PLANTED.found_in(data, but=["password"]) == ["other (plain)"]


def test_nothing_is_found_where_nothing_is() -> None:
    assert PLANTED.found_in(b"neo4j-admin database backup --to-path=/data/backups") == []


def test_bytes_that_are_no_text_are_found_too() -> None:
    key = bytes(range(200, 232))
    assert Planted({"key": key}).found_in(b"x" + key) == ["key (plain)"]
    assert set(Planted({"key": key}).found_in(base64.b64encode(key))) == {"key (base64)"}
