"""Reconcile one Neo4jBackup: observe, plan, act.

Guarantee: level-triggered and stateless but for one thing, what was written for a backup and its caches
do not show yet: that is waited for, so that nothing is said or decided twice from the past.

Non-guarantee: a key is safe to reconcile at any time, not in any number of processes at once; the
lease sees to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import anyio
import structlog

from controller.api.cached import Neo4jBackup
from controller.kube import metrics
from controller.kube.client import Client
from controller.kube.controller import Done
from controller.kube.errors import Conflict, NotFound
from controller.kube.ownwrites import OwnWrites, Place
from controller.kube.store import Key, key_of
from controller.plan import kinds
from controller.plan.observed import Observed, Settings
from controller.plan.plan import Plan, plan
from controller.reconcile.act import Actor, Denied, Stale
from controller.reconcile.announce import Announcer
from controller.reconcile.caches import Caches
from controller.reconcile.observe import observe
from controller.reconcile.statuses import write_status

SOON_SECONDS = 0.3
RESYNC_SECONDS = 3600.0
"""Heals what no event tells of: a status that was wiped, an event that was lost."""

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
        own: OwnWrites[Key],
    ) -> None:
        self._client, self._caches, self._settings, self._clock = client, caches, settings, clock
        self._announcer, self._actor, self._own = announcer, Actor(client, announcer, own), own

    async def __call__(self, key: Key) -> Done:
        """One round for one backup."""
        backup = self._caches.backups.get(*key)
        if backup is None:
            self._own.forget(key)
            return Done()
        sight = self._own.look(key, backup.uid, self._caches, anyio.current_time())
        if sight.lacking:
            log.debug("the caches are behind", lacking=sight.lacking)
            return Done(requeue_after=sight.again)
        if sight.given_up:
            metrics.OWN_WRITES_GIVEN_UP.labels(kinds.BACKUPS.plural).inc(sight.given_up)
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
        place, version = Place(kinds.BACKUPS, *key_of(backup)), None
        with self._own.writing(key_of(backup), backup.uid, place, anyio.current_time) as write:
            try:
                version = await write_status(self._client, backup, observed.status, planned.status)
            except NotFound:
                self._actor.learn_gone(backup)
                return
            write.version = version or ""
        if version is None:
            return
        log.info("status", rule=planned.rule, phase=planned.status.phase, why=planned.reason)
        for event in planned.announcements:
            self._announcer.announce(backup, event)
