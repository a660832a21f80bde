"""How backups are found without their names, and which of their changes are news.

Guarantee: total for every object that decodes, however wrong its spec is otherwise. Nothing here loads
the models of a spec, which holding a cache does not take.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable

import msgspec

from controller.api.objects import Neo4jBackup
from controller.resources import names

UID = "uid"
TARGET_NAMESPACE = "target-namespace"
CLAIM = "claim"


class _Place(msgspec.Struct, frozen=True):
    namespace: str | None = None
    name: str | None = None


class _Storage(msgspec.Struct, frozen=True):
    type: str = ""
    pvc: _Place | None = None


class _Outline(msgspec.Struct, frozen=True):
    target: _Place = _Place()
    storage: _Storage = _Storage()


_OUTLINE = msgspec.json.Decoder(_Outline)


def asked(backup: Neo4jBackup) -> tuple[object, ...]:
    """What a user changes; the status is ours."""
    return backup.uid, backup.generation, backup.annotations, backup.is_deleting, backup.finalizers


def target_namespace_of(backup: Neo4jBackup) -> str:
    """The namespace of the target."""
    return _outline(backup).target.namespace or backup.namespace


def claim_of(backup: Neo4jBackup) -> str:
    """The claim that the backups go to; empty for other storage."""
    storage = _outline(backup).storage
    if storage.pvc is None:
        return ""
    return storage.pvc.name or names.claim(backup.name)


def _outline(backup: Neo4jBackup) -> _Outline:
    """Where a spec points to, even when it is otherwise invalid."""
    try:
        return _OUTLINE.decode(backup.spec)
    except msgspec.MsgspecError:
        return _Outline()


def _uid(backup: Neo4jBackup) -> tuple[str, ...]:
    return (backup.uid,)


def _target_namespace(backup: Neo4jBackup) -> tuple[str, ...]:
    return (target_namespace_of(backup),)


def _claim(backup: Neo4jBackup) -> tuple[tuple[str, str], ...]:
    name = claim_of(backup)
    return ((backup.namespace, name),) if name else ()


OF_BACKUPS: dict[str, Callable[[Neo4jBackup], Iterable[Hashable]]] = {
    UID: _uid,
    TARGET_NAMESPACE: _target_namespace,
    CLAIM: _claim,
}
