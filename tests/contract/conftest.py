"""A custom resource type for the process, a namespace for every test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.contract.api import NAMESPACES, Api, Json, connected
from tests.contract.widgets import CRDS, definition
from tests.support.control_plane import ControlPlane


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.contract)


@pytest_asyncio.fixture
async def api(control_plane: ControlPlane) -> AsyncIterator[Api]:
    async with connected(control_plane.kubeconfig) as api:
        yield api


@pytest.fixture(scope="session")
def group(control_plane: ControlPlane) -> Iterator[str]:
    """The API group of this process's own Widgets."""
    name = f"w{secrets.token_hex(4)}.example.com"
    asyncio.run(_with_api(control_plane, lambda api: install(api, definition(name))))
    yield name
    asyncio.run(_with_api(control_plane, lambda api: api.request("DELETE", f"{CRDS}/widgets.{name}")))


async def _with_api(control_plane: ControlPlane, act: Callable[[Api], Awaitable[Any]]) -> None:
    async with connected(control_plane.kubeconfig) as api:
        await act(api)


async def install(api: Api, crd: Json) -> None:
    """Create a definition and wait until its type is served."""
    await api.create(CRDS, crd)
    name, group = crd["metadata"]["name"], crd["spec"]["group"]

    async def is_served() -> bool:
        stored = await api.get(f"{CRDS}/{name}")
        conditions = stored.get("status", {}).get("conditions") or []
        established = any(each["type"] == "Established" and each["status"] == "True" for each in conditions)
        return established and (await api.request("GET", f"/apis/{group}/v1/widgets")).status == 200

    await eventually(is_served, f"{name} is served")


async def eventually(look: Callable[[], Awaitable[bool]], what: str, seconds: float = 60) -> None:
    for _ in range(int(seconds / 0.1)):
        if await look():
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


@pytest_asyncio.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    name = f"contract-{secrets.token_hex(4)}"
    await api.create(NAMESPACES, {"metadata": {"name": name}})
    yield name
    await api.request("DELETE", f"{NAMESPACES}/{name}")


@pytest.fixture
def widgets(group: str, namespace: str) -> str:
    """The path of the Widgets in this test's namespace."""
    return f"/apis/{group}/v1/namespaces/{namespace}/widgets"


@pytest.fixture
def controllers(control_plane: ControlPlane) -> None:
    if not control_plane.runs_controllers:
        pytest.skip(f"the control plane '{control_plane.kind}' runs no controllers")


@pytest.fixture
def pods(control_plane: ControlPlane) -> None:
    if not control_plane.runs_pods:
        pytest.skip(f"the control plane '{control_plane.kind}' runs no pods")
