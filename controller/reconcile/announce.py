"""Events on backups, from what plans say."""

from __future__ import annotations

from controller.api import cached
from controller.kube.eventcore import ObjectRef
from controller.kube.events import EventRecorder
from controller.plan import kinds
from controller.plan.changes import EmitEvent


class Announcer:
    """Says on the backup itself what ``kubectl describe`` is to show."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def announce(self, backup: cached.Neo4jBackup, event: EmitEvent) -> None:
        """Fire and forget."""
        kind = kinds.BACKUPS
        ref = ObjectRef(
            kind.api_version, kind.kind, backup.name, backup.namespace, backup.uid, backup.resource_version
        )
        self._recorder.event(ref, event.type, event.reason, event.message, event.action)
