"""CEL, and the rules of a definition that are written in it."""

from __future__ import annotations

from typing import Any

import pytest

from hack.devcluster.cel import CelError, compiled, evaluate
from hack.devcluster.objects import Obj
from hack.devcluster.rules import checked
from hack.devcluster.schema import validate

SELF: Obj = {
    "n": 3,
    "f": 1.5,
    "t": "abc",
    "yes": True,
    "list": [1, 2, 3],
    "words": ["a", "bb"],
    "map": {"k": 1},
    "nothing": None,
    "namespace": "ns",
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("self.n == 3 && self.t != 'abd'", True),
        ("self.n > 3 || self.n >= 3", True),
        ("!(self.n < 3) && self.yes", True),
        ("self.n + 2 * 3 == 9", True),
        ("7 / 2 == 3 && 7 % 2 == 1 && -7 / 2 == -3", True),
        ("self.n == 3 ? 'a' : 'b'", "a"),
        ("has(self.n) && !has(self.missing) && !has(self.nothing)", True),
        ("!has(self.missing.deeper)", True),
        ("self.missing == 1 || self.yes", True),
        ("!self.yes && self.missing == 1", False),
        ("self.yes == 1", False),
        ("self.t.matches('^a.c$') && !self.t.matches('^b')", True),
        (r"self.t.matches(r'^\w+$')", True),
        ("'a\\n'.matches('^a$')", False),
        ("'$'.matches('^[$]$')", True),
        ("self.t.startsWith('a') && self.t.endsWith('c') && self.t.contains('b')", True),
        ("size(self.list) == 3 && self.t.size() == 3", True),
        ("self.list.all(x, x > 0) && self.list.exists(x, x == 2)", True),
        ("self.list.exists_one(x, x > 2)", True),
        ("self.list.filter(x, x > 1).map(x, x * 2) == [4, 6]", True),
        ("self.words.exists(w, w.matches('^b+$'))", True),
        ("self.map.all(k, self.map[k] == 1) && 'k' in self.map && 2 in self.list", True),
        ("self.list[0] == 1 && {'a': 1}['a'] == 1", True),
        ("self.__namespace__ == 'ns'", True),
        ("self.f > 1.0 && int('4') == 4 && string(4) == '4'", True),
        ("self.list.exists(x, self.missing) || self.yes", True),
    ],
)
def test_what_an_expression_means(expression: str, expected: Any) -> None:
    assert evaluate(expression, {"self": SELF}) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "self.missing",
        "self.missing == 1 && self.yes",
        "self.list[9]",
        "self.n && self.yes",
        "self.t > 1",
        "other",
    ],
)
def test_what_has_no_value(expression: str) -> None:
    with pytest.raises(CelError):
        evaluate(expression, {"self": SELF})


@pytest.mark.parametrize(
    "expression", ["self.", "self.n ==", "(self.n", "frobnicate(1)", "self.t.shout()", "a b", "'x"]
)
def test_what_does_not_compile(expression: str) -> None:
    with pytest.raises(CelError):
        compiled(expression)


def _rule(rule: str, **more: str) -> Obj:
    return {"x-kubernetes-validations": [{"rule": rule, **more}]}


SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "size": {"type": "integer"} | _rule("self == oldSelf", message="size is immutable"),
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
            }
            | _rule("self.n >= oldSelf.n", messageExpression="self.name + ' may not shrink'"),
        },
        "loose": {"type": "object", "additionalProperties": {"type": "string"} | _rule("size(self) < 3")},
    },
}


def _told(value: Obj, old: Obj | None = None) -> list[str]:
    return [str(cause) for cause in checked(SCHEMA, value, old, validate(SCHEMA, value))]


def test_rules_about_changes_wait_for_a_change() -> None:
    assert _told({"size": 1}) == []
    assert _told({"size": 1}, {}) == []
    assert _told({"size": 1}, {"size": 1}) == []
    assert _told({"size": 2}, {"size": 1}) == ['size: Invalid value: "integer": size is immutable']


def test_items_are_compared_by_their_keys() -> None:
    old = {"parts": [{"name": "a", "n": 1}, {"name": "b", "n": 5}]}
    assert _told({"parts": [{"name": "b", "n": 5}, {"name": "c", "n": 0}]}, old) == []
    assert _told({"parts": [{"name": "b", "n": 4}]}, old) == [
        'parts[0]: Invalid value: "object": b may not shrink'
    ]


def test_a_rule_without_a_message_tells_itself() -> None:
    assert _told({"loose": {"k": "long"}}) == [
        'loose.k: Invalid value: "string": failed rule: size(self) < 3'
    ]


def test_rules_wait_until_the_types_are_right() -> None:
    told = _told({"size": "x"}, {"size": 1})
    assert len(told) == 2
    assert "some validation rules were not checked" in told[1]
