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


class Identified(Protocol):
    """Where an object is, which one it is, how new it is."""

    @property
    def namespace(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def uid(self) -> str: ...
    @property
    def resource_version(self) -> str: ...


class Object(Protocol):
    """What a store needs to know of an object. Not as properties of its own, which would be a tenth of what
    an event costs."""

    @property
    def metadata(self) -> Identified: ...


class Keeper(Protocol):
    """What is done to the objects that one cache keeps, to each before it can be read there: it may share
    with the state known before, or get smaller; what it says must stay the same."""

    def listed(self, item: Any, known: Any) -> None:
        """One of a list, which need not become known."""

    def changed(self, item: Any, known: Any) -> None:
        """One of an event."""


@runtime_checkable
class Kept(Protocol):
    """A type that has something done to its objects; ``keeper`` is called for each cache."""

    @staticmethod
    def keeper() -> Keeper: ...


class AsItIs:
    """The keeper of all other types."""

    def listed(self, item: object, known: object) -> None:
        pass

    def changed(self, item: object, known: object) -> None:
        pass


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
