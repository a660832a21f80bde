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
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import msgspec

from controller.kube.objects import AsItIs, Keeper, Object
from controller.kube.versions import is_at_least

T = TypeVar("T", bound=Object)
Key = tuple[str, str]
Values = tuple[Hashable, ...]
IndexFunction = Callable[[T], Iterable[Hashable]]


def _never(_old: object, _new: object) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Indexes(Generic[T]):
    """By what objects are found besides their keys."""

    names: tuple[str, ...]
    values: Callable[[T], Sequence[Values]]
    """For each name the values under which an object is found; pure, and total for all that decodes."""
    alike: Callable[[T, T], bool] = _never
    """Says of two states of an object that they are surely found under the same values: then nothing is
    worked out, as for most events. It may always say no."""

    @staticmethod
    def of(functions: Mapping[str, IndexFunction[T]]) -> Indexes[T]:
        """One function for each."""
        every = tuple(functions.values())
        return Indexes(tuple(functions), lambda item: [tuple(function(item)) for function in every])


class Delta(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """One change of one object: ``(None, new)`` added, ``(old, new)`` changed, ``(old, None)`` gone."""

    old: T | None
    new: T | None


def key_of(obj: Object) -> Key:
    """Namespace and name."""
    metadata = obj.metadata
    return metadata.namespace, metadata.name


class Store(Generic[T]):
    """The reader's side. Lists are copies; the objects in them are shared and frozen."""

    def __init__(self, indexes: Indexes[T]) -> None:
        self._content = _Content[T](indexes)
        self.version = ""
        """The resource version that the content is known to be at; empty before the first list."""

    def get(self, namespace: str, name: str) -> T | None:
        """The object, or None. Objects of the cluster have the namespace ``""``."""
        return self._content.get(namespace, name)

    def by_index(self, index: str, value: Hashable) -> list[T]:
        """The objects that ``index`` finds under ``value``."""
        return self._content.by_index(index, value)

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

    def __init__(
        self,
        indexes: Indexes[T] | Mapping[str, IndexFunction[T]] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        self._keeper = keeper or AsItIs()
        self._indexes = indexes if isinstance(indexes, Indexes) else Indexes.of(indexes or {})
        self.store: Store[T] = Store(self._indexes)
        self._staged = _Content[T](self._indexes)

    def replace(self, items: Iterable[T], version: str) -> list[Delta[T]]:
        """Make the store hold exactly ``items``; an object whose version is the same stays as it is."""
        self.begin()
        self.stage(items)
        return [*self.commit(version)]

    def begin(self) -> None:
        """A new list begins, and whatever was staged of another is forgotten."""
        self._staged = _Content(self._indexes)

    def stage(self, items: Iterable[T]) -> None:
        """A part of the list; no reader sees it before :meth:`commit`."""
        known, staged = self.store._content, self._staged
        for item in items:
            old = known.get(*key_of(item)) if known.size else None
            if old is None:
                # Indexed first, while it is as it came; with what is known only afterwards, to share.
                staged.put(item)
                self._keeper.listed(item, None)
            elif _same(old, item):
                staged.put(old)
            else:
                self._keeper.listed(item, old)
                staged.put(item)

    def unstage(self, item: Object) -> None:
        """What was staged went again before the list was complete."""
        self._staged.remove(*key_of(item))

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
        content, metadata = self.store._content, item.metadata
        namespace, name, version = metadata.namespace, metadata.name, metadata.resource_version
        is_news = self._advance(version)
        space = content.spaces.get(namespace)
        old = None if space is None else space.get(name)
        if space is None or old is None:
            if is_news is False:
                # Told again after its end, which left nothing here to compare it with.
                return []
            content.put(item)
            self._keeper.changed(item, None)
            return [Delta(None, item)]
        known = old.metadata
        is_namesake = known.uid != metadata.uid
        # What is news to the store is newer than all that is in it.
        if not is_news and (
            not is_namesake
            if version == known.resource_version
            else is_at_least(version, known.resource_version) is False
        ):
            return []
        self._keeper.changed(item, old)
        if content.rows:
            content.index(old, item, (namespace, name))
        space[name] = item
        return [Delta(old, None), Delta(None, item)] if is_namesake else [Delta(old, item)]

    def remove(self, item: T) -> list[Delta[T]]:
        """A DELETED event; ``item`` is the object's last state and carries the deletion's version."""
        self._advance(item.metadata.resource_version)
        old = self.store.get(*key_of(item))
        if old is None or _is_older(item, old):
            return []
        self.store._content.remove(*key_of(item))
        return [Delta(item if _same_uid(old, item) else old, None)]

    def bookmark(self, version: str) -> None:
        """The server says that nothing else happened up to ``version``."""
        self._advance(version)

    def _advance(self, version: str) -> bool | None:
        """Whether ``version`` is newer than all that is known; None when that cannot be told, and it is
        believed then."""
        store = self.store
        newest = store.version
        # Of as many digits and greater, as nearly always: what is_at_least says, at half its cost.
        if len(version) == len(newest) and version > newest and version.isdecimal() and version.isascii():
            store.version = version
            return True
        if version == newest:
            return None
        # Only a whole list may go back (a server restored from a backup); an event is just late then.
        is_news = is_at_least(version, newest)
        if is_news is not False:
            store.version = version
        return is_news


def _is_older(item: Object, known: Object) -> bool:
    return is_at_least(item.metadata.resource_version, known.metadata.resource_version) is False


def _same(old: Object, new: Object) -> bool:
    return old.metadata.resource_version == new.metadata.resource_version and _same_uid(old, new)


def _same_uid(one: Object, other: Object) -> bool:
    return one.metadata.uid == other.metadata.uid


def _difference(before: _Content[T], after: _Content[T]) -> Iterator[Delta[T]]:
    """Deletions first, of a namesake with another uid as well."""
    for old in before:
        new = after.get(*key_of(old))
        if new is None or not _same_uid(new, old):
            yield Delta(old, None)
    for new in after:
        known = before.get(*key_of(new)) if before.size else None
        if known is not new:
            yield Delta(known if known is not None and _same_uid(known, new) else None, new)


class _Content(Generic[T]):
    """The maps that change together. No table over all keys: it would cost 150 bytes an object."""

    __slots__ = ("indexes", "nowhere", "rows", "size", "spaces")

    def __init__(self, indexes: Indexes[T]) -> None:
        self.indexes = indexes
        self.size = 0
        self.spaces: dict[str, dict[str, T]] = {}
        self.rows: dict[str, _Rows] = {name: {} for name in indexes.names}
        self.nowhere: Sequence[Values] = [()] * len(indexes.names)
        """The values of an object that is not there."""

    def __iter__(self) -> Iterator[T]:
        return itertools.chain.from_iterable(map(dict.values, self.spaces.values()))

    def get(self, namespace: str, name: str) -> T | None:
        space = self.spaces.get(namespace)
        return None if space is None else space.get(name)

    def by_index(self, index: str, value: Hashable) -> list[T]:
        row = self.rows[index].get(value, ())
        keys = [row] if isinstance(row, tuple) and row else [*row]
        return [self.spaces[namespace][name] for namespace, name in keys]

    def put(self, item: T) -> None:
        namespace, name = key = key_of(item)
        space = self.spaces.get(namespace)
        old = None if space is None else space.get(name)
        if self.rows:
            self.index(old, item, key)
        if space is None:
            space = self.spaces[namespace] = {}
        space[name] = item
        self.size += old is None

    def remove(self, namespace: str, name: str) -> None:
        old = self.get(namespace, name)
        if old is None:
            return
        for rows, values in zip(self.rows.values(), self.indexes.values(old), strict=True):
            for value in values:
                _leave(rows, value, (namespace, name))
        space = self.spaces[namespace]
        del space[name]
        if not space:
            del self.spaces[namespace]
        self.size -= 1

    def index(self, old: T | None, new: T, key: Key) -> None:
        """``new`` is found under its own values, and no longer under those of ``old``."""
        if old is not None and self.indexes.alike(old, new):
            return
        # Computed before anything is touched: an index function that raises leaves all as it was.
        after = self.indexes.values(new)
        before = self.nowhere if old is None else self.indexes.values(old)
        for rows, gone, come in zip(self.rows.values(), before, after, strict=True):
            if gone != come:
                for value in gone:
                    _leave(rows, value, key)
                for value in come:
                    row = rows.setdefault(value, key)
                    if row is not key:
                        _enter(rows, value, row, key)


_Rows = dict[Hashable, Key | dict[Key, None]]
"""The keys by value: a key alone is not worth a dict, which would be a tenth of an object's memory."""


def _enter(rows: _Rows, value: Hashable, row: Key | dict[Key, None], key: Key) -> None:
    """Beside those that are there."""
    if isinstance(row, dict):
        row[key] = None
    elif row != key:
        rows[value] = {row: None, key: None}


def _leave(rows: _Rows, value: Hashable, key: Key) -> None:
    row = rows.get(value)
    if isinstance(row, dict):
        row.pop(key, None)
        if row:
            return
    # A value that a function gave twice has left already.
    rows.pop(value, None)
