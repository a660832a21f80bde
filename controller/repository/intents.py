"""Notes of what is about to be written or removed, so that a crash leaves nothing that nobody owns.

Guarantee: a key is noted before it is written, and before its manifest goes. :func:`sweep` deletes only
what a note names and no manifest does, so that nothing that a person or another backup put there is ever
touched; a note of a run is believed to be of a dead one only after ``GRACE``.

Non-guarantee: unfinished uploads are no objects; where the store cannot find them (GCS, and S3 without
keys of one's own), the bucket's lifecycle rule removes those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from threading import Lock

from controller.repository import layout
from controller.repository.catalogue import Catalogue
from controller.repository.errors import DamagedDocument, NotFound
from controller.repository.manifest import Intent, decode, encode
from controller.repository.store import Store, check_key, read_small

GRACE = timedelta(days=2)


class Intents:
    """The note of one run. Its methods block and may be called from several threads."""

    def __init__(self, store: Store, name: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._key = layout.intent(name)
        self._now = now
        self._keys: set[str] = set()
        self._lock = Lock()

    def add(self, *keys: str, removal: bool = False) -> None:
        """Note ``keys``; returns when the note is in the store."""
        with self._lock:
            self._keys.update(keys)
            note = Intent(created=self._now(), keys=tuple(sorted(self._keys)), removal=removal)
            self._store.put(self._key, [encode(note)])

    def settle(self, committed: Iterable[str]) -> None:
        """The run has its manifest; what is noted and not in it stays noted, to be swept."""
        with self._lock:
            self._keys -= set(committed)
            if not self._keys:
                self._store.delete(self._key)
        if self._keys:
            self.add()

    def undo(self) -> None:
        """Remove everything that was noted, and the note."""
        with self._lock:
            for key in sorted(self._keys):
                self._store.delete(key)
            self._store.delete(self._key)
            self._keys.clear()


def sweep(store: Store, catalogue: Catalogue, now: datetime) -> int:
    """Remove what dead runs and interrupted removals left behind; the number of notes worked off.

    ``catalogue`` must have been read after the notes could be seen, and be whole: a manifest that cannot
    be read may own any key.
    """
    if catalogue.problems:
        return 0
    owned = {artifact.key for run in catalogue.runs for artifact in run.artifacts}
    swept = 0
    for key in sorted(info.key for info in store.list(layout.INTENTS)):
        note = _read(store, key)
        if note is None or (not note.removal and note.created + GRACE > now):
            continue
        for leftover in note.keys:
            # Also where another pod of the same run wrote the key and committed it.
            store.abandon(check_key(leftover))
            if leftover not in owned:
                store.delete(check_key(leftover))
        store.delete(key)
        swept += 1
    return swept


def _read(store: Store, key: str) -> Intent | None:
    try:
        return decode(read_small(store, key), Intent, f"{store.location}/{key}")
    except (NotFound, DamagedDocument):
        # Gone since it was listed, or not ours to judge: a note that cannot be read removes nothing.
        return None
