"""Reconcile one Neo4jBackup: observe, plan, act.

Guarantee: level-triggered and stateless but for one thing, the version of our own last status write:
a cache that does not have it yet is waited for, so that nothing is said or decided twice from the past.

Non-guarantee: a key is safe to reconcile at any time, not in any number of processes at once; the
lease sees to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeAlias

import structlog

from controller.api.objects import Neo4jBackup
from controller.kube.client import Client
from controller.kube.controller import Done
from controller.kube.errors import Conflict, NotFound
from controller.kube.versions import is_at_least
from controller.plan.observed import Observed, Settings
from controller.plan.plan import Plan, plan
from controller.reconcile.act import Actor, Denied, Stale
from controller.reconcile.announce import Announcer
from controller.reconcile.caches import Caches
from controller.reconcile.observe import observe
from controller.reconcile.statuses import write_status

Key: TypeAlias = tuple[str, str]

SOON_SECONDS = 0.3
RESYNC_SECONDS = 3600.0
"""Heals what no event tells of: a status that was wiped, an event that was lost."""
PATIENCE = 200
"""How often a cache that lacks our own write is waited for before we go on without it."""

log = structlog.get_logger(__name__)


class BackupReconciler:
    """``await reconciler(key)`` is what the workers call."""

    def __init__(
        self,
        client: Client,
        caches: Caches,
        announcer: Announcer,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self._client, self._caches, self._settings, self._clock = client, caches, settings, clock
        self._announcer, self._actor = announcer, Actor(client, announcer)
        self._written: dict[Key, tuple[str, str, int]] = {}
        """The uid, the version of our last status write, and how often the cache was behind it."""

    async def __call__(self, key: Key) -> Done:
        """One round for one backup."""
        backup = self._caches.backups.get(*key)
        if backup is None:
            self._written.pop(key, None)
            return Done()
        if self._is_behind(backup):
            return Done(requeue_after=SOON_SECONDS)
        try:
            return await self._round(backup)
        except (Stale, Conflict) as error:
            log.debug("looking again", why=str(error))
            return Done(requeue_after=SOON_SECONDS)

    async def _round(self, backup: Neo4jBackup) -> Done:
        observed = await observe(backup, self._caches, self._client, self._settings)
        planned = plan(observed, self._clock())
        try:
            await self._actor.carry_out(backup, planned.changes)
        except Denied as denied:
            log.warning("denied", reason=denied.cause.reason, why=denied.cause.message)
            planned = plan(replace(observed, denied=denied.cause), self._clock())
        await self._conclude(observed, planned)
        return Done(requeue_after=min(planned.requeue_after or RESYNC_SECONDS, RESYNC_SECONDS))

    async def _conclude(self, observed: Observed, planned: Plan) -> None:
        if planned.status is None:
            return
        backup = observed.backup
        try:
            version = await write_status(self._client, backup, observed.status, planned.status)
        except NotFound:
            return
        if version is None:
            return
        self._written[backup.namespace, backup.name] = (backup.uid, version, 0)
        log.info("status", rule=planned.rule, phase=planned.status.phase, why=planned.reason)
        for event in planned.announcements:
            self._announcer.announce(backup, event)

    def _is_behind(self, backup: Neo4jBackup) -> bool:
        key = (backup.namespace, backup.name)
        uid, version, waited = self._written.get(key, ("", "", 0))
        caught_up = is_at_least(backup.resource_version, version) is not False
        if uid != backup.uid or caught_up or waited >= PATIENCE:
            self._written.pop(key, None)
            return False
        self._written[key] = (uid, version, waited + 1)
        return True
