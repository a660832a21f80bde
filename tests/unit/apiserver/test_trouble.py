"""What a contract suite cannot ask of a real server: forgetting on demand, faults, tokens that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from hack.devcluster.cluster import DevCluster
from hack.devcluster.errors import ApiStatus
from hack.devcluster.faults import Fault
from hack.devcluster.identity import Tokens
from hack.devcluster.registry import Registry
from tests.contract.api import Api, Json, connected

pytestmark = pytest.mark.asyncio

MAPS = "/api/v1/namespaces/default/configmaps"


def _map(name: str) -> Json:
    return {"metadata": {"name": name}}


@asynccontextmanager
async def _bare(directory: Path, history: int = 5000) -> AsyncIterator[tuple[DevCluster, Api]]:
    """An API server alone."""
    async with (
        DevCluster(directory, run_pods=False, history=history) as cluster,
        connected(cluster.kubeconfig) as api,
    ):
        yield cluster, api


async def test_a_continue_token_expires_with_the_history(tmp_path: Path) -> None:
    async with _bare(tmp_path) as (cluster, api):
        for name in ("a", "b", "c"):
            await api.create(MAPS, _map(name))
        page = await api.get(MAPS, limit="1")
        await api.create(MAPS, _map("d"))
        cluster.registry.store.compact()
        answer = await api.request("GET", MAPS, limit="1", **{"continue": page["metadata"]["continue"]})
        assert (answer.status, answer.reason) == (410, "Expired")


async def test_a_watch_that_falls_behind_is_told(tmp_path: Path) -> None:
    async with _bare(tmp_path, history=3) as (_, api):
        version = (await api.get(MAPS))["metadata"]["resourceVersion"]
        for number in range(5):
            await api.create(MAPS, _map(f"m{number}"))
        async with api.watch(MAPS, resourceVersion=version) as events:
            event = await anext(events)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == (
            "ERROR",
            410,
            "Expired",
        )


async def test_a_refusal_comes_as_often_as_asked(tmp_path: Path) -> None:
    async with _bare(tmp_path) as (cluster, api):
        fault = Fault(
            method="GET", path=MAPS, status=429, reason="TooManyRequests", retry_after_seconds=1, times=2
        )
        cluster.faults.add(fault)
        answers = [await api.request("GET", MAPS) for _ in range(3)]
        assert [answer.status for answer in answers] == [429, 429, 200]
        assert answers[0].headers["Retry-After"] == "1"
        assert fault.fired == 2


async def test_an_answer_gets_lost_but_the_work_is_done(tmp_path: Path) -> None:
    async with _bare(tmp_path) as (cluster, api):
        cluster.faults.add(Fault(method="POST", lose_answer=True))
        with pytest.raises(aiohttp.ClientError):
            await api.create(MAPS, _map("a"))
        assert (await api.get(f"{MAPS}/a"))["metadata"]["name"] == "a"


async def test_a_watch_is_cut_in_the_middle_of_a_line(tmp_path: Path) -> None:
    async with _bare(tmp_path) as (cluster, api):
        await api.create(MAPS, _map("a"))
        cluster.faults.add(Fault(watch_only=True, cut_after_bytes=25))
        async with api.session.get(f"{api.server}{MAPS}?watch=1", headers=api.headers) as response:
            assert len(await response.content.readexactly(25)) == 25
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()


async def test_nothing_is_left_when_a_cluster_ends(tmp_path: Path) -> None:
    before = len(asyncio.all_tasks())
    async with DevCluster(tmp_path) as cluster:
        server = cluster.server
        async with connected(cluster.kubeconfig) as api:
            nodes = await api.get("/api/v1/nodes")
            assert [node["metadata"]["name"] for node in nodes["items"]] == ["devcluster"]
    assert len(asyncio.all_tasks()) == before
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection(
            server.rpartition("//")[2].partition(":")[0], int(server.rpartition(":")[2])
        )


async def test_a_failure_inside_is_raised_as_it_is(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as failure:
        async with DevCluster(tmp_path, run_pods=False):
            raise RuntimeError("inside")
    assert failure.group_contains(RuntimeError, match="inside")


class _Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def _is_refused(tokens: Tokens, token: str) -> bool:
    try:
        tokens.user(token)
    except ApiStatus as error:
        return error.code == 401
    return False


async def test_a_token_ends_with_its_time_its_account_or_by_revocation() -> None:
    clock = _Clock()
    registry = Registry(now=clock)
    tokens = Tokens(registry, clock)
    short = tokens.mint("default", "default", timedelta(minutes=10))
    long = tokens.mint("default", "default")
    assert tokens.user(short).name == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in tokens.user(short).groups
    clock.now += timedelta(minutes=11)
    assert _is_refused(tokens, short)
    assert not _is_refused(tokens, long)
    registry.delete(("", "serviceaccounts"), "default", "default")
    registry.create(("", "serviceaccounts"), {"metadata": {"name": "default", "namespace": "default"}})
    assert _is_refused(tokens, long)
    fresh = tokens.mint("default", "default")
    tokens.revoke("default", "default")
    assert _is_refused(tokens, fresh)
