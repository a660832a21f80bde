"""Deletion: finalizers, grace, propagation; and when a generation counts on.

Guarantee: an object with finalizers stays, marked, until the write that removes the last one; a bound pod
stays until its node says that it is gone; a namespace stays until its content is.
Non-guarantee: dependents are deleted by the garbage collector and content by the namespace controller,
which see the finalizers that are set here.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from hack.devcluster.kinds import Kind
from hack.devcluster.objects import GroupResource, Obj, copy, dig, is_deleting, timestamp

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
CRD_FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_POLICY_FINALIZERS = {"Foreground": FOREGROUND, "Orphan": ORPHAN}
_ORPHANING: frozenset[GroupResource] = frozenset({("batch", "jobs")})
"""Deleting these without a word about propagation leaves their pods behind, as in real clusters."""


def deleting(kind: Kind, old: Obj, now: datetime, propagation: str | None, grace_seconds: int | None) -> Obj:
    """``old`` as the request to delete it leaves it."""
    new: Obj = copy(old)
    metadata = new["metadata"]
    finalizers = _finalizers(kind, metadata.get("finalizers") or [], propagation)
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)
    grace = _grace(kind, old, grace_seconds)
    if not is_deleting(old):
        metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
        if kind.has_generation:
            metadata["generation"] = metadata.get("generation", 0) + 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = timestamp(now + timedelta(seconds=grace))
        metadata["deletionGracePeriodSeconds"] = grace
    if kind.gr == ("", "namespaces"):
        new.setdefault("status", {})["phase"] = "Terminating"
    return new


def _finalizers(kind: Kind, before: list[str], propagation: str | None) -> list[str]:
    if propagation is None:
        if FOREGROUND in before or ORPHAN in before:
            return before
        propagation = "Orphan" if kind.gr in _ORPHANING else "Background"
    rest = [name for name in before if name not in (FOREGROUND, ORPHAN)]
    wanted = _POLICY_FINALIZERS.get(propagation)
    return [*rest, wanted] if wanted else rest


def _grace(kind: Kind, old: Obj, asked: int | None) -> int:
    if kind.gr != ("", "pods"):
        return 0
    runs = dig(old, "spec", "nodeName") and dig(old, "status", "phase") not in ("Succeeded", "Failed")
    if not runs:
        return 0
    return int(dig(old, "spec", "terminationGracePeriodSeconds", default=30) if asked is None else asked)


def is_gone(kind: Kind, obj: Obj) -> bool:
    metadata = obj["metadata"]
    if not is_deleting(obj) or metadata.get("finalizers"):
        return False
    if kind.gr == ("", "namespaces") and dig(obj, "spec", "finalizers"):
        return False
    return not metadata.get("deletionGracePeriodSeconds")


def needs_generation(kind: Kind, old: Obj, new: Obj) -> bool:
    if not kind.has_generation:
        return False
    aside = {"metadata", "apiVersion", "kind"} | (
        {"status"} if "status" in kind.storage.subresources else set()
    )
    return _without(old, aside) != _without(new, aside)


def _without(obj: Obj, names: set[str]) -> Obj:
    return {name: value for name, value in obj.items() if name not in names}


def without_finalizer(obj: Obj, name: str) -> Obj:
    rest = [each for each in obj["metadata"].get("finalizers") or [] if each != name]
    return {**obj, "metadata": {**obj["metadata"], "finalizers": rest}}
