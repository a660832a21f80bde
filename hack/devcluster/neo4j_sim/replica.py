"""One database on one server: open, grow, follow.

Guarantee: while it is open, the directory is locked against offline tools; content only ever grows; a
database that was dropped and made again under the same name does not inherit the old content.
Non-guarantee: diverged copies are not detected; the order of servers decides who is right.
"""

from __future__ import annotations

import fcntl
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from hack.devcluster.neo4j_sim import store
from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.store import EPOCH_MS, Frame, Store
from hack.devcluster.neo4j_sim.topology import DatabaseEntry, stable_id


class Replica:
    """``entry`` changes when the catalogue does; the owner assigns it."""

    def __init__(self, entry: DatabaseEntry, databases: Path) -> None:
        self.entry = entry
        self.store = Store(databases / entry.name)
        self._lock = threading.Lock()
        self._lock_file: BinaryIO | None = None

    @property
    def is_open(self) -> bool:
        return self._lock_file is not None

    @property
    def was_restored(self) -> bool:
        """An offline restore put the store in place: it becomes a database with a new id."""
        return self.store.exists() and bool(self.store.meta().get("restored"))

    def open(self, create_content: bool) -> None:
        """``create_content``: this server starts the database's life, or knows the same beginning."""
        if self.was_restored:
            self.store.write_meta({**self.store.meta(), "id": self.entry.id, "restored": False})
        if self.store.exists() and self.store.meta()["id"] != self.entry.id:
            shutil.rmtree(self.store.directory)
        if not self.store.exists():
            self._create(create_content)
        self.store.recover()
        self._hold()

    def _create(self, with_content: bool) -> None:
        # Filled aside and renamed, so that a restart in the middle does not leave half a beginning.
        aside = Store(self.store.directory.with_name(f"{self.entry.name}.creating"))
        shutil.rmtree(aside.directory, ignore_errors=True)
        store_id = stable_id(f"store/{self.entry.id}").replace("-", "")[:16]
        aside.create({"id": self.entry.id, "storeId": store_id, "seed": self.entry.name, "restored": False})
        if with_content:
            aside.append(self._beginning())
        aside.directory.rename(self.store.directory)

    def _beginning(self) -> Iterator[Frame]:
        entry = self.entry
        size = entry.store_bytes // entry.initial_tx
        for tx in range(1, entry.initial_tx + 1):
            yield Frame(tx, EPOCH_MS + tx * 1000, store.payload(entry.name, tx, size))

    def _hold(self) -> None:
        self._lock_file = (self.store.directory / "database_lock").open("wb")
        fcntl.flock(self._lock_file, fcntl.LOCK_EX)

    def close(self) -> None:
        if self._lock_file:
            self._lock_file.close()
            self._lock_file = None

    def drop(self) -> None:
        self.close()
        shutil.rmtree(self.store.directory, ignore_errors=True)

    def last_tx(self) -> int:
        return self.store.last_tx() if self.is_open else 0

    def oldest_log_tx(self) -> int:
        retained = self.entry.retain_tx
        return max(1, self.last_tx() - retained + 1) if retained else 1

    def commit(self, statement: str = "", size: int = 0) -> int:
        """Only on the writer. The number of the new transaction."""
        with self._lock:
            tx = self.store.last_tx() + 1
            seed = str(self.store.meta()["seed"])
            content = store.payload(seed, tx, size or self.entry.tx_bytes, statement)
            self.store.append([Frame(tx, int(time.time() * 1000), content)])
            return tx

    def apply(self, frames: Iterable[Frame]) -> None:
        """What the writer committed, in order; repeats are skipped."""
        with self._lock:
            last = self.store.last_tx()
            self.store.append(frame for frame in frames if frame.tx > last)

    def status(self) -> Json:
        return {
            "id": self.entry.id,
            "open": self.is_open,
            "lastTx": self.last_tx(),
            "storeId": self.store.meta()["storeId"] if self.is_open else "",
        }
