"""The storage of a run: the embedded control plane's registry without what costs most and matters least here.

Guarantee: versions, conflicts, generations, finalizers, preconditions, status apart from the rest, and
server-side apply are the registry's own. Non-guarantee: schemas are not validated, nothing is defaulted or
pruned, and only who applied is remembered as an owner of fields.
"""

from __future__ import annotations

from typing import Any

from hack.devcluster import metadata
from hack.devcluster.errors import invalid
from hack.devcluster.identity import User
from hack.devcluster.kinds import Kind
from hack.devcluster.objects import GroupResource, Obj, copy
from hack.devcluster.ownership import Ownership
from hack.devcluster.registry import Registry, WriteOptions

_TYPE = ("apiVersion", "kind")


class Storage(Registry):
    """See the module."""

    def _typed(self, kind: Kind, obj: Obj) -> Obj:
        new: Obj = {"apiVersion": kind.api_version(kind.storage.name), "kind": kind.kind}
        new |= {name: copy(value) for name, value in obj.items() if name not in _TYPE}
        new.setdefault("metadata", {})
        return new

    def _default(self, kind: Kind, new: Obj) -> None:
        """Who writes says all there is."""

    def _check(self, kind: Kind, new: Obj, old: Obj | None) -> None:
        causes = list(metadata.faults(new, kind, old)) if new["metadata"].get("finalizers") else []
        if causes:
            raise invalid(kind.kind, kind.group, new["metadata"].get("name", ""), causes)

    def _tracked(self, kind: Kind, old: Obj, new: Obj, options: WriteOptions, subresource: str) -> Ownership:
        return Ownership(old)


class Anybody:
    """Everybody may do everything; that is tried elsewhere."""

    def check_escalation(self, user: User, gr: GroupResource, obj: Obj) -> None: ...

    def require(self, user: User, action: Any) -> None: ...
