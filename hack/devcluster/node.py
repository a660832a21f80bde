"""The node: runs the pods that are bound to it as local processes, and serves exec and logs of them.

Guarantee: what the kubelet promises and an operator relies on: volumes at their paths, init containers in
order, restarts, probes, exit codes, termination messages, grace periods, and a truthful pod status.
Non-guarantee: no isolation of network, users, memory or CPU; a container sees the host's programs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, TaskGroup

from hack.devcluster.addresses import AddressPool, cluster_names, hosts_file, write_in_place
from hack.devcluster.container_state import ContainerState
from hack.devcluster.containers import ENV_MODE, Isolation, StartError, detect
from hack.devcluster.errors import ApiStatus
from hack.devcluster.following import follow
from hack.devcluster.images import ImageCatalog
from hack.devcluster.logs import LogOptions
from hack.devcluster.objects import Obj, is_deleting, timestamp
from hack.devcluster.pods import Host, PodWorker
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import (
    NODES,
    PODS,
    SERVICES,
    is_finished,
    name_of,
    namespace_of,
    now,
    uid_of,
)

__all__ = ["ApiAccess", "LogOptions", "Node", "NodeError", "Process"]


class NodeError(Exception):
    """A request that the kubelet would answer with ``status`` and ``message``."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ApiAccess(Protocol):
    """What a pod needs in order to talk to the API server, read when the pod starts."""

    host: str
    port: int
    ca_pem: str

    def token(self, namespace: str, service_account: str) -> str: ...


class Process(Protocol):
    """A process in a container, started by :meth:`Node.exec`; ``aclose`` kills it if it still runs."""

    stdin: ByteSendStream | None
    """``aclose`` is the half-close; absent when ``stdin`` was not asked for."""
    stdout: ByteReceiveStream
    stderr: ByteReceiveStream | None
    """Absent with ``tty``."""

    async def wait(self) -> int: ...

    def resize(self, columns: int, rows: int) -> None: ...

    async def aclose(self) -> None: ...


class Node:
    """One kubelet. ``run`` until cancelled; everything it started is gone when ``run`` has returned."""

    def __init__(
        self,
        registry: Registry,
        images: ImageCatalog,
        api: ApiAccess,
        directory: Path,
        name: str = "devcluster",
    ) -> None:
        self.isolation = Isolation.OFF
        self._registry = registry
        self._images = images
        self._api = api
        self._directory = directory
        self._name = name
        self._workers: dict[str, PodWorker] = {}
        self._scopes: dict[str, anyio.CancelScope] = {}
        self._addresses: AddressPool | None = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run pods. ``started`` is called when the node is registered and takes pods."""
        self.isolation = await detect(os.environ.get(ENV_MODE, ""))
        self._addresses = AddressPool()
        try:
            self._register()
            async with anyio.create_task_group() as group:
                group.start_soon(self._follow_services)
                task_status.started()
                await self._follow_pods(group)
        finally:
            self._addresses.close()
            shutil.rmtree(self._directory / "pods", ignore_errors=True)

    def _register(self) -> None:
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastTransitionTime": timestamp(now()),
        }
        node = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self._name, "labels": {"kubernetes.io/hostname": self._name}},
            "spec": {},
        }
        status = {"conditions": [ready], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]}
        try:
            known = self._registry.get(NODES, "", self._name)
        except ApiStatus:
            known = self._registry.create(NODES, node)
        self._registry.update_status(NODES, known | {"status": status})

    async def _follow_pods(self, group: TaskGroup) -> None:
        async for kind, pod in follow(self._registry, PODS):
            self._observe(group, kind, pod)

    def _observe(self, group: TaskGroup, kind: str, pod: Obj) -> None:
        worker = self._workers.get(uid_of(pod))
        if kind == "DELETED":
            if worker is not None:
                self._scopes[uid_of(pod)].cancel()
        elif is_deleting(pod):
            self._end(pod, worker)
        elif worker is None and pod["spec"].get("nodeName") == self._name and not is_finished(pod):
            group.start_soon(self._run_pod, self._admit(pod))
        self._refresh_hosts()

    def _end(self, pod: Obj, worker: PodWorker | None) -> None:
        grace = pod["metadata"].get("deletionGracePeriodSeconds") or 0
        if worker is not None:
            worker.stop(float(grace))
        elif grace:  # bound to a node that is no more, or to this one before it began: nothing runs
            self._confirm_end(pod)

    def _confirm_end(self, pod: Obj) -> None:
        try:
            self._registry.delete(PODS, namespace_of(pod), name_of(pod), uid=uid_of(pod), grace_seconds=0)
        except ApiStatus:
            return

    def _admit(self, pod: Obj) -> str:
        assert self._addresses is not None
        uid = uid_of(pod)
        host = Host(
            self._registry,
            self._images,
            self.isolation,
            self._api,
            self._directory / "volumes",
            (self._api.host, self._api.port),
            self._name,
        )
        self._workers[uid] = PodWorker(host, pod, self._addresses.take(), self._directory / "pods" / uid)
        self._scopes[uid] = anyio.CancelScope()
        return uid

    async def _run_pod(self, uid: str) -> None:
        assert self._addresses is not None
        worker = self._workers[uid]
        try:
            with self._scopes[uid]:
                await worker.run()
        finally:
            del self._workers[uid], self._scopes[uid]
            self._addresses.give_back(worker.address)

    async def _follow_services(self) -> None:
        async for _ in follow(self._registry, SERVICES):
            self._refresh_hosts()

    def _refresh_hosts(self) -> None:
        names = cluster_names(self._registry.list(PODS)[0], self._registry.list(SERVICES)[0])
        for worker in self._workers.values():
            text = hosts_file(worker.pod, worker.address, self._api.host, names)
            if text != worker.hosts_text:
                worker.hosts_text = text
                write_in_place(worker.hosts, text)

    def _state(self, pod: Obj, container: str) -> ContainerState:
        worker = self._workers.get(uid_of(pod))
        state = worker.find(container) if worker is not None else None
        if state is None:
            raise NodeError(404, f"container {container} not found in pod {name_of(pod)}_{namespace_of(pod)}")
        return state

    async def exec(self, pod: Obj, container: str, command: list[str], tty: bool, stdin: bool) -> Process:
        """Start ``command`` in the running container. Raises NodeError when it does not run."""
        with _as_node_errors(container):
            state = self._state(pod, container)
            if state.container is None or not state.is_running:
                raise NodeError(500, f'unable to upgrade connection: container not found ("{container}")')
            return await state.container.exec(command, stdin=stdin, tty=tty)

    async def log(self, pod: Obj, container: str, options: LogOptions) -> AsyncIterator[bytes]:
        """The container's output in chunks. Raises NodeError(400) while there is none to show."""
        state = self._state(pod, container)
        log = state.previous_log if options.previous else state.log
        if log is None:
            raise NodeError(400, _why_no_log(pod, state, options.previous))
        async for chunk in log.read(options):
            yield chunk


def _why_no_log(pod: Obj, state: ContainerState, previous: bool) -> str:
    where = f'container "{state.name}" in pod "{name_of(pod)}"'
    if previous:
        return f"previous terminated {where} not found"
    return f"{where} is waiting to start: {state.state.get('waiting', {}).get('reason', 'ContainerCreating')}"


@contextmanager
def _as_node_errors(container: str) -> Iterator[None]:
    try:
        yield
    except StartError as error:
        raise NodeError(500, f'failed to exec in container "{container}": {error}') from None
