"""The cache of one kind: a map with indexes and a version, changed in single steps.

Guarantee: every change (one event or a whole relist) is one step without a gap: a reader sees all of it
or nothing, indexes and version included. What the step changed is returned as deltas, deletions first;
an object that vanished in a gap is a deletion with its last known state, and one that came back under
its name with another uid is a deletion and an addition. An object is never changed in
place, and an event that is older than what is known changes nothing.

Non-guarantee: the store is as old as its :attr:`Store.version`; it is not the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
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
        return self._content.objects.get((namespace, name))

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """The objects that ``index`` finds under ``value``."""
        return [*self._content.indexes[index].get(value, {}).values()]

    def list(self, namespace: str | None = None) -> list[T]:
        """All objects, or all of one namespace."""
        if namespace is None:
            return [*self._content.objects.values()]
        return [*self._content.spaces.get(namespace, {}).values()]

    def __len__(self) -> int:
        return len(self._content.objects)

    def __repr__(self) -> str:
        return f"<Store of {len(self)} at version {self.version or 'none'}>"


class StoreWriter(Generic[T]):
    """The writer's side: whoever fills a store holds this, and nobody else can."""

    def __init__(self, indexes: Mapping[str, IndexFunction[T]] | None = None) -> None:
        self.store: Store[T] = Store(indexes)

    def replace(self, items: Iterable[T], version: str) -> list[Delta[T]]:
        """Make the store hold exactly ``items``; an object whose version is the same stays as it is."""
        store, fresh = self.store, _Content[T](self.store._functions)
        known = store._content.objects
        for item in items:
            old = known.get(key_of(item))
            fresh.put(old if old is not None and _same(old, item) else item)
        deltas = _difference(known, fresh.objects)
        store._content, store.version = fresh, version
        return deltas

    def put(self, item: T) -> list[Delta[T]]:
        """An ADDED or MODIFIED event."""
        store = self.store
        old = store.get(item.namespace, item.name)
        self.bookmark(item.resource_version)
        if old is not None and (_same(old, item) or _is_older(item, old)):
            return []
        store._content.put(item)
        return _changed(old, item)

    def remove(self, item: T) -> list[Delta[T]]:
        """A DELETED event; ``item`` is the object's last state and carries the deletion's version."""
        self.bookmark(item.resource_version)
        old = self.store.get(item.namespace, item.name)
        if old is None or _is_older(item, old):
            return []
        self.store._content.remove(key_of(item))
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


def _difference(before: Mapping[Key, T], after: Mapping[Key, T]) -> list[Delta[T]]:
    gone = [Delta(old, None) for key, old in before.items() if key not in after]
    deltas: list[Delta[T]] = []
    for key, new in after.items():
        old = before.get(key)
        if old is not new:
            deltas += _changed(old, new)
    # A namesake with another uid is deleted before anything is added, as the other deletions are.
    return [*gone, *sorted(deltas, key=lambda delta: delta.new is not None)]


class _Content(Generic[T]):
    """The maps that change together."""

    __slots__ = ("functions", "indexes", "objects", "spaces")

    def __init__(self, functions: Mapping[str, IndexFunction[T]]) -> None:
        self.functions = functions
        self.objects: dict[Key, T] = {}
        self.spaces: dict[str, dict[str, T]] = {}
        self.indexes: dict[str, dict[Hashable, dict[Key, T]]] = {name: {} for name in functions}

    def put(self, item: T) -> None:
        # Computed before anything is touched: an index function that raises leaves all as it was.
        places = [(name, frozenset(function(item))) for name, function in self.functions.items()]
        key = key_of(item)
        self.remove(key)
        self.objects[key] = item
        self.spaces.setdefault(item.namespace, {})[item.name] = item
        for name, values in places:
            for value in values:
                self.indexes[name].setdefault(value, {})[key] = item

    def remove(self, key: Key) -> T | None:
        old = self.objects.pop(key, None)
        if old is None:
            return None
        _drop(self.spaces, key[0], key[1])
        for name, function in self.functions.items():
            for value in frozenset(function(old)):
                _drop(self.indexes[name], value, key)
        return old


A = TypeVar("A", bound=Hashable)
B = TypeVar("B", bound=Hashable)


def _drop(table: dict[A, dict[B, T]], outer: A, inner: B) -> None:
    row = table[outer]
    del row[inner]
    if not row:
        del table[outer]
