"""Server-side apply: merge by schema, ownership, conflicts.

Guarantee: what a manager applied before and does not apply any more goes, unless somebody else owns it;
what somebody else owns with another value is a conflict, or is taken over by force; applying the same
again changes nothing.
Non-guarantee: ownership is not carried between API versions of a type.
"""

from __future__ import annotations

from typing import Any

from hack.devcluster.errors import Cause, apply_conflict, bad_request
from hack.devcluster.models import resolve
from hack.devcluster.objects import Obj, copy
from hack.devcluster.ownership import (
    Manager,
    Ownership,
    changed_fields,
    child_schema,
    dotted,
    element_of,
    fields_of,
    is_atomic,
    removed_by,
)


def merge(schema: Obj, live: Any, applied: Any) -> Any:
    """``live`` with ``applied`` laid over it, granular where the schema is."""
    schema = resolve(schema)
    if is_atomic(schema, applied) or type(live) is not type(applied):
        return copy(applied)
    if isinstance(applied, dict):
        merged = dict(live)
        for name, value in applied.items():
            merged[name] = merge(child_schema(schema, name), live.get(name), value)
        return merged
    return _merge_items(schema, live, applied)


def _merge_items(schema: Obj, live: list[Any], applied: list[Any]) -> list[Any]:
    """Applied items in their order, live ones that are not applied where they were among them."""
    known = {element_of(schema, item): item for item in live}
    wanted = {element_of(schema, item): item for item in applied}
    if len(wanted) != len(applied):
        raise bad_request("applied list contains duplicate items")
    merged = {
        element: merge(schema["items"], known.get(element), item) if element in known else copy(item)
        for element, item in wanted.items()
    }
    result: list[Any] = []
    waiting = list(wanted)
    for element, item in known.items():
        if element not in wanted:
            result.append(item)
        elif element in waiting:
            while waiting:
                first = waiting.pop(0)
                result.append(merged[first])
                if first == element:
                    break
    return result + [merged[element] for element in waiting]


def apply(schema: Obj, live: Obj, applied: Obj, manager: Manager, *, force: bool) -> tuple[Obj, Ownership]:
    """The new object and who owns what in it. Raises ApiStatus(409) for a conflict without ``force``."""
    try:
        wanted = fields_of(schema, applied)
        merged = merge(schema, live, applied)
    except KeyError as missing:
        raise bad_request(
            f"associative list with keys has an element that omits key field {missing}"
        ) from None
    except TypeError as error:
        raise bad_request(f"associative list has an element that is no object: {error}") from None
    ownership = Ownership(live)
    others = ownership.others(manager)
    before = ownership.fields.get(manager, frozenset())
    kept = wanted.union(*others.values())
    new = copy(merged)
    removed_by(schema, before - kept, kept, new)
    changed = changed_fields(schema, live, new)
    contested = [(other, path) for other, owned in others.items() for path in sorted(owned & changed)]
    if contested and not force:
        raise apply_conflict(
            [
                Cause(dotted(path), "FieldManagerConflict", _told(other, ownership))
                for other, path in contested
            ]
        )
    ownership.take((path for _, path in contested), keep=manager)
    ownership.take(fields_of(schema, live) - fields_of(schema, new), keep=manager)
    ownership.fields[manager] = wanted
    return new, ownership


def _told(manager: Manager, ownership: Ownership) -> str:
    name, operation, subresource = manager
    through = f' with subresource "{subresource}"' if subresource else ""
    return f'conflict with "{name}"{through}' + (
        f" using {ownership.api_version(manager)}" if operation == "Update" else ""
    )
