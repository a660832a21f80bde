"""What every part of a status is made of.

Guarantee: parts are frozen, and read and compared in C; they hold no cycle (hence ``gc=False``). JSON names
are camelCase; None and empty lists are left out when a part is written, as in a Kubernetes object. A time
that is read has a zone; one that is written is in UTC and in whole seconds, its fraction cut off.

Non-guarantee: limits (``Meta``) hold for what is read. A part that is made in Python is not checked.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

Int32 = Annotated[int, Meta(extra_json_schema={"format": "int32"})]
Int64 = Annotated[int, Meta(extra_json_schema={"format": "int64"})]
Time = Annotated[datetime, Meta(tz=True)]

_TIMES = (datetime,)
# The rest is JSON already: a call for each text would be most of what writing a status costs.
_INNER = frozenset({dict, list, tuple, datetime})


class Part(msgspec.Struct, frozen=True, gc=False, kw_only=True, rename="camel", omit_defaults=True):
    """Base of the parts: camelCase outside, snake_case inside, unknown fields ignored.

    Unknown fields are ignored because an operator one release behind the definition must keep working.
    """

    def as_dict(self) -> dict[str, Any]:
        """JSON names and types."""
        content: dict[str, Any] = as_json(self)
        return content


def as_json(value: object) -> Any:
    """``value``, a part or something that holds parts, as it is written: dicts, lists, text and numbers."""
    return _with_times(msgspec.to_builtins(value, builtin_types=_TIMES))


def rfc3339(moment: datetime) -> str:
    """Kubernetes' own precision: seconds, UTC, ``Z``."""
    text: str = msgspec.to_builtins(moment.astimezone(UTC).replace(microsecond=0))
    return text


def _with_times(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        return {key: _with_times(child) if type(child) in _INNER else child for key, child in value.items()}
    if kind is tuple or kind is list:
        return [_with_times(child) if type(child) in _INNER else child for child in value]
    return rfc3339(value) if kind is datetime else value
