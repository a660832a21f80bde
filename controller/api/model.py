"""What every model of a custom resource is made of.

Guarantee: models are frozen; JSON names are camelCase; a rule that spans several fields is written
once, as a :class:`Rule`, and is the CEL expression of the CRD and the check of the model at the same
time, so that a user reads the same message whether the API server (1.25+) or the operator found out.

Non-guarantee: that the CEL text and the Python predicate mean the same is held by tests, not by
construction.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from controller.api import syntax

M_contra = TypeVar("M_contra", contravariant=True)

JsonObject = dict[str, Any]
"""A decoded JSON object: the border where types end."""


@dataclass(frozen=True, slots=True)
class Rule(Generic[M_contra]):
    """One rule over the fields of a model; ``cel`` sees the object as ``self``."""

    cel: str
    message: str
    holds: Callable[[M_contra], bool]


class Model(BaseModel):
    """Base of the models: frozen, camelCase outside, snake_case inside, unknown fields ignored.

    Unknown fields are ignored because the API server prunes them anyway, and an operator one release
    behind the CRD must keep working.
    """

    model_config = ConfigDict(
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule[Any], ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        broken = [rule.message for rule in self.rules if not rule.holds(self)]
        if broken:
            raise ValueError("; ".join(broken))
        return self

    def as_dict(self) -> JsonObject:
        """JSON names and types, absent fields and empty lists left out, as in a Kubernetes object."""
        content = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        dumped: JsonObject = _pruned(content)
        return dumped


class InvalidObject(ValueError):
    """A custom resource that cannot be used as it stands; ``problems`` says what to write instead."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def problems_of(error: ValidationError, root: str) -> tuple[str, ...]:
    """One line for each problem: ``spec.storage: bucket is required …``."""
    return tuple(f"{_path(root, item['loc'])}: {_text(item)}" for item in error.errors())


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _pruned(child) for key, child in value.items() if child != []}
    return [_pruned(child) for child in value] if isinstance(value, list) else value


def _path(root: str, location: tuple[int | str, ...]) -> str:
    path = root
    for step in location:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
    return path


def _text(item: Mapping[str, Any]) -> str:
    if item["type"] == "missing":
        return "is required"
    message = re.sub(
        r"^Value error, |^Input should be ", lambda m: "" if "V" in m[0] else "must be ", item["msg"]
    )
    given = item["input"]
    return (
        f"{message}, not {given!r}"
        if isinstance(given, str | int | float) and "must be" in message
        else message
    )


def text_rule(field: str, attribute: str, pattern: str, message: str) -> Rule[Model]:
    """``field``, where given, is ``pattern`` from end to end."""
    literal = syntax.whole(pattern).replace("\\", "\\\\").replace("'", "\\'")

    def holds(model: Model) -> bool:
        value: str | None = getattr(model, attribute)
        return value is None or syntax.matches(pattern, value)

    return Rule(f"!has(self.{field}) || self.{field}.matches('{literal}')", message, holds)
