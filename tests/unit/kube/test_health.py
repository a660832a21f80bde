"""The health endpoints."""

from __future__ import annotations

import aiohttp
import anyio
import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter

from controller.kube.health import Health, LoopLag, failing, serve_health
from tests.unit.kube.virtual import virtual


async def get(port: int, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}") as response,
    ):
        return response.status, await response.text()


@pytest.mark.asyncio
async def test_checks_are_named_and_their_reasons_withheld() -> None:
    health = Health(liveness={"loop": lambda: None}, readiness={"caches": lambda: "secret reason"})
    async with serve_health(health, port=0, host="127.0.0.1") as port:
        assert await get(port, "/healthz") == (200, "[+]loop\nhealthz check passed\n")
        assert await get(port, "/readyz") == (503, "[-]caches\nreadyz check failed\n")
        health.readiness["caches"] = lambda: None
        assert (await get(port, "/readyz"))[0] == 200


@pytest.mark.asyncio
async def test_a_reason_is_logged_once_however_often_it_is_asked_for() -> None:
    health = Health(readiness={"caches": lambda: "not synced: pods, jobs"})
    async with serve_health(health, port=0, host="127.0.0.1") as port:
        with structlog.testing.capture_logs() as logged:
            await get(port, "/readyz")
            await get(port, "/readyz")
            health.readiness["caches"] = lambda: "not synced: jobs"
            await get(port, "/readyz")
            health.readiness["caches"] = lambda: None
            await get(port, "/readyz")
            await get(port, "/readyz")
    told = [(entry["event"], entry.get("reason")) for entry in logged]
    assert told == [
        ("check failed", "not synced: pods, jobs"),
        ("check failed", "not synced: jobs"),
        ("check passed again", None),
    ]


@pytest.mark.asyncio
async def test_metrics_are_served_from_the_registry() -> None:
    registry = CollectorRegistry()
    Counter("backups", "Backups.", registry=registry).inc(3)
    async with serve_health(Health(), port=0, host="127.0.0.1", registry=registry) as port:
        code, text = await get(port, "/metrics")
    assert code == 200
    assert "backups_total 3.0" in text


def test_a_check_that_raises_fails() -> None:
    def broken() -> str | None:
        raise RuntimeError("boom")

    assert list(failing({"broken": broken, "fine": lambda: None})) == ["broken"]


@virtual
async def test_a_loop_that_hangs_is_noticed() -> None:
    lag = LoopLag()
    async with anyio.create_task_group() as group:
        group.start_soon(lag.run)
        await anyio.sleep(5.0)
        assert lag.check() is None
        group.cancel_scope.cancel()
    lag.seconds = 6.0
    assert "late" in (lag.check() or "")
