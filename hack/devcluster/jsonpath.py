"""The JSONPath dialect of printer columns: fields, escaped dots, indices, wildcards, equality filters."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

_STEP = re.compile(
    r"""
    \.(?P<field>(?:\\.|[^.\[\]\\])+)
  | \[\s*'(?P<quoted>[^']+)'\s*\]
  | \[\s*(?P<index>-?\d+)\s*\]
  | \[\s*(?P<all>\*)\s*\]
  | \[\?\(\s*@\.(?P<key>[\w.]+)\s*==\s*["'](?P<wanted>[^"']*)["']\s*\)\]
    """,
    re.VERBOSE,
)


def find(path: str, obj: Any) -> list[Any]:
    """All values at ``path``; a path that cannot be read finds nothing."""
    found = [obj]
    for kind, argument in _steps(path):
        found = [item for value in found for item in _take(value, kind, argument)]
    return [value for value in found if value is not None]


@cache
def _steps(path: str) -> tuple[tuple[str, str], ...]:
    text = path.removeprefix("{").removesuffix("}").removeprefix("$")
    text = text if text.startswith((".", "[")) else f".{text}"
    steps: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            return (("nothing", ""),)
        position = step.end()
        if step["key"]:
            steps.append(("filter", f"{step['key']}={step['wanted']}"))
        else:
            kind = step.lastgroup or ""
            steps.append((kind, re.sub(r"\\(.)", r"\1", step[kind])))
    return tuple(steps)


def _take(value: Any, kind: str, argument: str) -> list[Any]:
    if kind in ("field", "quoted"):
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    if kind == "all":
        return (
            list(value.values())
            if isinstance(value, dict)
            else list(value)
            if isinstance(value, list)
            else []
        )
    if not isinstance(value, list):
        return []
    if kind == "index":
        return value[int(argument) :][:1] if argument != "-1" else value[-1:]
    if kind == "filter":
        key, _, wanted = argument.partition("=")
        return [item for item in value if find(f".{key}", item) == [wanted]]
    return []
