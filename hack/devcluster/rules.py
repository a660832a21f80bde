"""``x-kubernetes-validations``: where in an object its rules apply, and what a broken one is told as.

Guarantee: a rule that names ``oldSelf`` is asked only where there is an old value to compare with; items of
list-maps are compared by their keys.
Non-guarantee: unchanged parts are not exempt, as they are from 1.30 on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hack.devcluster.cel import CelError, compiled, evaluate
from hack.devcluster.errors import Cause, invalid_field
from hack.devcluster.models import resolve
from hack.devcluster.objects import Obj
from hack.devcluster.ownership import element_of
from hack.devcluster.schema import type_name

RULES = "x-kubernetes-validations"
_BLOCKING = frozenset(
    {"FieldValueRequired", "FieldValueTypeInvalid", "FieldValueNotSupported"}
    | {"FieldValueTooLong", "FieldValueTooMany"}
)
_NOT_CHECKED = Cause(
    "<nil>",
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation",
)


def checked(schema: Obj, value: Obj, old: Obj | None, causes: list[Cause]) -> list[Cause]:
    """``causes``, the schema's own findings, with what the rules find."""
    if not _has_rules(schema):
        return causes
    if any(cause.reason in _BLOCKING for cause in causes):
        return [*causes, _NOT_CHECKED]
    return [*causes, *_broken(schema, value, old, "")]


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, dict):
        return RULES in schema or any(_has_rules(child) for child in schema.values())
    return isinstance(schema, list) and any(_has_rules(child) for child in schema)


def _broken(schema: Obj, value: Any, old: Any, path: str) -> Iterator[Cause]:
    schema = resolve(schema)
    if value is None:
        return
    for rule in schema.get(RULES) or ():
        yield from _ask(rule, value, old, path)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
        for name, item in value.items():
            child = properties.get(name, additional)
            if isinstance(child, dict):
                yield from _broken(child, item, before.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        items = schema.get("items") or {}
        for index, item in enumerate(value):
            yield from _broken(items, item, _counterpart(schema, item, old), f"{path}[{index}]")


def _counterpart(schema: Obj, item: Any, old: Any) -> Any:
    if schema.get("x-kubernetes-list-type") != "map" or not isinstance(old, list):
        return None
    return next((each for each in old if element_of(schema, each) == element_of(schema, item)), None)


def _ask(rule: Obj, value: Any, old: Any, path: str) -> Iterator[Cause]:
    if "oldSelf" in rule["rule"] and old is None:
        return
    scope = {"self": value, "oldSelf": old}
    try:
        if evaluate(rule["rule"], scope) is True:
            return
        told = evaluate(rule["messageExpression"], scope) if "messageExpression" in rule else None
    except CelError as error:
        told = f"{error} evaluating rule: {rule.get('message') or rule['rule']}"
    fallback = f"failed rule: {rule['rule']}"
    where = f"{path}{rule.get('fieldPath', '')}".lstrip(".")
    yield Cause(
        where,
        rule.get("reason") or "FieldValueInvalid",
        f'Invalid value: "{type_name(value)}": {told or rule.get("message") or fallback}',
    )


def faults(schema: Obj, path: str) -> Iterator[Cause]:
    """Rules of one schema node that cannot be compiled."""
    for index, rule in enumerate(schema.get(RULES) or ()):
        for name in ("rule", "messageExpression"):
            if name in rule:
                try:
                    compiled(rule[name])
                except CelError as error:
                    where = f"{path}.{RULES}[{index}].{name}"
                    yield invalid_field(where, rule[name], f"compilation failed: {error}")
