"""Run one container of a pod until it need not run again.

Guarantee: restart policy, back-off, probes, termination message and reasons are the kubelet's.
Non-guarantee: back-off is short (a fraction of a second, at most five) because nobody develops in minutes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import anyio

from hack.devcluster.container_state import ContainerState
from hack.devcluster.containers import Container, ContainerSpec, Isolation, Mount, StartError
from hack.devcluster.environment import ConfigError, command_line
from hack.devcluster.images import ImageCatalog, LocalImage
from hack.devcluster.logs import LogFile
from hack.devcluster.objects import Obj
from hack.devcluster.probes import Prober

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.25, 5.0
_RETRY = 0.3
_MESSAGE_LIMIT, _LOG_MESSAGE_LIMIT, _LOG_MESSAGE_LINES = 4096, 2048, 80


class PodView(Protocol):
    """What a container needs of its pod."""

    address: str

    def is_stopping(self) -> bool: ...

    def environment(self, container: Obj, image: LocalImage) -> dict[str, str]: ...

    def mounts(self, container: Obj) -> list[Mount]: ...

    def publish(self) -> None: ...

    def event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None: ...


@dataclass(slots=True)
class ContainerLoop:
    """Drives one container; ``directory`` is its own."""

    spec: Obj
    state: ContainerState
    pod: PodView
    images: ImageCatalog
    isolation: Isolation
    directory: Path

    async def run(self, should_restart: Callable[[int], bool], grace_seconds: float) -> int | None:
        """Returns the exit code of the last run; None when the pod stopped before there was one."""
        backoff = 0.0
        while not self.pod.is_stopping():
            prepared = self._prepared()
            if prepared is None:
                await anyio.sleep(_RETRY)
                continue
            code = await self._run_once(prepared, grace_seconds)
            if self.pod.is_stopping() or not should_restart(code):
                return code
            if backoff:
                self._say_backoff(backoff)
            await anyio.sleep(backoff)
            backoff = min(max(backoff * 2, _FIRST_BACKOFF), _LONGEST_BACKOFF)
            self.state.restarts += 1
        return self.state.exit_code

    def _say_backoff(self, seconds: float) -> None:
        message = f"back-off {seconds:g}s restarting failed container={self.spec['name']}"
        self.state.wait("CrashLoopBackOff", message)
        self.pod.event("Warning", "BackOff", f"Back-off restarting failed container {self.spec['name']}")
        self.pod.publish()

    def _prepared(self) -> ContainerSpec | None:
        """What to run now, or None when something is missing and the state says what."""
        image = self.images.find(self.spec["image"])
        if image is None:
            message = (
                f'Failed to pull image "{self.spec["image"]}": not found in the catalogue of local images'
            )
            self._wait("ErrImagePull", message, "Failed")
            return None
        try:
            return self._assembled(image)
        except ConfigError as error:
            self._wait("CreateContainerConfigError", str(error), "Failed")
            return None

    def _wait(self, reason: str, message: str, event: str) -> None:
        waiting = self.state.state.get("waiting") or {}
        if (waiting.get("reason"), waiting.get("message")) != (reason, message):
            self.state.wait(reason, message)
            self.pod.publish()
            self.pod.event("Warning", event, message if reason == "ErrImagePull" else f"Error: {message}")

    def _assembled(self, image: LocalImage) -> ContainerSpec:
        environment = self.pod.environment(self.spec, image)
        run = self.directory / str(self.state.restarts)
        shutil.rmtree(run, ignore_errors=True)
        (run / "root").mkdir(parents=True)
        mounts = [*self.pod.mounts(self.spec), self._message_mount(run)]
        return ContainerSpec(
            argv=command_line(self.spec, image.entrypoint, image.args, environment),
            root=run / "root",
            env=environment,
            mounts=[*_image_mounts(image, run, mounts), *mounts],
            working_dir=self.spec.get("workingDir") or image.working_dir,
            user=image.user,
            read_only_root=bool((self.spec.get("securityContext") or {}).get("readOnlyRootFilesystem")),
        )

    def _message_mount(self, run: Path) -> Mount:
        message = run / "termination-log"
        message.touch()
        message.chmod(0o666)
        return Mount(self.spec.get("terminationMessagePath") or "/dev/termination-log", message)

    async def _run_once(self, spec: ContainerSpec, grace_seconds: float) -> int:
        run = spec.root.parent
        log = LogFile(run / "log")
        container = Container(spec, self.isolation, log)
        self.state.run(container, log)
        try:
            code, reason = await self._watched(container, grace_seconds), ""
            message = self._message(run, log, code)
        except StartError as error:
            code, reason, message = 128, "StartError", str(error)
            self.pod.event("Warning", "Failed", f"Error: {error}")
        finally:
            log.close()
        self.state.end(code, message, reason)
        self.pod.publish()
        return code

    async def _watched(self, container: Container, grace_seconds: float) -> int:
        try:
            await container.start()
            self.state.begin()
            self.pod.event("Normal", "Started", f"Started container {self.spec['name']}")
            self.pod.publish()
            async with anyio.create_task_group() as group:
                group.start_soon(self._probe, container, grace_seconds)
                code = await container.wait()
                group.cancel_scope.cancel()
            return code
        finally:
            await container.close()

    async def _probe(self, container: Container, grace_seconds: float) -> None:
        prober = Prober(self.spec, container, self.pod.address, self.state, self.pod.publish, self._unhealthy)
        await prober.run()
        self.pod.event(
            "Normal", "Killing", f"Container {self.spec['name']} failed its probe, will be restarted"
        )
        container.stop()
        await anyio.sleep(grace_seconds)
        container.kill()

    def _unhealthy(self, probe: str, reason: str) -> None:
        self.pod.event("Warning", "Unhealthy", f"{probe} probe failed: {reason}")

    def _message(self, run: Path, log: LogFile, code: int) -> str:
        text = (run / "termination-log").read_bytes()[:_MESSAGE_LIMIT].decode(errors="replace")
        policy = self.spec.get("terminationMessagePolicy")
        if not text and code != 0 and policy == "FallbackToLogsOnError":
            log.close()
            return log.tail(_LOG_MESSAGE_LINES, _LOG_MESSAGE_LIMIT)
        return text


def _image_mounts(image: LocalImage, run: Path, above: Sequence[Mount]) -> list[Mount]:
    """The image's trees; of a writable one a copy, without what ``above`` hides."""
    mounts = [Mount(target, source, writable=False, volume=False) for target, source in image.binds.items()]
    for number, (target, source) in enumerate(image.writable.items()):
        layer = run / f"layer-{number}"
        shutil.copytree(source, layer, symlinks=True)
        for hidden in above:
            if Path(hidden.target).is_relative_to(target):
                _remove(layer / Path(hidden.target).relative_to(target))
        mounts.append(Mount(target, layer))
    return mounts


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
