"""The cache of one kind: a map with indexes and a version, changed in single steps.

Guarantee: every change (one event or a whole relist) is one step without a gap: a reader sees all of it
or nothing, indexes and version included. What the step changed is returned as deltas, deletions first;
an object that vanished in a gap is a deletion with its last known state, and one that came back under
its name with another uid is a deletion and an addition. An object is never changed in
place, and an event that is older than what is known changes nothing.

Non-guarantee: the store is as old as its :attr:`Store.version`; it is not the API server.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from controller.kube.objects import Object
from controller.kube.versions import is_at_least

T = TypeVar("T", bound=Object)
Key = tuple[str, str]
IndexFunction = Callable[[T], Iterable[Hashable]]
"""The values under which an object is found; pure, and total for every object that decodes."""


class Delta(NamedTuple, Generic[T]):
    """One change of one object: ``(None, new)`` added, ``(old, new)`` changed, ``(old, None)`` gone."""

    old: T | None
    new: T | None


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    return obj.namespace, obj.name


class Store(Generic[T]):
    """The reader's side. Lists are copies; the objects in them are shared and frozen."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self._functions = dict(indexes or {})
        self._content = _Content[T](self._functions)
        self.version = ""
        """The resource version that the content is known to be at; empty before the first list."""

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None. Objects of the cluster have the namespace ``""``."""
        return self._content.get(namespace, name)

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """The objects that ``index`` finds under ``value``."""
        return [*self._content.indexes[index].get(value, {}).values()]

    def list(self, namespace: str | None = None) -> list[T]:
        """All objects, or all of one namespace."""
        if namespace is None:
            return [*self._content]
        return [*self._content.spaces.get(namespace, {}).values()]

    def __len__(self) -> int:
        return self._content.size

    def __repr__(self) -> str:
        return f"<Store of {len(self)} at version {self.version or 'none'}>"


class StoreWriter(Generic[T]):
    """The writer's side: whoever fills a store holds this, and nobody else can."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self.store: Store[T] = Store(indexes)
        self._staged = _Content[T](self.store._functions)

    def replace(self, items: Iterable[T], version: str) -> list[Delta[T]]:
        """Make the store hold exactly ``items``; an object whose version is the same stays as it is."""
        self.begin()
        self.stage(items)
        return [*self.commit(version)]

    def begin(self) -> None:
        """A new list begins, and whatever was staged of another is forgotten."""
        self._staged = _Content(self.store._functions)

    def stage(self, items: Iterable[T]) -> None:
        """A part of the list; no reader sees it before :meth:`commit`."""
        known, staged = self.store._content, self._staged
        for item in items:
            old = known.get(item.namespace, item.name)
            staged.put(old if old is not None and _same(old, item) else item)

    def unstage(self, item: Object) -> None:
        """What was staged went again before the list was complete."""
        self._staged.remove(item.namespace, item.name)

    def commit(self, version: str) -> Iterator[Delta[T]]:
        """The list is complete: the store holds it from now on, in one step.

        The differences are worked out as they are asked for; ask for all of them before the next change.
        """
        store, before = self.store, self.store._content
        store._content, store.version = self._staged, version
        self.begin()
        return _difference(before, store._content)

    def put(self, item: T) -> list[Delta[T]]:
        """An ADDED or MODIFIED event."""
        content = self.store._content
        old = content.get(item.namespace, item.name)
        self.bookmark(item.resource_version)
        if old is not None and (_same(old, item) or _is_older(item, old)):
            return []
        content.put(item)
        return _changed(old, item)

    def remove(self, item: T) -> list[Delta[T]]:
        """A DELETED event; ``item`` is the object's last state and carries the deletion's version."""
        self.bookmark(item.resource_version)
        old = self.store.get(item.namespace, item.name)
        if old is None or _is_older(item, old):
            return []
        self.store._content.remove(item.namespace, item.name)
        return [Delta(item if old.uid == item.uid else old, None)]

    def bookmark(self, version: str) -> None:
        """The server says that nothing else happened up to ``version``."""
        # Only a whole list may go back (a server restored from a backup); an event is just late then.
        if is_at_least(version, self.store.version) is not False:
            self.store.version = version


def _is_older(item: Object, known: Object) -> bool:
    return is_at_least(item.resource_version, known.resource_version) is False


def _same(old: Object, new: Object) -> bool:
    return old.resource_version == new.resource_version and old.uid == new.uid


def _changed(old: T | None, new: T) -> list[Delta[T]]:
    if old is not None and old.uid != new.uid:
        return [Delta(old, None), Delta(None, new)]
    return [Delta(old, new)]


def _difference(before: _Content[T], after: _Content[T]) -> Iterator[Delta[T]]:
    """Deletions first, of a namesake with another uid as well."""
    for old in before:
        new = after.get(old.namespace, old.name)
        if new is None or new.uid != old.uid:
            yield Delta(old, None)
    for new in after:
        known = before.get(new.namespace, new.name)
        if known is not new:
            yield Delta(known if known is not None and known.uid == new.uid else None, new)


class _Content(Generic[T]):
    """The maps that change together. No table over all keys: it would cost 150 bytes an object."""

    __slots__ = ("functions", "indexes", "size", "spaces")

    def __init__(self, functions: Mapping[str, IndexFunction[T]]) -> None:
        self.functions = functions
        self.size = 0
        self.spaces: dict[str, dict[str, T]] = {}
        self.indexes: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in functions}

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(map(dict.values, self.spaces.values()))

    def get(self, namespace: str, name: str) -> T | None:
        space = self.spaces.get(namespace)
        return None if space is None else space.get(name)

    def put(self, item: T) -> None:
        namespace, name = item.namespace, item.name
        space = self.spaces.get(namespace)
        old = None if space is None else space.get(name)
        if self.functions:
            self._index(old, item, (namespace, name))
        if space is None:
            space = self.spaces[namespace] = {}
        space[name] = item
        self.size += old is None

    def remove(self, namespace: str, name: str) -> None:
        old = self.get(namespace, name)
        if old is None:
            return
        for index, function in self.functions.items():
            for value in frozenset(function(old)):
                _drop(self.indexes[index], value, (namespace, name))
        _drop(self.spaces, namespace, name)
        self.size -= 1

    def _index(self, old: T | None, new: T, key: Key) -> None:
        # Computed before anything is touched: an index function that raises leaves all as it was.
        places = [
            (
                self.indexes[name],
                frozenset(function(old)) if old is not None else (),
                frozenset(function(new)),
            )
            for name, function in self.functions.items()
        ]
        for index, before, after in places:
            for value in before:
                if value not in after:
                    _drop(index, value, key)
            for value in after:
                index.setdefault(value, {})[key] = new


A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)


def _drop(table: dict[A, dict[B, T]], outer: A, inner: B) -> None:
    row = table[outer]
    del row[inner]
    if not row:
        del table[outer]
