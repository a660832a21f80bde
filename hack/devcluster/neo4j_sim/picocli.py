"""The argument parser of ``neo4j-admin``, with picocli's rules and wording.

Guarantee: nothing is guessed: no abbreviations, no repeated single-valued option, no unknown option; every
refusal comes before the command does anything.
Non-guarantee: the usage text has the synopsis and the options, not the real tool's prose.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal["flag", "lenient-flag", "bool", "value", "list"]


class UsageError(Exception):
    """The message, and whether picocli would add suggestions instead of the usage."""

    def __init__(self, message: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


@dataclass(frozen=True, slots=True)
class Option:
    """``flag`` takes no value, ``lenient-flag`` tolerates ``=true``, ``bool`` may take the next word."""

    name: str
    kind: Kind = "value"
    label: str = "<value>"
    choices: tuple[str, ...] = ()
    check: Callable[[str], object] | None = None
    required: bool = False

    @property
    def synopsis(self) -> str:
        match self.kind:
            case "flag" | "lenient-flag":
                return f"[{self.name}]"
            case "bool":
                return f"[{self.name}[=true|false]]"
            case "list":
                shown = f"{self.name}={self.label}[,{self.label}...]"
            case _:
                shown = f"{self.name}={'|'.join(self.choices) or self.label}"
        return shown if self.required else f"[{shown}]"


@dataclass(frozen=True, slots=True)
class Positional:
    label: str
    required: bool = False
    many: bool = False
    check: Callable[[str], object] | None = None


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One leaf command."""

    words: tuple[str, ...]
    summary: str
    options: tuple[Option, ...]
    positional: Positional | None = None

    def usage(self) -> str:
        arguments = ""
        if self.positional:
            shown = f"<{self.positional.label}>{'...' if self.positional.many else ''}"
            arguments = f" {shown}" if self.positional.required else f" [{shown}]"
        synopsis = " ".join(option.synopsis for option in self.options)
        listed = "\n".join(f"      {option.synopsis}" for option in self.options)
        return (
            f"\n{self.summary}\n\nUSAGE\n\nneo4j-admin {' '.join(self.words)} [-h] {synopsis}{arguments}\n\n"
            f"OPTIONS\n\n  -h, --help\n{listed}\n"
        )


@dataclass(slots=True)
class Parsed:
    values: dict[str, list[str]] = field(default_factory=dict)
    positionals: list[str] = field(default_factory=list)
    help_requested: bool = False

    def value(self, name: str, default: str = "") -> str:
        return self.values[name][-1] if name in self.values else default

    def many(self, name: str) -> list[str]:
        return self.values.get(name, [])

    def flag(self, name: str, default: bool = False) -> bool:
        return self.value(name, str(default)).lower() == "true"


def expand_argument_files(arguments: Sequence[str]) -> list[str]:
    """``@file`` becomes the words in that file; an unreadable one stays as it is, as with picocli."""
    expanded: list[str] = []
    for argument in arguments:
        file = Path(argument[1:])
        if argument.startswith("@@"):
            expanded.append(argument[1:])
        elif argument.startswith("@") and len(argument) > 1 and file.is_file():
            expanded.extend(file.read_text(encoding="utf-8").split())
        else:
            expanded.append(argument)
    return expanded


class _Parser:
    def __init__(self, spec: CommandSpec, arguments: Sequence[str]) -> None:
        self._spec = spec
        self._options = {option.name: option for option in spec.options}
        self._waiting = expand_argument_files(arguments)
        self._parsed = Parsed()

    def run(self) -> Parsed:
        while self._waiting:
            word = self._waiting.pop(0)
            if word == "--":
                self._parsed.positionals.extend(self._waiting)
                break
            if word in ("-h", "--help"):
                self._parsed.help_requested = True
                return self._parsed
            if word.startswith("-") and word != "-":
                self._option(word)
            else:
                self._parsed.positionals.append(word)
        self._check_required()
        self._check_positionals()
        return self._parsed

    def _option(self, word: str) -> None:
        name, equals, value = word.partition("=")
        option = self._options.get(name)
        if option is None:
            raise UsageError(f"Unknown option: '{word}'", difflib.get_close_matches(name, self._options))
        if option.kind != "list" and name in self._parsed.values:
            raise UsageError(f"option '{name}' ({option.label}) should be specified only once")
        given = self._value(option, value if equals else None)
        texts = given.split(",") if option.kind == "list" else [given]
        for text in texts:
            self._check_value(option, text)
        self._parsed.values.setdefault(name, []).extend(texts)

    def _value(self, option: Option, attached: str | None) -> str:
        if option.kind == "flag":
            if attached is not None:
                raise UsageError(f"option '{option.name}' should be specified without '{attached}' parameter")
            return "true"
        if attached is not None:
            return attached
        if option.kind == "lenient-flag":
            return "true"
        if option.kind == "bool":
            follows = bool(self._waiting) and self._waiting[0].lower() in ("true", "false")
            return self._waiting.pop(0) if follows else "true"
        if not self._waiting:
            raise UsageError(f"Missing required parameter for option '{option.name}' ({option.label})")
        if self._waiting[0].partition("=")[0] in self._options:
            raise UsageError(f"Expected parameter for option '{option.name}' but found '{self._waiting[0]}'")
        return self._waiting.pop(0)

    def _check_value(self, option: Option, text: str) -> None:
        where = f"Invalid value for option '{option.name}' ({option.label})"
        if option.kind in ("bool", "lenient-flag") and text.lower() not in ("true", "false"):
            raise UsageError(f"Invalid value for option '{option.name}': '{text}' is not a boolean")
        if option.choices and text.lower() not in (choice.lower() for choice in option.choices):
            expected = ", ".join(option.choices)
            raise UsageError(f"{where}: expected one of [{expected}] (case-insensitive) but was '{text}'")
        if option.check:
            try:
                option.check(text)
            except ValueError as error:
                raise UsageError(f"{where}: {error}") from error

    def _check_required(self) -> None:
        for option in self._spec.options:
            if option.required and option.name not in self._parsed.values:
                raise UsageError(f"Missing required option: '{option.name}={option.label}'")

    def _check_positionals(self) -> None:
        positional, given = self._spec.positional, self._parsed.positionals
        allowed = 0 if positional is None else len(given) if positional.many else 1
        if len(given) > allowed:
            raise UsageError(f"Unmatched argument at index {allowed}: '{given[allowed]}'")
        if positional is None:
            return
        if positional.required and not given:
            raise UsageError(f"Missing required parameter: '<{positional.label}>'")
        for text in given:
            try:
                if positional.check:
                    positional.check(text)
            except ValueError as error:
                raise UsageError(str(error)) from error


def parse(spec: CommandSpec, arguments: Sequence[str]) -> Parsed:
    """Raises UsageError."""
    return _Parser(spec, arguments).run()
