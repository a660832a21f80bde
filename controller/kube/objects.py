"""The slim metadata that cached objects keep, as msgspec Structs to build typed objects on.

Guarantee: frozen, without managedFields, and a null or unknown field of the server never fails.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec


class OwnerReference(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Who made an object."""

    kind: str
    name: str
    uid: str
    api_version: str = ""
    controller: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """What every object has and a controller looks at."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    finalizers: tuple[str, ...] | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class Version(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Of the metadata how new an object is."""

    resource_version: str = ""


class Written(msgspec.Struct, frozen=True, gc=False):
    """Of the answer to a write what a writer has to know: which state its own is."""

    metadata: Version


class Object(Protocol):
    """What a store needs to know of an object: where it is, which one it is, how new it is."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


@runtime_checkable
class Kept(Protocol):
    """What a type may have: it is told once, before a cache keeps an object, what the cache knew of it.

    Then it may share with that, or make smaller, what it holds; what it says must stay the same.
    """

    def kept(self, known: Any) -> None: ...


class KubeObject(msgspec.Struct, frozen=True, gc=False, rename="camel", kw_only=True):
    """Base of typed objects: subclass it and add the fields that are looked at.

    A subclass must repeat ``frozen=True, gc=False`` and must not hold reference cycles, which decoded
    JSON cannot.
    """

    metadata: ObjectMeta

    @property
    def namespace(self) -> str:
        """Empty for objects of the cluster."""
        return self.metadata.namespace

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def uid(self) -> str:
        return self.metadata.uid

    @property
    def resource_version(self) -> str:
        return self.metadata.resource_version
