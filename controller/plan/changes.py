"""The closed set of things that a plan may ask for.

Guarantee: a change is data, says why it is wanted, and carries the identity (uid) that it was decided
for whenever carrying it out on another object of the same name would do harm. Non-guarantee: nothing
here performs a change; :mod:`controller.reconcile.act` does, and it may stop after any of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from controller.kube.resource import Resource

Document: TypeAlias = dict[str, Any]
"""One Kubernetes object as JSON: the border to the API server."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of an object that is ours alone."""

    resource: Resource
    document: Document
    why: str


@dataclass(frozen=True, slots=True)
class Create:
    """Create once; that it is there already is fine, because names are deterministic."""

    resource: Resource
    document: Document
    why: str


@dataclass(frozen=True, slots=True)
class Patch:
    """Merge patch of a few fields; a ``resourceVersion`` in its metadata makes it a compare-and-set."""

    resource: Resource
    namespace: str
    name: str
    patch: Document
    why: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete exactly the object with this uid, its dependents too; that it is gone already is fine."""

    resource: Resource
    namespace: str
    name: str
    uid: str
    why: str


@dataclass(frozen=True, slots=True)
class SetFinalizer:
    """Put our finalizer on the backup or take it off, leaving everybody else's alone."""

    present: bool
    why: str


@dataclass(frozen=True, slots=True)
class PatchSidecar:
    """Server-side apply of the sidecar to one StatefulSet: its pods restart one by one."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    """Of the StatefulSet that this was decided from."""
    document: Document
    why: str


@dataclass(frozen=True, slots=True)
class EmitEvent:
    """An Event on the backup."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


Change: TypeAlias = Apply | Create | Patch | Delete | SetFinalizer | PatchSidecar | EmitEvent
