"""The whole program as a process: it starts, leads, reconciles, hands over, and stops when told."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process

from controller.kube.resource import LEASES
from tests.unit.reconcile.bench import NAMESPACE, Bench, a_bench, until_async

COMMAND = [sys.executable, "-m", "controller", "operator", "--image", "operator:1", "--port", "0"]
COMMAND += ["--host", "127.0.0.1", "--lease-namespace", NAMESPACE]


@asynccontextmanager
async def a_replica(bench: Bench, name: str) -> AsyncIterator[Process]:
    """One process of the operator, gone when the block ends."""
    log = bench.cluster.directory / f"{name}.log"
    environment = {**os.environ, "KUBECONFIG": str(bench.cluster.kubeconfig), "POD_NAME": name}
    with log.open("wb") as sink:
        process = await anyio.open_process(COMMAND, env=environment, stdout=sink, stderr=sink)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


def lines(bench: Bench, name: str) -> list[dict[str, Any]]:
    text = (bench.cluster.directory / f"{name}.log").read_text()
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def holder(bench: Bench) -> str:
    for lease in await bench.client.list(LEASES, NAMESPACE):
        return str(lease["spec"].get("holderIdentity") or "").partition("_")[0]
    return ""


async def holds(bench: Bench, name: str) -> bool:
    return await holder(bench) == name


async def has_phase(bench: Bench, backup: str, phase: str) -> bool:
    return (await bench.status(backup)).get("phase") == phase


@pytest.mark.asyncio
async def test_it_leads_reconciles_and_hands_over_when_it_is_told_to_stop(tmp_path: Path) -> None:
    async with a_bench(tmp_path) as bench, a_replica(bench, "one") as first:
        await until_async(lambda: holds(bench, "one"), seconds=60)
        await bench.backup("early")
        await until_async(lambda: has_phase(bench, "early", "Pending"))
        async with a_replica(bench, "two"):
            await until_async(lambda: is_standby(bench, "two"), seconds=60)
            first.send_signal(signal.SIGTERM)
            assert await first.wait() == 0
            await until_async(lambda: holds(bench, "two"), seconds=60)
            await bench.backup("late")
            await until_async(lambda: has_phase(bench, "late", "Pending"))
        stops = [line["part"] for line in lines(bench, "one") if line["event"] == "stopping"]
        assert stops == ["leader", "caches", "events", "http"]


async def is_standby(bench: Bench, name: str) -> bool:
    return any(line.get("part") == "leader" for line in lines(bench, name))


@pytest.mark.asyncio
async def test_without_a_control_plane_it_says_so_and_ends(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    environment |= {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": ""}
    result = await anyio.run_process(COMMAND, env=environment, check=False)
    assert result.returncode == 2
    assert b"KUBECONFIG" in result.stderr
