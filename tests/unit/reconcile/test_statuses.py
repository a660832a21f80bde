"""A status is written as the smallest merge patch that makes the new one of the old."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.reconcile.statuses import difference

leaves = st.none() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2)
documents = st.recursive(
    st.dictionaries(st.sampled_from("abc"), leaves.filter(lambda leaf: leaf is not None), max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386, as the server does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(documents, documents)
def test_the_patch_makes_the_new_of_the_old(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, difference(before, after)) == after


@given(documents)
def test_nothing_is_written_when_nothing_differs(document: dict[str, Any]) -> None:
    assert difference(document, document) == {}


def test_only_what_differs_is_written() -> None:
    before = {"phase": "Running", "progress": {"phase": "Dumping", "percent": 3}, "message": "m"}
    after = {"phase": "Running", "progress": {"phase": "Dumping"}, "stats": {"size": "1"}}
    assert difference(before, after) == {
        "message": None,
        "progress": {"percent": None},
        "stats": {"size": "1"},
    }
