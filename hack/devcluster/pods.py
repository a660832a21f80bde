"""One pod on the node: from its volumes to its last process.

Guarantee: init containers one after the other, then all containers; the status says what is true; on deletion
SIGTERM, the grace period, SIGKILL, and only then the object goes away.
Non-guarantee: no preStop hooks and no native sidecars (init containers that keep running).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio

from hack.devcluster import events
from hack.devcluster.addresses import host_name
from hack.devcluster.container_loop import ContainerLoop
from hack.devcluster.container_state import ContainerState
from hack.devcluster.containers import Container, Isolation, Mount
from hack.devcluster.environment import PodFacts, resolve
from hack.devcluster.errors import ApiStatus
from hack.devcluster.images import ImageCatalog, LocalImage
from hack.devcluster.objects import Obj, timestamp
from hack.devcluster.pod_status import pod_status
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import PODS, name_of, namespace_of, now, status_of, uid_of
from hack.devcluster.volumes import CachedTokens, TokenSource, VolumeError, VolumeMaker

_RETRY_SECONDS, _REFRESH_SECONDS, _KILL_SECONDS = 0.3, 5.0, 5.0
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_CREDENTIALS: Obj = {
    "name": "kube-api-access",
    "projected": {
        "sources": [
            {"serviceAccountToken": {"path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                }
            },
        ]
    },
}


@dataclass(frozen=True, slots=True)
class Host:
    """What the node gives every pod."""

    registry: Registry
    images: ImageCatalog
    isolation: Isolation
    tokens: TokenSource
    claims: Path
    api_address: tuple[str, int]
    node_name: str


class PodWorker:
    """Drives one pod; one task runs :meth:`run`."""

    def __init__(self, host: Host, pod: Obj, address: str, directory: Path) -> None:
        self.address = address
        self.hosts = directory / "hosts"
        self.hosts_text = ""
        self.pod = pod
        self._host = host
        self._directory = directory
        self._spec: Obj = pod["spec"]
        self._volumes: dict[str, Path] = {}
        self._tokens = CachedTokens(host.tokens)
        self._started_at = timestamp(now())
        self._stop = anyio.Event()
        self._grace: float = 0
        self._patience_scope: anyio.CancelScope | None = None
        self.init_states = [self._state(each) for each in self._spec.get("initContainers") or []]
        self.states = [self._state(each) for each in self._spec["containers"]]
        directory.mkdir(parents=True, exist_ok=True)

    def _state(self, container: Obj) -> ContainerState:
        return ContainerState(container["name"], container["image"], uid_of(self.pod))

    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def find(self, container: str) -> ContainerState | None:
        return next((each for each in [*self.states, *self.init_states] if each.name == container), None)

    def stop(self, grace_seconds: float) -> None:
        """End the pod; asked again with a shorter grace period, the shorter one counts."""
        self._grace = grace_seconds
        self._stop.set()
        if self._patience_scope is not None:
            sooner = anyio.current_time() + grace_seconds
            self._patience_scope.deadline = min(self._patience_scope.deadline, sooner)

    async def run(self) -> None:
        """Returns when nothing of the pod is left, its object included."""
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._live)
                await self._stop.wait()
                await self._end_containers()
                group.cancel_scope.cancel()
            self._finish()
        finally:
            shutil.rmtree(self._directory, ignore_errors=True)

    async def _end_containers(self) -> None:
        for state, container in self._alive():
            self.event("Normal", "Killing", f"Stopping container {state.name}")
            container.stop()
        with anyio.CancelScope() as patience:
            self._patience_scope = patience
            patience.deadline = anyio.current_time() + self._grace
            await self._all_gone()
        for _, container in self._alive():
            container.kill()
        with anyio.move_on_after(_KILL_SECONDS):
            await self._all_gone()

    def _alive(self) -> list[tuple[ContainerState, Container]]:
        states = [*self.init_states, *self.states]
        return [(each, each.container) for each in states if each.container is not None]

    async def _all_gone(self) -> None:
        for state, _ in self._alive():
            await state.gone.wait()

    def _finish(self) -> None:
        self.publish()
        try:
            self._host.registry.delete(
                PODS, namespace_of(self.pod), name_of(self.pod), uid=uid_of(self.pod), grace_seconds=0
            )
        except ApiStatus:  # deleted by force meanwhile
            return

    async def _live(self) -> None:
        for state in self.states if self.init_states else []:
            state.wait("PodInitializing")
        self.publish()
        await self._mount()
        async with anyio.create_task_group() as group:
            group.start_soon(self._refresh)
            if await self._initialize():
                await self._run_all()
            group.cancel_scope.cancel()
        self.publish()

    async def _mount(self) -> None:
        while not self.is_stopping():
            try:
                self._make_volumes()
                return
            except VolumeError as error:
                self.event("Warning", "FailedMount", str(error))
            await anyio.sleep(_RETRY_SECONDS)

    def _make_volumes(self) -> None:
        maker = VolumeMaker(
            self._host.registry, self._facts(), self._tokens, self._directory / "volumes", self._host.claims
        )
        volumes = [*(self._spec.get("volumes") or []), *([_CREDENTIALS] if self._wants_credentials() else [])]
        for volume in volumes:
            self._volumes[volume["name"]] = maker.make(volume)

    async def _refresh(self) -> None:
        """Changed Secrets and ConfigMaps reach running containers, as they do with the kubelet."""
        while True:
            await anyio.sleep(_REFRESH_SECONDS)
            try:
                self._make_volumes()
            except VolumeError:  # what is there stays there
                continue

    def _wants_credentials(self) -> bool:
        return self._spec.get("automountServiceAccountToken") is not False

    async def _initialize(self) -> bool:
        """Whether every init container succeeded."""
        policy = self._spec.get("restartPolicy", "Always")
        for spec, state in zip(self._spec.get("initContainers") or [], self.init_states, strict=True):
            code = await self._loop(spec, state).run(
                lambda code: code != 0 and policy != "Never", self._patience()
            )
            if code != 0:
                return False
        return not self.is_stopping()

    async def _run_all(self) -> None:
        for state in self.states:
            state.wait("ContainerCreating")
        async with anyio.create_task_group() as group:
            for spec, state in zip(self._spec["containers"], self.states, strict=True):
                group.start_soon(self._loop(spec, state).run, self._should_restart, self._patience())

    def _should_restart(self, code: int) -> bool:
        policy = self._spec.get("restartPolicy", "Always")
        return policy == "Always" or (policy == "OnFailure" and code != 0)

    def _patience(self) -> float:
        return float(self._spec.get("terminationGracePeriodSeconds", 30))

    def _loop(self, spec: Obj, state: ContainerState) -> ContainerLoop:
        directory = self._directory / "containers" / state.name
        return ContainerLoop(spec, state, self, self._host.images, self._host.isolation, directory)

    def environment(self, container: Obj, image: LocalImage) -> dict[str, str]:
        host, port = self._host.api_address
        base = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/tmp",
            **image.env,
            "HOSTNAME": host_name(self.pod),
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": str(port),
            "KUBERNETES_SERVICE_PORT_HTTPS": str(port),
            "DEVCLUSTER_POD_IP": self.address,
        }
        return resolve(self._host.registry, self._facts(), container, base)

    def mounts(self, container: Obj) -> list[Mount]:
        mounts = [self._mounted(each) for each in container.get("volumeMounts") or []]
        if self._wants_credentials() and all(each.target != SERVICE_ACCOUNT for each in mounts):
            mounts.append(Mount(SERVICE_ACCOUNT, self._volumes[_CREDENTIALS["name"]], writable=False))
        return [Mount("/etc/hosts", self.hosts), *mounts]

    def _mounted(self, mount: Obj) -> Mount:
        source = self._volumes[mount["name"]]
        if mount.get("subPath"):
            source = source / mount["subPath"]
            if not source.exists():
                source.mkdir(parents=True)
                source.chmod(0o777)
        return Mount(mount["mountPath"].rstrip("/"), source.resolve(), not self._is_read_only(mount))

    def _is_read_only(self, mount: Obj) -> bool:
        volume = next(each for each in self._spec["volumes"] if each["name"] == mount["name"])
        kinds = ("secret", "configMap", "downwardAPI", "projected")
        return bool(mount.get("readOnly")) or any(kind in volume for kind in kinds)

    def _facts(self) -> PodFacts:
        return PodFacts(self._current() or self.pod, self.address, self._host.node_name)

    def _current(self) -> Obj | None:
        try:
            pod = self._host.registry.get(PODS, namespace_of(self.pod), name_of(self.pod))
        except ApiStatus:
            return None
        return pod if uid_of(pod) == uid_of(self.pod) else None

    def event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        events.record(self._host.registry, self.pod, kind, reason, message)

    def publish(self) -> None:
        """Write the status, when it says something new."""
        pod = self._current()
        if pod is None:
            return
        placed = {"hostIP": "127.0.0.1", "podIP": self.address, "podIPs": [{"ip": self.address}]}
        fresh = pod_status(pod, self.init_states, self.states) | placed | {"startTime": self._started_at}
        if fresh != status_of(pod):
            self._host.registry.update_status(PODS, pod | {"status": fresh})
