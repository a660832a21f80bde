"""Leader election on a Lease: the driver of :mod:`controller.kube.lease`.

Guarantee: ``lead`` runs only while this process holds the lease and its last renewal was sent less than
the renew deadline ago; then its scope is cancelled at once, without a drain, and :class:`LeaseLost` is
raised, after which the process must exit. A process that slept through that moment, with its event loop
blocked or as a whole, learns it from :meth:`LeaderElector.seconds_left`, which is the fence of the client
that ``lead`` writes with. The lease is released only after ``lead`` has ended; a candidate that can watch
takes it then at once. Lease requests use a client of their own, so a hung or throttled request elsewhere
cannot cost the lease.

Non-guarantee: a clock that stops with the process (a paused machine whose monotonic clock does not go on)
hides the pause from the fence. Resource versions, uids and deterministic names are what is left then.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import anyio
import structlog

from controller.kube import chance, metrics
from controller.kube.client import Client
from controller.kube.config import ClusterConfig
from controller.kube.errors import AlreadyExists, Conflict, KubeError, NotFound
from controller.kube.lease import (
    RETRY_JITTER,
    LeaseTimes,
    Observed,
    Record,
    Wait,
    decide,
    observe,
    released,
)
from controller.kube.leasewatch import LeaseWatch
from controller.kube.resource import LEASES
from controller.kube.versions import is_at_least

RELEASE_SECONDS = 5.0
WATCHDOG_TOLERANCE_SECONDS = 5.0

log = structlog.get_logger(__name__)


class LeaseLost(KubeError):
    """Another process leads, or nobody knows: this one must end."""


class LeaderElector:
    """One candidate. ``identity`` must be unique for every process, not only for every pod."""

    def __init__(
        self,
        config: ClusterConfig,
        *,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes | None = None,
        jitter: chance.Jitter = chance.jitter,
    ) -> None:
        if not identity:
            raise ValueError("a candidate needs an identity: the empty one means that nobody holds the lease")
        self.times = times or LeaseTimes()
        self.identity = identity
        self._namespace, self._name, self._jitter = namespace, name, jitter
        self._client = Client(config, timeout=max(1.0, self.times.renew_deadline / 2))
        self._watch = LeaseWatch(self._client.transport, namespace, name, jitter)
        self._bell = anyio.Event()
        """Set when there is reason to try at once."""
        self._seen: Observed | None = None
        self._lease: dict[str, Any] | None = None
        """The Lease as last read or written, while its version can still be the newest."""
        self._highest = -1
        """The highest term seen: a lease that somebody deletes must not start the count again."""
        self._renewed = float("-inf")
        self._lost: str | None = None
        self.leading = False

    @property
    def holder(self) -> str:
        """Who held the lease when we last looked; empty for nobody."""
        return self._seen.record.holder if self._seen else ""

    @property
    def term(self) -> int:
        """Grows with every change of the holder; receivers of commands refuse a lower one."""
        return self._seen.record.transitions if self._seen else 0

    def seconds_left(self) -> float:
        """For how long we lead for certain, even if no renewal succeeds; a fence (``Client(fence=…)``)."""
        return self._renewed + self.times.renew_deadline - anyio.current_time() if self.leading else 0.0

    def check(self) -> str | None:
        """A liveness check: what is wrong when we believe that we lead but stopped renewing."""
        silence = anyio.current_time() - self._renewed
        if self.leading and silence > self.times.duration + WATCHDOG_TOLERANCE_SECONDS:
            return f"leading without having renewed for {silence:.0f} s"
        return None

    async def run(self, lead: Callable[[int], Awaitable[None]], stop: anyio.Event) -> None:
        """Wait for the lease, then run ``lead(term)``; return when it returns, or on ``stop`` before.

        ``lead`` must look at ``stop`` itself: while it finishes its work the lease is still renewed.
        """
        async with self._client:
            if not await self._acquire(stop):
                return
            try:
                await self._hold(lead)
            finally:
                self._note_leading(False)
                if self._lost is None:
                    await self._release()
            if self._lost is not None:
                raise LeaseLost(self._lost)

    async def _acquire(self, stop: anyio.Event) -> bool:
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch.run, self._heard)
            group.start_soon(self._ring_on, stop)
            acquired = await self._campaign(stop)
            group.cancel_scope.cancel()
        if acquired:
            self._note_leading(True)
            log.info("leading", lease=self._name, identity=self.identity, term=self.term)
        return acquired

    async def _campaign(self, stop: anyio.Event) -> bool:
        while not stop.is_set():
            self._bell = anyio.Event()
            if await self._attempt():
                return True
            with anyio.move_on_after(self._patience()):
                await self._bell.wait()
        return False

    def _patience(self) -> float:
        """Until the next look: a jittered while, or the moment when the lease runs out, if that is sooner."""
        poll = self.times.retry * (1.0 + RETRY_JITTER * self._jitter())
        verdict = decide(self.identity, self._seen, anyio.current_time(), "", self.times)
        return min(poll, verdict.seconds) if isinstance(verdict, Wait) else poll

    async def _ring_on(self, stop: anyio.Event) -> None:
        await stop.wait()
        self._bell.set()

    def _heard(self, lease: dict[str, Any] | None) -> None:
        """What the watch tells. It is never written over: that is only done with what was just read."""
        if lease is None:
            self._bell.set()
            return
        version, known = _version(lease), _version(self._lease or {})
        if is_at_least(version, known) is False:
            return
        self._note(lease)
        if not self.holder:
            self._bell.set()

    async def _hold(self, lead: Callable[[int], Awaitable[None]]) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._renew, group.cancel_scope)
            await lead(self.term)
            group.cancel_scope.cancel()

    async def _renew(self, leading: anyio.CancelScope) -> None:
        """Renew until the lease is lost, then cancel ``leading``."""
        while self._lost is None:
            deadline = self._renewed + self.times.renew_deadline
            await anyio.sleep_until(min(anyio.current_time() + self.times.retry, deadline))
            renewed = False
            # Measured from the last renewal, not from this round: a request that hangs cannot add to it.
            # After it not even an attempt: cancelling one does not call back what was sent.
            if anyio.current_time() < deadline:
                with anyio.CancelScope(deadline=deadline):
                    renewed = await self._attempt()
            if renewed:
                continue
            if self.holder not in ("", self.identity):
                self._lost = f"{self.holder} took the lease {self._name}"
            elif anyio.current_time() >= deadline:
                self._lost = f"the lease {self._name} could not be renewed in time"
        log.error("lost the lease", reason=self._lost)
        self._note_leading(False)
        leading.cancel()

    async def _attempt(self) -> bool:
        """One round; True when the lease is ours as of now."""
        try:
            if not (self._lease is not None and self.leading):
                await self._look()
            return await self._write_if_possible()
        except (Conflict, AlreadyExists, NotFound):
            # Somebody else wrote first, or deleted it: the next round looks before it writes.
            self._lease = None
        except KubeError as error:
            self._lease = None
            log.warning("lease request failed", lease=self._name, error=str(error))
        if not self.leading:
            return False
        return await self._look_again()

    async def _look_again(self) -> bool:
        """After a failed renewal: read, and write if it is still ours."""
        try:
            await self._look()
            return await self._write_if_possible()
        except KubeError:
            self._lease = None
            return False

    async def _look(self) -> None:
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except NotFound:
            self._lease = self._seen = None
            return
        self._note(lease)

    def _note(self, lease: dict[str, Any]) -> None:
        self._lease = lease
        record = Record.from_spec(lease.get("spec") or {})
        self._seen = observe(self._seen, record, anyio.current_time())
        self._highest = max(self._highest, record.transitions)

    async def _write_if_possible(self) -> bool:
        sent = anyio.current_time()
        seen = self._seen if self._lease is not None else None
        verdict = decide(self.identity, seen, sent, _stamp(), self.times)
        if isinstance(verdict, Wait):
            return False
        if self.leading and verdict.taking and seen is not None:
            # Somebody emptied or took our lease. Taking it back would hide that another one led.
            return False
        await self._write(verdict.record)
        self._renewed = sent
        return True

    async def _write(self, record: Record) -> None:
        if self._lease is None:
            record = replace(record, transitions=self._highest + (0 if self.leading else 1))
            metadata = {"name": self._name, "namespace": self._namespace}
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": LEASES.kind,
                "metadata": metadata,
                "spec": record.to_spec(),
            }
            self._note(await self._client.create(LEASES, lease))
        else:
            spec = {**(self._lease.get("spec") or {}), **record.to_spec()}
            self._note(await self._client.replace(LEASES, {**self._lease, "spec": spec}))

    async def _release(self) -> None:
        with anyio.move_on_after(RELEASE_SECONDS, shield=True):
            for _ in range(3):
                try:
                    await self._look()
                    if self._seen is None or self._seen.record.holder != self.identity:
                        return
                    await self._write(released(self._seen.record, _stamp()))
                    log.info("released the lease", lease=self._name)
                    return
                except KubeError as error:
                    log.warning("could not release the lease", lease=self._name, error=str(error))
                    await anyio.sleep(self.times.retry / 10)

    def _note_leading(self, leading: bool) -> None:
        self.leading = leading
        metrics.LEADING.labels(self._name).set(1 if leading else 0)


def _version(lease: dict[str, Any]) -> str:
    return str(lease.get("metadata", {}).get("resourceVersion") or "")


def _stamp() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
