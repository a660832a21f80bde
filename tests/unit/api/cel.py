"""Evaluates the subset of CEL that our rules use, to hold them to their Python twins.

The expressions are rewritten to Python: the operators, ``has`` (which asks about its argument instead
of evaluating it) and the two macros with a bound variable. What is not in the subset fails loudly.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(
    r"'(?:[^'\\]|\\.)*'|\.(?:exists|all)\(\w+, |&&|\|\||==|!=|!|has\(|size\(|[A-Za-z_]\w*|[0-9]+|>|[.(), ]"
)
_WORDS = {"&&": " and ", "||": " or ", "!": " not ", "has(": "has(lambda: "}


class _Text(str):
    def matches(self, pattern: str) -> bool:
        # RE2 knows no newline before the end; Python's $ does.
        return re.search(pattern.replace("$", r"\Z"), self) is not None


class _List(list[Any]):
    def exists(self, holds: Callable[[Any], bool]) -> bool:
        return any(holds(item) for item in self)

    def all(self, holds: Callable[[Any], bool]) -> bool:
        return all(holds(item) for item in self)


class _Object:
    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    def __getattr__(self, name: str) -> Any:
        plain = "namespace" if name == "__namespace__" else name
        if plain not in self._fields:
            raise KeyError(f"no such key: {plain}")
        return _wrapped(self._fields[plain])


def _wrapped(value: Any) -> Any:
    if isinstance(value, dict):
        return _Object(value)
    if isinstance(value, str):
        return _Text(value)
    return _List(map(_wrapped, value)) if isinstance(value, list | tuple) else value


def _has(look: Callable[[], Any]) -> bool:
    try:
        look()
    except KeyError:
        return False
    return True


def evaluate(rule: str, value: dict[str, Any]) -> bool:
    """What an API server makes of ``rule`` for the object ``value``."""
    tokens = _TOKEN.findall(rule)
    if "".join(tokens) != rule:
        raise AssertionError(f"not in the subset: {rule}")
    source = "".join(map(_python, tokens))
    result = eval(source, {"self": _wrapped(value), "has": _has, "size": len})
    assert isinstance(result, bool)
    return result


def _python(token: str) -> str:
    macro = re.fullmatch(r"\.(exists|all)\((\w+), ", token)
    if macro:
        return f".{macro[1]}(lambda {macro[2]}: "
    return _WORDS.get(token, token)
