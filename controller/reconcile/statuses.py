"""Writing a status: only what differs, only over the version it was computed from.

Guarantee: no request when nothing differs; a field that is gone is removed, at any depth; somebody
else's newer write is never overwritten (Conflict). Non-guarantee: lists are replaced whole.
"""

from __future__ import annotations

from msgspec.structs import astuple

from controller.api.cached import Neo4jBackup
from controller.api.model import JsonObject
from controller.api.parts import as_json
from controller.api.status import BackupStatus
from controller.kube.client import Client
from controller.kube.objects import Written
from controller.plan import kinds

_NAMES = BackupStatus.__struct_encode_fields__
_NOTHING = (None, ())


async def write_status(
    client: Client, backup: Neo4jBackup, before: BackupStatus, after: BackupStatus
) -> str | None:
    """The new resource version, or None when there was nothing to write."""
    patch = changes(before, after)
    if not patch:
        return None
    body = {"metadata": {"resourceVersion": backup.resource_version}, "status": patch}
    written = await client.merge_patch(
        kinds.BACKUPS, backup.name, backup.namespace, body, subresource="status", as_=Written
    )
    return written.metadata.resource_version


def changes(before: BackupStatus, after: BackupStatus) -> JsonObject:
    """The merge patch that makes ``after`` of ``before``; empty when the API server would see no change."""
    # Only what differs is turned into JSON: a history of twenty runs costs more than the request.
    old: JsonObject = {}
    new: JsonObject = {}
    for name, was, now in zip(_NAMES, astuple(before), astuple(after), strict=True):
        if was is not now and was != now:
            if was not in _NOTHING:
                old[name] = was
            if now not in _NOTHING:
                new[name] = now
    return difference(*as_json((old, new))) if old or new else {}


def difference(before: JsonObject, after: JsonObject) -> JsonObject:
    """The merge patch (RFC 7386) that makes ``after`` of ``before``."""
    patch: JsonObject = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            inner = difference(old, value)
            if inner:
                patch[key] = inner
        elif key not in before or old != value:
            patch[key] = value
    return patch
