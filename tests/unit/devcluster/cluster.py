"""A registry with a node or with controllers, for tests."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from hack.devcluster.containers import ENV_MODE, Isolation, detect
from hack.devcluster.images import ImageCatalog, LocalImage
from hack.devcluster.logs import LogOptions
from hack.devcluster.node import Node
from hack.devcluster.objects import GroupResource, Obj
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import NODES, PODS

NAMESPACE = "default"
_detected: list[Isolation] = []


class Api:
    """What the node hands to pods, with nothing behind it."""

    host = "127.0.0.1"
    port = 6443
    ca_pem = "the-ca"

    def token(self, namespace: str, service_account: str) -> str:
        return f"token-of-{namespace}-{service_account}"


def shell(script: str, **more: Any) -> Obj:
    """A container that runs ``script``."""
    return {"name": "main", "image": "any", "command": ["sh", "-c", script], **more}


def pod_spec(*containers: Obj, **more: Any) -> Obj:
    return {"containers": list(containers), "terminationGracePeriodSeconds": 1, **more}


def a_pod(name: str, *containers: Obj, labels: Mapping[str, str] | None = None, **spec: Any) -> Obj:
    metadata = {"name": name, "namespace": NAMESPACE, "labels": dict(labels or {})}
    on_node = {"nodeName": "devcluster", "restartPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": pod_spec(*containers, **(on_node | spec)),
    }


async def force(isolation: Isolation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use ``isolation``; skip the test, saying so, where this kernel refuses it."""
    if not _detected:
        _detected.append(await detect())
    if isolation is not Isolation.OFF and _detected[0] is Isolation.OFF:
        pytest.skip("this kernel refuses mount namespaces here")
    monkeypatch.setenv(ENV_MODE, isolation.value)


@asynccontextmanager
async def running_node(
    directory: Path, image: LocalImage | None = None
) -> AsyncIterator[tuple[Registry, Node]]:
    registry, images = Registry(), ImageCatalog()
    images.add("any*", image or LocalImage())
    node = Node(registry, images, Api(), directory)
    async with anyio.create_task_group() as group:
        await group.start(node.run)
        try:
            yield registry, node
        finally:
            group.cancel_scope.cancel()


async def eventually(check: Callable[[], bool], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for is the world's state, whoever changes it
            await anyio.sleep(0.01)


def pod(registry: Registry, name: str) -> Obj:
    return registry.get(PODS, NAMESPACE, name)


def container_status(registry: Registry, name: str) -> Obj:
    statuses: list[Obj] = pod(registry, name).get("status", {}).get("containerStatuses") or [{}]
    return statuses[0]


async def finished(registry: Registry, name: str) -> Obj:
    """The pod, once it is over."""
    await eventually(lambda: pod(registry, name).get("status", {}).get("phase") in ("Succeeded", "Failed"))
    return pod(registry, name)


async def running(registry: Registry, name: str) -> Obj:
    await eventually(lambda: "running" in container_status(registry, name).get("state", {}))
    return pod(registry, name)


async def log_of(node: Node, of: Obj, container: str = "main", **options: Any) -> str:
    chunks = [chunk async for chunk in node.log(of, container, LogOptions(**options))]
    return b"".join(chunks).decode()


def messages(registry: Registry, reason: str) -> list[str]:
    """What the Events of that reason say."""
    return [event["message"] for event in registry.list(("", "events"))[0] if event["reason"] == reason]


def with_node(registry: Registry, **labels: str) -> None:
    registry.create(
        NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "devcluster", "labels": labels}}
    )


def set_status(registry: Registry, resource: GroupResource, name: str, status: Obj) -> None:
    obj = registry.get(resource, NAMESPACE, name)
    registry.update_status(resource, obj | {"status": obj.get("status", {}) | status})


def make_ready(registry: Registry, name: str) -> None:
    """Say of a pod what the node would say."""
    at = "2026-01-01T00:00:00Z"
    condition = {"type": "Ready", "status": "True", "lastTransitionTime": at}
    set_status(registry, PODS, name, {"phase": "Running", "conditions": [condition]})


def processes_with(marker: str) -> list[int]:
    """Processes of this host that carry ``marker`` on their command line."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if marker.encode() in Path("/proc", name, "cmdline").read_bytes():
                found.append(int(name))
        except OSError:
            continue
    return found
