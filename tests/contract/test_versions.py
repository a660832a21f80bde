"""Which state of a collection a list shows: unset, 0, exact, page after page, and what is forgotten."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import Answer, Api, Json
from tests.contract.conftest import eventually
from tests.contract.widgets import widget
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.asyncio


async def _make(api: Api, widgets: str, group: str, *names: str) -> None:
    for name in names:
        await api.create(widgets, widget(group, name))


def _names(listed: Json) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def _version(obj: Json) -> str:
    version: str = obj["metadata"]["resourceVersion"]
    return version


async def test_a_list_without_a_version_has_everything_that_was_written(
    api: Api, widgets: str, group: str
) -> None:
    for number in range(5):
        made = await api.create(widgets, widget(group, f"w{number}"))
        listed = await api.get(widgets)
        assert _names(listed) == [f"w{n}" for n in range(number + 1)]
        assert int(_version(listed)) >= int(_version(made))


async def test_version_zero_is_any_state_and_the_newest_in_the_end(
    api: Api, widgets: str, group: str
) -> None:
    await _make(api, widgets, group, "a", "b")
    assert set(_names(await api.get(widgets, resourceVersion="0"))) <= {"a", "b"}

    async def is_complete() -> bool:
        return set(_names(await api.get(widgets, resourceVersion="0"))) == {"a", "b"}

    await eventually(is_complete, "the server's cache has caught up")


async def test_a_list_is_not_older_than_the_version_it_names(api: Api, widgets: str, group: str) -> None:
    made = await api.create(widgets, widget(group, "a"))
    for match in ({}, {"resourceVersionMatch": "NotOlderThan"}):
        listed = await api.get(widgets, resourceVersion=_version(made), **match)
        assert _names(listed) == ["a"]
        assert int(_version(listed)) >= int(_version(made))


@pytest.mark.parametrize("how", [{"resourceVersionMatch": "Exact"}, {"limit": "10"}], ids=["exact", "limit"])
async def test_an_exact_version_is_that_very_state(
    api: Api, widgets: str, group: str, how: dict[str, str]
) -> None:
    """Also without a match, where there is a limit: what it meant before there was a match."""
    await _make(api, widgets, group, "a")
    version = _version(await api.get(widgets))
    await _make(api, widgets, group, "b")
    await api.ok("DELETE", f"{widgets}/a")
    listed = await api.get(widgets, resourceVersion=version, **how)
    assert (_names(listed), _version(listed)) == (["a"], version)


@pytest.mark.parametrize(
    "query",
    [
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"resourceVersionMatch": "Roughly", "resourceVersion": "5"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "5", "continue": "token"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "5", "watch": "1"},
    ],
    ids=["without-version", "exactly-zero", "unknown", "with-token", "in-a-watch"],
)
async def test_a_match_that_makes_no_sense_is_refused(api: Api, widgets: str, query: dict[str, str]) -> None:
    asked: dict[str, Any] = query
    answer = await api.request("GET", widgets, **asked)
    assert (answer.status, answer.reason) == (422, "Invalid")
    assert "resourceVersionMatch" in answer.fields


async def test_a_version_that_is_none_is_refused(api: Api, widgets: str) -> None:
    """Old servers are surprised themselves and answer 500."""
    answer = await api.request("GET", widgets, resourceVersion="yesterday")
    assert answer.status in (400, 422, 500)
    assert "resourceVersion" in answer.message


async def test_a_token_brings_its_own_version(api: Api, widgets: str, group: str) -> None:
    await _make(api, widgets, group, "a", "b")
    first = await api.get(widgets, limit="1")
    query: dict[str, Any] = {"continue": first["metadata"]["continue"], "limit": "1"}
    refused = await api.request("GET", widgets, resourceVersion=_version(first), **query)
    assert (refused.status, refused.reason) == (400, "BadRequest")
    assert _names(await api.get(widgets, **query)) == ["b"]


async def test_pages_show_one_state_while_others_write(api: Api, widgets: str, group: str) -> None:
    names = [f"w{number:02d}" for number in range(10)]
    await _make(api, widgets, group, *names)
    pages = [await api.get(widgets, limit="3")]
    while token := pages[-1]["metadata"].get("continue"):
        turn = len(pages)
        await api.create(widgets, widget(group, f"w0{turn}-new"))
        await api.merge(f"{widgets}/w0{9 - turn}", {"spec": {"size": 99}})
        await api.ok("DELETE", f"{widgets}/w0{turn - 1}")
        pages.append(await api.get(widgets, limit="3", **{"continue": token}))
    assert [name for page in pages for name in _names(page)] == names
    assert {item["spec"]["size"] for page in pages for item in page["items"]} == {1}
    assert {_version(page) for page in pages} == {_version(pages[0])}


async def test_pages_that_begin_at_zero_are_complete(api: Api, widgets: str, group: str) -> None:
    """A server may ignore the limit there, but not half of it; the caches of old ones have no order."""
    names = [f"w{number}" for number in range(5)]
    await _make(api, widgets, group, *names)

    async def is_complete() -> bool:
        listed = await api.get(widgets, limit="2", resourceVersion="0")
        found = _names(listed)
        while token := listed["metadata"].get("continue"):
            listed = await api.get(widgets, limit="2", **{"continue": token})
            found += _names(listed)
        return sorted(found) == names

    await eventually(is_complete, "all of them, once")


async def test_a_forgotten_state_is_gone_for_tokens_and_for_exact_versions(
    api: Api, widgets: str, group: str, control_plane: ControlPlane
) -> None:
    if control_plane.compact is None:
        pytest.skip(f"the control plane '{control_plane.kind}' cannot be told to forget")
    await _make(api, widgets, group, "a", "b")
    first = await api.get(widgets, limit="1")
    later = await api.create(widgets, widget(group, "c"))
    control_plane.compact(int(_version(later)))
    answers: dict[str, Answer] = {}

    async def is_forgotten() -> bool:
        token, version = first["metadata"]["continue"], _version(first)
        answers["token"] = await api.request("GET", widgets, limit="1", **{"continue": token})
        exact: dict[str, Any] = {"resourceVersion": version, "resourceVersionMatch": "Exact"}
        answers["exact"] = await api.request("GET", widgets, **exact)
        return all(answer.status != 200 for answer in answers.values())

    await eventually(is_forgotten, "the past is forgotten")
    assert {(answer.status, answer.reason) for answer in answers.values()} == {(410, "Expired")}
    assert _names(await api.get(widgets, limit="10")) == ["a", "b", "c"]
