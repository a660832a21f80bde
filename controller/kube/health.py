"""``/healthz``, ``/readyz`` and ``/metrics`` over HTTP.

Guarantee: liveness and readiness are named checks, evaluated when asked. The answer names what failed
and withholds why; the reason is in the log. Liveness must not depend on the API server, on leadership or
on synced caches, or an outage of the control plane restarts everybody; that is up to who adds checks.

Non-guarantee: no TLS and no authentication; bind it where only the cluster looks.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import anyio
import anyio.to_thread
import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest

Check = Callable[[], str | None]
"""None, or what is wrong."""

Handler = Callable[[web.Request], Awaitable[web.Response]]

LAG_INTERVAL_SECONDS = 0.5
LAG_LIMIT_SECONDS = 5.0

log = structlog.get_logger(__name__)
LAG = Gauge("event_loop_lag_seconds", "How late the event loop woke the last time.")


@dataclass(slots=True)
class Health:
    """The checks of a program; parts add theirs while they start."""

    liveness: dict[str, Check] = field(default_factory=dict)
    readiness: dict[str, Check] = field(default_factory=dict)


class LoopLag:
    """Measures whether the event loop turns; as a check, whether it turned lately."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            before = anyio.current_time()
            await anyio.sleep(LAG_INTERVAL_SECONDS)
            self.seconds = max(0.0, anyio.current_time() - before - LAG_INTERVAL_SECONDS)
            LAG.set(self.seconds)

    def check(self) -> str | None:
        """For liveness."""
        return f"the event loop is {self.seconds:.1f} s late" if self.seconds > LAG_LIMIT_SECONDS else None


def failing(checks: Mapping[str, Check]) -> dict[str, str]:
    """The checks that fail, with their reasons; one that raises fails with what it raised."""
    reasons = {name: _reason(check) for name, check in checks.items()}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason(check: Check) -> str | None:
    try:
        return check()
    except Exception as error:
        return f"the check itself failed: {error!r}"


@contextlib.asynccontextmanager
async def serve_health(
    health: Health, *, port: int, host: str | None = None, registry: CollectorRegistry = REGISTRY
) -> AsyncIterator[int]:
    """Listen while the block runs; yields the port, which matters when 0 was asked for."""
    application = web.Application()
    application.router.add_get("/healthz", _handler("healthz", health.liveness))
    application.router.add_get("/readyz", _handler("readyz", health.readiness))
    application.router.add_get("/metrics", _metrics(registry))
    runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield runner.addresses[0][1]
    finally:
        with anyio.move_on_after(2.0, shield=True):
            await runner.cleanup()


def _handler(name: str, checks: Mapping[str, Check]) -> Handler:
    told: dict[str, str] = {}

    async def answer(_: web.Request) -> web.Response:
        nonlocal told
        failed = failing(checks)
        # A kubelet asks every few seconds: what it hears again is not logged again.
        for check, reason in failed.items() - told.items():
            log.warning("check failed", endpoint=name, check=check, reason=reason)
        for check in told.keys() - failed.keys():
            log.info("check passed again", endpoint=name, check=check)
        told = failed
        lines = [f"[{'-' if check in failed else '+'}]{check}" for check in checks]
        verdict = f"{name} check {'failed' if failed else 'passed'}"
        return web.Response(text="\n".join([*lines, verdict, ""]), status=503 if failed else 200)

    return answer


def _metrics(registry: CollectorRegistry) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        # Ten thousand series take 83 ms to print: not on the loop.
        body = await anyio.to_thread.run_sync(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    return answer
