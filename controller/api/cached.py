"""A Neo4jBackup as the operator's cache holds it: thousands of them, of which a few change often.

Guarantee: frozen for its readers: ``spec`` and ``status`` are the texts that the API server sent, to the
byte, whatever form they have meanwhile. Of a list all are packed at once (:mod:`controller.api.packed`);
those that changed last stay as they are, up to :data:`LOOSE_BYTES` for all of them, because what changed is
read next, and changes again.

Non-guarantee: packing and unpacking show in the time that reading takes.
"""

from __future__ import annotations

import sys
from collections import OrderedDict

import msgspec
from msgspec import Raw

from controller.api import packed
from controller.api.objects import Entity, Identity, Slim

_set = msgspec.structs.force_setattr

LOOSE_BYTES = 4 * 1024**2
RUN_NOW_ANNOTATION = "backup.neo4j.com/run-now"
"""Any new value asks for one more run, scheduled or not."""

_PACKED = b""
"""What stands in the place of a status that is packed with its spec. It is no JSON text."""


class BackupAnnotations(Slim, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The one that is looked at: kubectl alone keeps a second copy of the spec in another."""

    run_now: str = msgspec.field(default="", name=RUN_NOW_ANNOTATION)


class BackupMeta(Identity, frozen=True, gc=False, kw_only=True, rename="camel"):
    """Of the metadata of a Neo4jBackup, of which there are most, what is looked at."""

    annotations: BackupAnnotations | None = None


class Neo4jBackup(Entity, frozen=True, gc=False, kw_only=True, rename="camel"):
    """The custom resource; ``backup.parse_spec`` and ``status.parse_status`` read the two parts.

    They stay text because one object with a bad spec must not stop the list that it is part of.
    """

    metadata: BackupMeta = msgspec.field(default_factory=BackupMeta)
    # Packed, the first has both.
    kept_spec: Raw = msgspec.field(default=Raw(b"{}"), name="spec")
    kept_status: Raw = msgspec.field(default=Raw(b"{}"), name="status")

    @staticmethod
    def keeper() -> Keeper:
        """See :class:`controller.kube.objects.Kept`."""
        return Keeper()

    @property
    def is_packed(self) -> bool:
        """Whether the texts have to be unpacked to be read."""
        return len(self.kept_status) == 0

    @property
    def spec(self) -> bytes:
        """JSON text."""
        kept = bytes(self.kept_spec)
        return packed.unpack(kept)[0] if self.is_packed else kept

    @property
    def status(self) -> bytes:
        """JSON text."""
        return packed.unpack(bytes(self.kept_spec))[1] if self.is_packed else bytes(self.kept_status)

    def says_the_same(self, other: Neo4jBackup) -> bool:
        """Whether both texts are the same for certain, without reading what is packed."""
        return self.kept_spec == other.kept_spec and self.kept_status == other.kept_status

    @property
    def run_now(self) -> str:
        """The value of :data:`RUN_NOW_ANNOTATION`."""
        return self.metadata.annotations.run_now if self.metadata.annotations is not None else ""


class Keeper:
    """What one cache does to the backups that it keeps."""

    def __init__(self, limit: int = LOOSE_BYTES) -> None:
        self._limit = limit
        self._loose: OrderedDict[str, Neo4jBackup] = OrderedDict()
        """By uid, the one that is loose for longest first. One that is gone leaves like all others."""
        self.loose_bytes = 0

    def listed(self, item: Neo4jBackup, known: Neo4jBackup | None) -> None:
        """Packed, in the same bytes as ``known`` when that says the same."""
        _pack(item, bytes(known.kept_spec) if known is not None and known.is_packed else b"")

    def changed(self, item: Neo4jBackup, known: Neo4jBackup | None) -> None:
        """As it is for now, detached from what it came in."""
        spec, status, uid = bytes(item.kept_spec), bytes(item.kept_status), item.metadata.uid
        _set(item, "kept_spec", spec)
        _set(item, "kept_status", status)
        more, before = len(spec) + len(status), self._loose.get(uid)
        if before is not None:
            more -= len(before.kept_spec) + len(before.kept_status)
        self._loose[uid] = item
        self.loose_bytes = loose_bytes = self.loose_bytes + more
        if loose_bytes > self._limit:
            self._pack_oldest()

    def _pack_oldest(self) -> None:
        while self.loose_bytes > self._limit:
            _, oldest = self._loose.popitem(last=False)
            self.loose_bytes -= len(oldest.kept_spec) + len(oldest.kept_status)
            _pack(oldest)


def _pack(item: Neo4jBackup, before: bytes = b"") -> None:
    _set(item, "kept_spec", packed.pack(item.kept_spec, item.kept_status, before))
    _set(item, "kept_status", _PACKED)
    # One string for all objects of a namespace, not one for each.
    _set(item.metadata, "namespace", sys.intern(item.metadata.namespace))
