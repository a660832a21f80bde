"""The Common Expression Language, as far as rules in CustomResourceDefinitions need it.

Guarantee: an expression that compiles here means what it means in a real server: ``has`` asks without
looking, ``||`` and ``&&`` forgive an error on the side that does not matter, a missing key is an error.
What is not known is refused when the definition is made, never when an object is.
Non-guarantee: types are not checked before an object is at hand, and costs not at all: a real server also
refuses a rule for a field that the schema has not, or one that could take too long.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

Scope = Mapping[str, Any]
Node = Callable[[Scope], Any]


class CelError(Exception):
    """An expression cannot be compiled, or has no value for this object."""


_TOKEN = re.compile(
    r"""
    (?P<space>\s+)
  | (?P<raw>r'[^']*'|r"[^"]*")
  | (?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")
  | (?P<float>\d+\.\d+)
  | (?P<int>\d+)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<sign>&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_LEVELS = (("==", "!=", "<", "<=", ">", ">=", "in"), ("+", "-"), ("*", "/", "%"))
_MACROS = ("all", "exists", "exists_one", "filter", "map")


def _regex(pattern: str) -> re.Pattern[str]:
    """RE2's ``$`` is the end alone; Python's also stands before a last newline."""
    parts: list[str] = []
    in_class = False
    for piece in re.findall(r"\\.|.", pattern, re.DOTALL):
        in_class = piece == "[" or (in_class and piece != "]")
        parts.append(r"\Z" if piece == "$" and not in_class else piece)
    try:
        return re.compile("".join(parts))
    except re.error as error:
        raise CelError(f"not a regular expression: {error}") from error


_METHODS: dict[str, Callable[..., Any]] = {
    "matches": lambda text, pattern: _regex(pattern).search(text) is not None,
    "startsWith": lambda text, other: text.startswith(other),
    "endsWith": lambda text, other: text.endswith(other),
    "contains": lambda text, other: other in text,
    "size": len,
    "lowerAscii": lambda text: text.lower(),
    "upperAscii": lambda text: text.upper(),
    "trim": lambda text: text.strip(),
    "split": lambda text, by: text.split(by),
    "replace": lambda text, old, new: text.replace(old, new),
    "join": lambda items, by="": by.join(items),
    "isSorted": lambda items: items == sorted(items),
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"size": len, "int": int, "string": str, "double": float}


@cache
def compiled(expression: str) -> Node:
    """Raises CelError."""
    parser = _Parser(_tokens(expression))
    node = parser.ternary()
    parser.expect("")
    return node


def evaluate(expression: str, scope: Scope) -> Any:
    """Raises CelError, also for what goes wrong with the values at hand."""
    return _run(compiled(expression), scope)


def _run(node: Node, scope: Scope) -> Any:
    try:
        return node(scope)
    except (TypeError, ValueError, AttributeError, ZeroDivisionError, IndexError) as error:
        raise CelError(f"no such overload or value: {error}") from error


def _tokens(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise CelError(f"syntax error at {text[position : position + 20]!r}")
        position = token.end()
        kind = token.lastgroup or ""
        if kind != "space":
            found.append((kind, token.group()))
    return [*found, ("end", "")]


@dataclass(slots=True)
class _Parser:
    """Recursive descent; every method leaves the position behind what it has read."""

    tokens: list[tuple[str, str]]
    position: int = 0

    def peek(self) -> str:
        kind, text = self.tokens[self.position]
        return text if kind in ("sign", "name", "end") else f"<{kind}>"

    def take(self, text: str) -> bool:
        if self.peek() != text or self.tokens[self.position][0] == "end":
            return False
        self.position += 1
        return True

    def expect(self, text: str) -> None:
        if self.peek() != text:
            raise CelError(f"syntax error: expected {text or 'the end'!r}, found {self.peek()!r}")
        self.position += 1

    def ternary(self) -> Node:
        condition = self.either()
        if not self.take("?"):
            return condition
        yes = self.either()
        self.expect(":")
        no = self.ternary()
        return lambda scope: yes(scope) if condition(scope) else no(scope)

    def either(self) -> Node:
        return self._logical("||", self.both, True)

    def both(self) -> Node:
        return self._logical("&&", lambda: self.binary(0), False)

    def _logical(self, sign: str, operand: Callable[[], Node], decides: bool) -> Node:
        parts = [operand()]
        while self.take(sign):
            parts.append(operand())
        return parts[0] if len(parts) == 1 else lambda scope: _logical(parts, scope, decides)

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.unary()
        left = self.binary(level + 1)
        while self.peek() in _LEVELS[level]:
            sign = self.peek()
            self.position += 1
            left = _binary(sign, left, self.binary(level + 1))
        return left

    def unary(self) -> Node:
        if self.take("!"):
            operand = self.unary()
            return lambda scope: not _boolean(operand(scope))
        if self.take("-"):
            number = self.unary()
            return lambda scope: -number(scope)
        return self.member()

    def member(self) -> Node:
        node = self.primary()
        while True:
            if self.take("."):
                node = self.selected(node, self.name())
            elif self.take("["):
                index = self.ternary()
                self.expect("]")
                node = _indexed(node, index)
            else:
                return node

    def selected(self, target: Node, name: str) -> Node:
        if not self.take("("):
            return _field(target, _unescaped(name))
        if name in _MACROS:
            return self.macro(target, name)
        if name not in _METHODS:
            raise CelError(f"undeclared reference to {name!r}")
        method, arguments = _METHODS[name], self.arguments(")")
        return lambda scope: method(target(scope), *(each(scope) for each in arguments))

    def macro(self, target: Node, name: str) -> Node:
        variable = self.name()
        self.expect(",")
        body = self.ternary()
        self.expect(")")
        return lambda scope: _macro(name, target(scope), lambda item: _run(body, {**scope, variable: item}))

    def primary(self) -> Node:
        kind, text = self.tokens[self.position]
        self.position += 1
        if kind in ("raw", "text", "int", "float"):
            value = _literal(kind, text)
            return lambda scope: value
        if kind == "name":
            return self.named(text)
        if text == "(":
            node = self.ternary()
            self.expect(")")
            return node
        if text == "[":
            items = self.arguments("]")
            return lambda scope: [each(scope) for each in items]
        if text == "{":
            return self.mapping()
        raise CelError(f"syntax error: unexpected {text or 'end'!r}")

    def named(self, text: str) -> Node:
        constants = {"true": True, "false": False, "null": None}
        if text in constants:
            return lambda scope: constants[text]
        if not self.take("("):
            return lambda scope: _variable(scope, text)
        if text == "has":
            looked_at = self.member()
            self.expect(")")
            return lambda scope: _has(looked_at, scope)
        if text not in _FUNCTIONS:
            raise CelError(f"undeclared reference to {text!r}")
        function, arguments = _FUNCTIONS[text], self.arguments(")")
        return lambda scope: function(*(each(scope) for each in arguments))

    def mapping(self) -> Node:
        entries: list[tuple[Node, Node]] = []
        while not self.take("}"):
            key = self.ternary()
            self.expect(":")
            entries.append((key, self.ternary()))
            self.take(",")
        return lambda scope: {key(scope): value(scope) for key, value in entries}

    def arguments(self, end: str) -> list[Node]:
        found: list[Node] = []
        while not self.take(end):
            if found:
                self.expect(",")
            found.append(self.ternary())
        return found

    def name(self) -> str:
        kind, text = self.tokens[self.position]
        if kind != "name":
            raise CelError(f"syntax error: expected a name, found {text!r}")
        self.position += 1
        return text


def _literal(kind: str, text: str) -> Any:
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if kind == "raw":
        return text[2:-1]
    return re.sub(
        r"\\(.)", lambda found: {"n": "\n", "t": "\t", "r": "\r"}.get(found[1], found[1]), text[1:-1]
    )


def _unescaped(name: str) -> str:
    """Fields whose names CEL reserves are written ``__namespace__``."""
    found = re.fullmatch(r"__([a-z]+)__", name)
    if found and found[1] not in ("dot", "dash", "slash", "underscores"):
        return found[1]
    signs = {"__dot__": ".", "__dash__": "-", "__slash__": "/", "__underscores__": "__"}
    return re.sub("|".join(signs), lambda sign: signs[sign[0]], name)


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope:
        raise CelError(f"undeclared reference to {name!r}")
    return scope[name]


def _field(target: Node, name: str) -> Node:
    def look(scope: Scope) -> Any:
        value = target(scope)
        if not isinstance(value, dict) or name not in value:
            raise CelError(f"no such key: {name}")
        return value[name]

    return look


def _indexed(target: Node, index: Node) -> Node:
    def look(scope: Scope) -> Any:
        value, key = target(scope), index(scope)
        if isinstance(value, dict) and key not in value:
            raise CelError(f"no such key: {key}")
        if isinstance(value, list) and not 0 <= key < len(value):
            raise CelError(f"index out of bounds: {key}")
        return value[key]

    return look


def _has(looked_at: Node, scope: Scope) -> bool:
    try:
        return looked_at(scope) is not None
    except CelError:
        return False


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError(f"no such overload: {type(value).__name__} is not a boolean")
    return value


def _logical(parts: list[Node], scope: Scope, decides: bool) -> bool:
    failure: CelError | None = None
    for part in parts:
        try:
            if _boolean(_run(part, scope)) is decides:
                return decides
        except CelError as error:
            failure = error
    if failure is not None:
        raise failure
    return not decides


def _equal(left: Any, right: Any) -> bool:
    """Python holds true for 1; CEL does not."""
    return isinstance(left, bool) is isinstance(right, bool) and bool(left == right)


def _binary(sign: str, left: Node, right: Node) -> Node:
    operations: dict[str, Callable[[Any, Any], Any]] = {
        "==": _equal,
        "!=": lambda a, b: not _equal(a, b),
        "<": lambda a, b: a < b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        ">=": lambda a, b: a >= b,
        "in": lambda a, b: a in b,
        "+": lambda a, b: a + b,
        "-": lambda a, b: a - b,
        "*": lambda a, b: a * b,
        "/": lambda a, b: int(a / b) if isinstance(a, int) else a / b,
        "%": lambda a, b: a - b * int(a / b),
    }
    operate = operations[sign]
    return lambda scope: operate(left(scope), right(scope))


def _macro(name: str, items: Any, holds: Callable[[Any], Any]) -> Any:
    """A map is gone through by its keys."""
    match name:
        case "all":
            return _logical([_calling(holds, item) for item in items], {}, False)
        case "exists":
            return _logical([_calling(holds, item) for item in items], {}, True)
        case "exists_one":
            return sum(_boolean(holds(item)) for item in items) == 1
        case "filter":
            return [item for item in items if _boolean(holds(item))]
        case _:
            return [holds(item) for item in items]


def _calling(holds: Callable[[Any], Any], item: Any) -> Node:
    return lambda scope: holds(item)
