"""How backups are found without their names, and which of their changes are news.

Guarantee: total for every object that decodes, however wrong its spec is otherwise. Nothing here loads
the models of a spec, which holding a cache does not take.
"""

from __future__ import annotations

import msgspec

from controller.api.cached import BackupMeta, Neo4jBackup
from controller.kube.store import Indexes, Values
from controller.resources import names

UID = "uid"
TARGET_NAMESPACE = "target-namespace"
CLAIM = "claim"


class _Place(msgspec.Struct, frozen=True, gc=False):
    namespace: str | None = None
    name: str | None = None


class _Storage(msgspec.Struct, frozen=True, gc=False):
    pvc: _Place | None = None


class _Outline(msgspec.Struct, frozen=True, gc=False):
    target: _Place = _Place()
    storage: _Storage = _Storage()

    def namespace(self, metadata: BackupMeta) -> str:
        return self.target.namespace or metadata.namespace

    def claim(self, metadata: BackupMeta) -> str:
        pvc = self.storage.pvc
        return "" if pvc is None else pvc.name or names.claim(metadata.name)


_OUTLINE = msgspec.json.Decoder(_Outline)


def is_asked_anew(old: Neo4jBackup, new: Neo4jBackup) -> bool:
    """Whether a user changed something; the status is ours."""
    before, after = old.metadata, new.metadata
    return (
        before.generation != after.generation
        or before.uid != after.uid
        or before.annotations != after.annotations
        or before.finalizers != after.finalizers
        or (before.deletion_timestamp is None) != (after.deletion_timestamp is None)
    )


def target_namespace_of(backup: Neo4jBackup) -> str:
    """The namespace of the target."""
    return _outline(backup).namespace(backup.metadata)


def claim_of(backup: Neo4jBackup) -> str:
    """The claim that the backups go to; empty for other storage."""
    return _outline(backup).claim(backup.metadata)


def _outline(backup: Neo4jBackup) -> _Outline:
    """Where a spec points to, even when it is otherwise invalid."""
    try:
        # The text itself where it is not packed yet, as in every list: a copy would cost as much as reading.
        return _OUTLINE.decode(backup.spec if backup.is_packed else backup.kept_spec)
    except msgspec.MsgspecError:
        return _Outline()


def _values(backup: Neo4jBackup) -> tuple[Values, Values, Values]:
    outline, metadata = _outline(backup), backup.metadata
    claim = outline.claim(metadata)
    return (
        (metadata.uid,),
        (outline.namespace(metadata),),
        ((metadata.namespace, claim),) if claim else (),
    )


def _alike(old: Neo4jBackup, new: Neo4jBackup) -> bool:
    before, after = old.metadata, new.metadata
    if before.uid != after.uid:
        return False
    # With a status subresource, which our CRD has, a spec never changes without its generation; so a status
    # that is written costs no look at two specs. Objects from before the first one have none.
    return 0 != before.generation == after.generation or old.says_the_same(new)


OF_BACKUPS: Indexes[Neo4jBackup] = Indexes((UID, TARGET_NAMESPACE, CLAIM), _values, _alike)
