"""The system database of one server: the catalogue, kept on disk, and who may log in.

Guarantee: survives restarts; a newer catalogue of a peer replaces an older one, never the reverse.
Non-guarantee: two servers that change the catalogue while they cannot see each other are not reconciled.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.topology import Catalogue, Topology, catalogue_from_json


def write_json(path: Path, value: Json) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(value), encoding="utf-8")
    os.replace(partial, path)


class CatalogueFile:
    """Read without a lock (the value is immutable), changed under one."""

    def __init__(self, path: Path, topology: Topology) -> None:
        self._path = path
        self._topology = topology
        self._lock = threading.Lock()
        self.current = self._load()

    def _load(self) -> Catalogue:
        if not self._path.exists():
            return self._topology.catalogue
        return self._parse(json.loads(self._path.read_text(encoding="utf-8")))

    def _parse(self, value: Json) -> Catalogue:
        return catalogue_from_json(value, self._topology.servers, self._topology.name)

    def change(self, update: Callable[[Catalogue], Catalogue]) -> Catalogue:
        with self._lock:
            self._keep(update(self.current))
            return self.current

    def adopt(self, value: Json) -> None:
        with self._lock:
            offered = self._parse(value)
            if offered.version > self.current.version:
                self._keep(offered)

    def _keep(self, catalogue: Catalogue) -> None:
        write_json(self._path, catalogue.to_json())
        self.current = catalogue


class Accounts:
    """``/data/dbms/auth.ini``: the password of ``neo4j``, set once, as the image does."""

    def __init__(self, data: Path, enabled: bool) -> None:
        self._path = data / "dbms" / "auth.ini"
        self.enabled = enabled

    def set_initial(self, user: str, password: str) -> None:
        if not self._path.exists():
            write_json(self._path, {user: _hash(password)})

    def accepts(self, user: str, password: str) -> bool:
        if not self.enabled:
            return True
        if not self._path.exists():
            return (user, password) == ("neo4j", "neo4j")
        known: Json = json.loads(self._path.read_text(encoding="utf-8"))
        return bool(known.get(user) == _hash(password))


def _hash(password: str) -> str:
    return hashlib.sha256(b"neo4j-sim:" + password.encode()).hexdigest()
