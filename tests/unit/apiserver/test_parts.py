"""The small languages of the API server: quantities, JSONPath, durations, selectors, patches, protobuf."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hack.devcluster import protobuf
from hack.devcluster.columns import duration
from hack.devcluster.errors import ApiStatus
from hack.devcluster.jsonpath import find
from hack.devcluster.ownership import from_fields_v1, to_fields_v1
from hack.devcluster.patch import json_patch, merge_patch
from hack.devcluster.quantities import canonical, value
from hack.devcluster.registry import Registry
from hack.devcluster.requests import Target, target_of
from hack.devcluster.selectors import matches, parse_labels


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("2000Mi", "2000Mi"),
        ("1000", "1k"),
        ("0", "0"),
        ("10e3", "10e3"),
        ("a lot", "a lot"),
    ],
)
def test_a_quantity_has_one_form(text: str, stored: str) -> None:
    assert canonical(text) == stored


@given(st.integers(0, 10**9), st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "Gi"]))
def test_the_form_of_a_quantity_keeps_its_value(number: int, suffix: str) -> None:
    text = canonical(f"{number}{suffix}")
    assert value(text) == value(f"{number}{suffix}")
    assert canonical(text) == text


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".a.b", [1]),
        ("a.b", [1]),
        (".list[0].name", ["x"]),
        (".list[-1].name", ["y"]),
        (".list[*].name", ["x", "y"]),
        ('.list[?(@.name=="y")].n', [2]),
        (".list[?(@.name=='z')].n", []),
        (r".with\.dot", ["dotted"]),
        ("['with.dot']", ["dotted"]),
        (".missing.deep", []),
        (".list[", []),
    ],
)
def test_json_paths(path: str, found: list[Any]) -> None:
    obj = {"a": {"b": 1}, "list": [{"name": "x", "n": 1}, {"name": "y", "n": 2}], "with.dot": "dotted"}
    assert find(path, obj) == found


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "<invalid>"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (700, "11m"),
        (3 * 3600 + 60, "3h1m"),
        (9 * 3600, "9h"),
        (50 * 3600, "2d2h"),
        (30 * 86400, "30d"),
    ],
)
def test_durations_are_told_as_kubectl_does(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_a_selector_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ApiStatus) as refusal:
        parse_labels("a in b")
    assert refusal.value.code == 400
    assert matches(parse_labels("a in (1,2),b!=3"), {"metadata": {"labels": {"a": "2"}}})


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/api/v1/namespaces", Target("", "v1", "namespaces")),
        ("/api/v1/namespaces/a", Target("", "v1", "namespaces", "a", "a")),
        ("/api/v1/namespaces/a/finalize", Target("", "v1", "namespaces", "a", "a", "finalize")),
        ("/api/v1/namespaces/a/pods/b/log", Target("", "v1", "pods", "a", "b", "log")),
        ("/apis/apps/v1/statefulsets", Target("apps", "v1", "statefulsets")),
        ("/apis/apps/v1", None),
        ("/api/v1/namespaces/a/pods/b/log/more", None),
        ("/healthz", None),
    ],
)
def test_paths(path: str, target: Target | None) -> None:
    assert target_of(path) == target


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=2), _JSON, max_size=3),
    st.dictionaries(st.text(max_size=2), _JSON, max_size=3),
)
def test_a_merge_patch_applied_twice_is_applied_once(obj: dict[str, Any], patch: dict[str, Any]) -> None:
    once = merge_patch(obj, patch)
    assert merge_patch(once, patch) == once


def test_a_json_patch_does_not_touch_what_it_was_given() -> None:
    obj = {"a": [1, 2], "b": {"c": 3}}
    moved = json_patch(
        obj, [{"op": "move", "from": "/b/c", "path": "/a/1"}, {"op": "copy", "from": "/a", "path": "/d"}]
    )
    assert obj == {"a": [1, 2], "b": {"c": 3}}
    assert moved == {"a": [1, 3, 2], "b": {}, "d": [1, 3, 2]}


_ELEMENT = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])


@given(st.frozensets(st.lists(_ELEMENT, min_size=1, max_size=4).map(tuple), max_size=8))
def test_field_sets_survive_their_encoding(fields: frozenset[tuple[str, ...]]) -> None:
    assert from_fields_v1(to_fields_v1(fields)) == fields


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def _message(api_version: str, kind: str, raw: bytes) -> bytes:
    about = _field(1, api_version.encode()) + _field(2, kind.encode())
    return b"k8s\x00" + _field(1, about) + _field(2, raw)


def test_protobuf_is_the_json_that_it_stands_for() -> None:
    metadata = (
        _field(1, b"c") + _field(2, b"") + _field(8, b"") + _field(11, _field(1, b"k") + _field(2, b"v"))
    )
    raw = _field(1, metadata) + _field(2, _field(1, b"key") + _field(2, b"value"))
    assert protobuf.decode(_message("v1", "ConfigMap", raw)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "labels": {"k": "v"}},
        "data": {"key": "value"},
    }


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"{}", 400),
        (_message("v1", "Gadget", b""), 415),
        (_message("v1", "ConfigMap", _field(15, b"new")), 400),
        (_message("v1", "ConfigMap", _field(1, b"x")[:-1]), 400),
    ],
)
def test_protobuf_that_is_not_understood_is_refused(data: bytes, code: int) -> None:
    with pytest.raises(ApiStatus) as refusal:
        protobuf.decode(data)
    assert refusal.value.code == code


def test_objects_that_were_handed_out_do_not_change() -> None:
    registry = Registry()
    maps = ("", "configmaps")
    given_in = {"metadata": {"name": "a", "namespace": "default"}, "data": {"k": "1"}}
    first = registry.create(maps, given_in)
    given_in["data"]["k"] = "9"
    second = registry.update(maps, {**first, "data": {"k": "2"}})
    assert (first["data"], second["data"]) == ({"k": "1"}, {"k": "2"})
    assert registry.get(maps, "default", "a") == second
