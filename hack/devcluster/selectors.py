"""Label selectors in both spellings, and field selectors.

Guarantee: an operator negates as the server does: ``!=`` and ``notin`` also match objects without the key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hack.devcluster.errors import bad_request
from hack.devcluster.objects import Obj, dig

Predicate = Callable[[Obj], bool]

_SET = re.compile(r"^\s*(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)\s*$")
_EQUAL = re.compile(r"^\s*(?P<key>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s!=,()]*)\s*$")
_EXISTS = re.compile(r"^\s*(?P<op>!?)\s*(?P<key>[^\s!=,()]+)\s*$")
_SEPARATOR = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: str
    """One of ``in``, ``notin``, ``exists``, ``!exists``."""
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        match self.operator:
            case "in":
                return labels.get(self.key) in self.values
            case "notin":
                return labels.get(self.key) not in self.values
            case "exists":
                return self.key in labels
            case _:
                return self.key not in labels


Selector = tuple[Requirement, ...]


def parse_labels(text: str | None) -> Selector:
    """Raises ApiStatus(400) for what is not a selector."""
    return tuple(_requirement(part) for part in _SEPARATOR.split(text) if part.strip()) if text else ()


def _requirement(text: str) -> Requirement:
    if found := _SET.match(text):
        values = frozenset(value.strip() for value in found["values"].split(","))
        return Requirement(found["key"], found["op"], values)
    if found := _EQUAL.match(text):
        operator = "notin" if found["op"] == "!=" else "in"
        return Requirement(found["key"], operator, frozenset((found["value"],)))
    if found := _EXISTS.match(text):
        return Requirement(found["key"], f"{found['op']}exists")
    raise bad_request(f"unable to parse requirement: {text!r}")


def from_object(selector: Mapping[str, Any] | None) -> Selector:
    """A ``LabelSelector`` as specs carry it; an empty one matches everything."""
    selector = selector or {}
    equal = (
        Requirement(key, "in", frozenset((value,)))
        for key, value in (selector.get("matchLabels") or {}).items()
    )
    names = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!exists"}
    expressions = (
        Requirement(item["key"], names[item["operator"]], frozenset(item.get("values") or ()))
        for item in selector.get("matchExpressions") or ()
    )
    return (*equal, *expressions)


def matches(selector: Selector, obj: Obj) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return all(requirement.matches(labels) for requirement in selector)


def to_text(selector: Mapping[str, Any] | None) -> str:
    """The query parameter's spelling of a ``LabelSelector``, as status.selector of a scale shows it."""
    return ",".join(map(_text, from_object(selector)))


def _text(requirement: Requirement) -> str:
    values = sorted(requirement.values)
    match requirement.operator:
        case "in" if len(values) == 1:
            return f"{requirement.key}={values[0]}"
        case "in" | "notin":
            return f"{requirement.key} {requirement.operator} ({','.join(values)})"
        case "exists":
            return requirement.key
        case _:
            return f"!{requirement.key}"


def field_predicate(text: str | None, selectable: frozenset[str]) -> Predicate:
    """Raises ApiStatus(400) for a field that this type cannot be selected by."""
    terms = [_field_term(part, selectable) for part in (text or "").split(",") if part]
    return lambda obj: all(
        (str(dig(obj, *field.split("."), default="")) == value) is wanted for field, value, wanted in terms
    )


def _field_term(text: str, selectable: frozenset[str]) -> tuple[str, str, bool]:
    found = _EQUAL.match(text)
    if not found:
        raise bad_request(f"invalid field selector: {text!r}")
    if found["key"] not in selectable:
        raise bad_request(f"field label not supported: {found['key']}")
    return found["key"], found["value"], found["op"] != "!="


def predicate(labels: str | None, fields: str | None, selectable: frozenset[str]) -> Predicate:
    selector = parse_labels(labels)
    by_field = field_predicate(fields, selectable)
    return lambda obj: matches(selector, obj) and by_field(obj)
