"""Carry out a plan: the changes in order, then the status, then what is to be announced.

Guarantee: every change is safe to repeat. What is gone already, or there already and ours, is fine;
what is there and somebody else's is never touched. A step that restarts a database or starts a run is
taken only if what it was decided from is still the newest state of the server.

Non-guarantee: all or nothing. Whatever stops in between is planned again from what is then there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import anyio
import structlog

from controller.api import cached, objects
from controller.api.backup import FINALIZER
from controller.api.model import JsonObject
from controller.kube.client import Client
from controller.kube.errors import AlreadyExists, BadRequest, Conflict, Forbidden, Invalid, NotFound
from controller.kube.ownwrites import OwnWrites, Place, Write
from controller.kube.resource import Resource
from controller.kube.store import Key, key_of
from controller.plan import kinds
from controller.plan.causes import Cause
from controller.plan.changes import (
    Apply,
    Change,
    Create,
    Delete,
    EmitEvent,
    Patch,
    PatchSidecar,
    SetFinalizer,
)
from controller.plan.text import one_line
from controller.reconcile.announce import Announcer
from controller.resources.ownership import refusal
from controller.resources.sidecar import FIELD_MANAGER

log = structlog.get_logger(__name__)


class Denied(Exception):
    """The server will not have it; trying again at once would not help."""

    def __init__(self, cause: Cause) -> None:
        super().__init__(cause.message)
        self.cause = cause


class Stale(Exception):
    """Something was decided from a state that is not the newest: look again."""


class Actor:
    """Carries changes out for one backup after the other."""

    def __init__(self, client: Client, announcer: Announcer, own: OwnWrites[Key]) -> None:
        self._client, self._announcer, self._own = client, announcer, own

    async def carry_out(self, backup: cached.Neo4jBackup, changes: Sequence[Change]) -> None:
        """All of them, in order; raises Denied, Stale or what the connection raises."""
        if any(isinstance(change, Create) and change.resource != kinds.JOBS for change in changes):
            # What is made for a backup that is gone is collected at once, and would be made again and again
            # for as long as the watch is behind. Jobs are looked at one by one, right before they are made.
            await self._must_be_newest(backup)
        for change in changes:
            if not isinstance(change, EmitEvent):
                log.info("change", kind=type(change).__name__, why=change.why)
            try:
                await self._one(backup, change)
            except (Forbidden, Invalid, BadRequest) as error:
                told = one_line(f"{_attempted(change)}: {error.message}")
                raise Denied(Cause(error.reason or type(error).__name__, told)) from error

    def learn_gone(self, backup: cached.Neo4jBackup) -> None:
        """The server does not have the backup any more: nothing is done for it before the cache says so too.

        Else what is made for it, and collected at once, would be made again while the watch is behind.
        """
        place = Place(kinds.BACKUPS, *key_of(backup))
        self._own.deleted(key_of(backup), backup.uid, place, backup.uid, anyio.current_time())

    async def _one(self, backup: cached.Neo4jBackup, change: Change) -> None:
        match change:
            case Create():
                await self._create(backup, change)
            case Apply():
                await self._apply(backup, change.resource, change.document)
            case Patch():
                await self._patch(backup, change)
            case Delete():
                await self._delete(backup, change)
            case SetFinalizer():
                await self._finalizer(backup, change)
            case PatchSidecar():
                await self._sidecar(backup, change)
            case EmitEvent():
                self._announcer.announce(backup, change)

    async def _create(self, backup: cached.Neo4jBackup, change: Create) -> None:
        if change.resource == kinds.JOBS:
            await self._must_be_newest(backup)
        metadata = change.document["metadata"]
        place = Place(change.resource, metadata["namespace"], metadata["name"])
        try:
            with self._writing(backup, place) as write:
                write.version = version_of(await self._client.create(change.resource, change.document))
        except AlreadyExists:
            existing = await self._existing(change, metadata)
            if existing is None or change.resource == kinds.CLAIMS:
                return
            why = refusal(existing, backup)
            if why:
                raise Denied(Cause("NameTaken", f"{change.resource.kind} {why}")) from None

    async def _existing(self, change: Create, metadata: JsonObject) -> objects.Object | None:
        try:
            return await self._client.get(
                change.resource, metadata["name"], metadata["namespace"], as_=objects.Object
            )
        except NotFound:
            return None

    async def _must_be_newest(self, backup: cached.Neo4jBackup) -> None:
        try:
            newest = await self._client.get(
                kinds.BACKUPS, backup.name, backup.namespace, as_=cached.Neo4jBackup
            )
        except NotFound:
            self.learn_gone(backup)
            raise Stale("the backup is gone") from None
        if (newest.uid, newest.resource_version) != (backup.uid, backup.resource_version):
            raise Stale("the backup has changed")

    async def _apply(self, backup: cached.Neo4jBackup, resource: Resource, document: JsonObject) -> None:
        metadata = document["metadata"]
        with self._writing(backup, Place(resource, metadata["namespace"], metadata["name"])) as write:
            applied = await self._client.apply(resource, document, field_manager=FIELD_MANAGER)
            write.version = version_of(applied)

    async def _patch(self, backup: cached.Neo4jBackup, change: Patch) -> None:
        where = (change.resource, change.name, change.namespace)
        try:
            with self._writing(backup, Place(change.resource, change.namespace, change.name)) as write:
                write.version = version_of(await self._client.merge_patch(*where, change.patch))
        except NotFound:
            log.info("already gone", kind=change.resource.kind, name=change.name)

    async def _delete(self, backup: cached.Neo4jBackup, change: Delete) -> None:
        try:
            await self._client.delete(change.resource, change.name, change.namespace, uid=change.uid)
        except (NotFound, Conflict):
            # A conflict here is another object of that name: the one that was meant is gone.
            log.info("already gone", kind=change.resource.kind, name=change.name)
        place = Place(change.resource, change.namespace, change.name)
        self._own.deleted(key_of(backup), backup.uid, place, change.uid, anyio.current_time())

    async def _finalizer(self, backup: cached.Neo4jBackup, change: SetFinalizer) -> None:
        others = [name for name in backup.finalizers if name != FINALIZER]
        wanted = [*others, FINALIZER] if change.present else others
        # The test makes this a compare-and-set: a finalizer that somebody else just added is not lost.
        patch: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": backup.resource_version},
            {"op": "add", "path": "/metadata/finalizers", "value": wanted},
        ]
        try:
            with self._writing(backup, Place(kinds.BACKUPS, *key_of(backup))) as write:
                where = (kinds.BACKUPS, backup.name, backup.namespace)
                write.version = version_of(await self._client.json_patch(*where, patch))
        except NotFound:
            log.info("already gone", kind=kinds.BACKUPS.kind, name=backup.name)
        except (Invalid, Conflict) as error:
            raise Stale("the backup has changed") from error

    async def _sidecar(self, backup: cached.Neo4jBackup, change: PatchSidecar) -> None:
        newest = await self._client.get(
            kinds.STATEFUL_SETS, change.name, change.namespace, as_=objects.StatefulSet
        )
        if (newest.uid, newest.resource_version) != (change.uid, change.resource_version):
            raise Stale(f"StatefulSet {change.name} has changed")
        await self._apply(backup, kinds.STATEFUL_SETS, change.document)

    def _writing(self, backup: cached.Neo4jBackup, place: Place) -> contextlib.AbstractContextManager[Write]:
        return self._own.writing(key_of(backup), backup.uid, place, anyio.current_time)


def version_of(answer: JsonObject) -> str:
    """The version that a write made."""
    version: str = answer["metadata"]["resourceVersion"]
    return version


def _attempted(change: Change) -> str:
    match change:
        case Create() | Apply():
            return f"{change.resource.kind} {change.document['metadata']['name']} could not be written"
        case Patch() | Delete():
            return f"{change.resource.kind} {change.name} could not be changed"
        case PatchSidecar():
            return f"the sidecar could not be added to StatefulSet {change.name}"
        case _:
            return "the backup could not be changed"
