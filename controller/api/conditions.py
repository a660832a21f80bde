"""Conditions of a custom resource as a value.

Guarantee: ``lastTransitionTime`` moves if and only if ``status`` flips; setting a condition to what it
already is gives an equal set; the order is stable (the kind's own types first, in their declared
order, then others by name), so an unchanged status serialises to the same bytes.

Non-guarantee: what the conditions say is the planner's business; time is an argument.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from controller.api.parts import Int64, Part, Time

ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Part, frozen=True, gc=False, kw_only=True):
    """One aspect of the state of the resource, in the shape that all of Kubernetes uses."""

    type: Annotated[str, Meta(max_length=316)]
    """Type of the condition in CamelCase; the key of the list."""
    status: ConditionStatus
    """True, False, or Unknown when the operator could not look."""
    observed_generation: Int64 | None = None
    """The metadata.generation that the condition was computed from."""
    last_transition_time: Time
    """When status last changed from one value to another."""
    reason: Annotated[str, Meta(min_length=1, max_length=1024)]
    """One CamelCase word for programs."""
    message: Annotated[str, Meta(max_length=32768)]
    """One sentence for people: what is so and, when something is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a planner has decided about one condition; the same string goes to log, Event and status."""

    type: str
    status: ConditionStatus
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ConditionSet:
    """Conditions keyed by type, immutable: every change gives a new set."""

    order: tuple[str, ...]
    items: tuple[Condition, ...] = ()

    @classmethod
    def read(cls, order: tuple[str, ...], items: Iterable[Condition]) -> ConditionSet:
        """The set that a status holds; of a type that is there twice the last one counts."""
        return cls(order, _sorted(order, {item.type: item for item in items}.values()))

    def get(self, type_: str) -> Condition | None:
        """The condition of that type, or None."""
        return next((item for item in self.items if item.type == type_), None)

    def is_true(self, type_: str) -> bool:
        """True only when the condition is there and its status is True."""
        found = self.get(type_)
        return found is not None and found.status == "True"

    def with_verdict(self, verdict: Verdict, generation: int, now: datetime) -> ConditionSet:
        """The set after ``verdict``, which was computed from ``generation`` at ``now``.

        ValueError for a verdict without a reason, which no API server takes.
        """
        if not verdict.reason:
            raise ValueError(f"the condition {verdict.type} has no reason")
        before = self.get(verdict.type)
        flipped = before is None or before.status != verdict.status
        after = Condition(
            type=verdict.type,
            status=verdict.status,
            observed_generation=generation,
            last_transition_time=now.replace(microsecond=0)
            if flipped or before is None
            else before.last_transition_time,
            reason=verdict.reason,
            message=verdict.message,
        )
        rest = (item for item in self.items if item.type != verdict.type)
        return ConditionSet(self.order, _sorted(self.order, (*rest, after)))

    def without(self, type_: str) -> ConditionSet:
        """The set with that type gone."""
        return ConditionSet(self.order, tuple(item for item in self.items if item.type != type_))

    def __iter__(self) -> Iterator[Condition]:
        return iter(self.items)

    def as_dicts(self) -> list[dict[str, Any]]:
        """What ``status.conditions`` holds."""
        return [item.as_dict() for item in self.items]


def _sorted(order: tuple[str, ...], items: Iterable[Condition]) -> tuple[Condition, ...]:
    rank = {type_: index for index, type_ in enumerate(order)}
    return tuple(sorted(items, key=lambda item: (rank.get(item.type, len(order)), item.type)))
