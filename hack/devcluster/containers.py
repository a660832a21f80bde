"""Run one container as a local process, and processes inside it.

Guarantee: when :meth:`Container.close` has returned, no process of the container is left. How a
container sees its paths is decided once for a node by trying (:func:`detect`).
Non-guarantee: without namespaces a path is only found by a program that honours ``CONTAINER_ROOT``, or that
gets it on its command line, where paths of mounts are replaced.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Any

import anyio
import anyio.abc

from hack.devcluster import launch
from hack.devcluster.logs import LogFile
from hack.devcluster.terminal import Terminal

ENV_ROOT = "CONTAINER_ROOT"
ENV_MODE = "DEVCLUSTER_MOUNTS"
_HIDDEN = ("/tmp/", "/dev/")
_LAUNCHER = [sys.executable, "-I", "-S", launch.__file__]


class StartError(Exception):
    """The program could not be started; the text is the runtime's reason."""


class Isolation(StrEnum):
    """What the kernel lets us do."""

    MOUNTS = "mounts"
    USER_NAMESPACE = "user-namespace"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Mount:
    """A host path at a container path; a volume may be changed by mount points below it."""

    target: str
    source: Path
    writable: bool = True
    volume: bool = True


@dataclass(frozen=True, slots=True)
class ContainerSpec:
    """What to run and what it sees."""

    argv: Sequence[str]
    root: Path
    """An empty directory: where the root is mounted, or what ``CONTAINER_ROOT`` names."""
    env: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    working_dir: str = "/"
    user: int | None = None
    read_only_root: bool = False


async def detect(forced: str = "") -> Isolation:
    """The best isolation that works here. ``forced`` is the value of ``DEVCLUSTER_MOUNTS``."""
    if forced:
        return Isolation(forced)
    for isolation in (Isolation.MOUNTS, Isolation.USER_NAMESPACE):
        with tempfile.TemporaryDirectory() as directory:
            trial = ContainerSpec(["true"], Path(directory), {"PATH": os.defpath})
            if await _works(trial, isolation, LogFile(Path(directory) / "log")):
                return isolation
    return Isolation.OFF


async def _works(trial: ContainerSpec, isolation: Isolation, log: LogFile) -> bool:
    container = Container(trial, isolation, log)
    try:
        await container.start()
        return await container.wait() == 0
    except StartError:
        return False
    finally:
        await container.close()
        log.close()


def relocated(text: str, mounts: Sequence[Mount], root: Path) -> str:
    """``text`` with every path below a mount replaced by where it really is."""
    targets = [re.escape(each.target) for each in mounts if each.target != str(each.source)]
    if not targets:
        return text
    pattern = rf"(?<![\w./-])(?:{'|'.join(sorted(targets, key=len, reverse=True))})(?![\w.-])"
    return re.sub(pattern, lambda match: f"{root}{match[0]}", text)


class Launched:
    """A launcher and the program below it."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self.process = process

    async def wait(self) -> int:
        code = await self.process.wait()
        return code if code >= 0 else 128 - code

    def signal(self, number: int) -> None:
        # Not process.send_signal: that takes the exit code when there is one, and whoever waits is told 255.
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    async def end(self) -> None:
        """Kill everything and wait until it is gone, whatever happens meanwhile."""
        with anyio.CancelScope(shield=True):
            if self.process.returncode is None:
                self.signal(launch.KILL)
            await self.process.wait()
            await self.process.aclose()


class ExecProcess:
    """A process in a container; see :class:`hack.devcluster.node.Process`."""

    def __init__(self, launched: Launched, terminal: Terminal | None) -> None:
        self._launched = launched
        self._terminal = terminal
        self.stdin: anyio.abc.ByteSendStream | None = terminal or launched.process.stdin
        stdout = terminal or launched.process.stdout
        assert stdout is not None
        self.stdout: anyio.abc.ByteReceiveStream = stdout
        self.stderr: anyio.abc.ByteReceiveStream | None = launched.process.stderr

    async def wait(self) -> int:
        return await self._launched.wait()

    def resize(self, columns: int, rows: int) -> None:
        if self._terminal is not None:
            self._terminal.resize(columns, rows)

    async def aclose(self) -> None:
        try:
            await self._launched.end()
        finally:
            if self._terminal is not None:
                self._terminal.close()


class Container:
    """One run of a container: start, wait, close."""

    def __init__(self, spec: ContainerSpec, isolation: Isolation, log: LogFile) -> None:
        self._spec = spec
        self._isolation = isolation
        self._log = log
        self._launched: Launched | None = None
        self._init: int | None = None
        self._stop_wanted = False

    async def start(self) -> None:
        """Start the program. Raises StartError. :meth:`close` must follow in any case."""
        mode = "plain" if self._isolation is Isolation.OFF else "namespaces"
        document = self._document(mode, self._inside(self._spec.argv))
        self._launched, self._init = await _launch(document, DEVNULL)
        if self._stop_wanted:
            self.stop()

    async def wait(self) -> int:
        """Keep the output in the log until the program has ended, and return its exit code."""
        assert self._launched is not None
        process = self._launched.process
        async with anyio.create_task_group() as group:
            group.start_soon(self._keep, "stdout", process.stdout)
            group.start_soon(self._keep, "stderr", process.stderr)
        return await self._launched.wait()

    async def close(self) -> None:
        """Leave no process behind."""
        if self._launched is not None:
            await self._launched.end()

    async def _keep(self, name: str, stream: anyio.abc.ByteReceiveStream | None) -> None:
        assert stream is not None
        async for chunk in stream:
            self._log.write(name, chunk)

    def stop(self) -> None:
        """Ask the program to end (SIGTERM), as soon as it has started."""
        self._stop_wanted = True
        if self._launched is not None:
            self._launched.signal(launch.STOP)

    def kill(self) -> None:
        """End every process of the container now (SIGKILL)."""
        if self._launched is not None:
            self._launched.signal(launch.KILL)

    async def exec(self, argv: Sequence[str], *, stdin: bool, tty: bool = False) -> ExecProcess:
        """Start ``argv`` inside. Raises StartError."""
        document = self._document("inside", self._inside(argv)) | {"join": self._init, "terminal": tty}
        if not tty:
            return ExecProcess((await _launch(document, PIPE if stdin else DEVNULL))[0], None)
        document["env"] = {"TERM": "xterm", **document["env"]}
        terminal = Terminal()
        try:
            launched, _ = await _launch(document, terminal.program_side, terminal.program_side)
        except BaseException:
            terminal.close()
            raise
        finally:
            terminal.close_program_side()
        return ExecProcess(launched, terminal)

    def _inside(self, argv: Sequence[str]) -> list[str]:
        if self._isolation is not Isolation.OFF:
            return list(argv)
        return [relocated(each, self._spec.mounts, self._spec.root) for each in argv]

    def _document(self, mode: str, argv: list[str]) -> dict[str, Any]:
        variables = {"PATH": os.defpath, **self._spec.env}
        if self._isolation is Isolation.OFF:
            variables["PATH"] = ":".join(self._inside(variables["PATH"].split(":")))
            variables[ENV_ROOT] = str(self._spec.root)
        return {
            "mode": mode,
            "argv": argv,
            "env": variables,
            "cwd": self._inside([self._spec.working_dir])[0],
            "user": self._spec.user,
            "terminal": False,
            "mounts": [_entry(each) for each in self._spec.mounts if self._is_needed(each)],
            "root": str(self._spec.root),
            "read_only_root": self._spec.read_only_root,
            "user_namespace": self._isolation is Isolation.USER_NAMESPACE,
            "join": None,
            "parent": os.getpid(),
        }

    def _is_needed(self, mount: Mount) -> bool:
        """What lies on the host at the same place can be seen there, unless the container hides the place."""
        hidden = self._isolation is not Isolation.OFF and mount.target.startswith(_HIDDEN)
        return hidden or mount.target != str(mount.source)


def _entry(mount: Mount) -> dict[str, Any]:
    return {
        "target": mount.target,
        "source": str(mount.source),
        "writable": mount.writable,
        "volume": mount.volume,
    }


async def _launch(document: dict[str, Any], stdin: int, output: int = PIPE) -> tuple[Launched, int | None]:
    """Start the launcher and wait until the program runs. Returns the pid to join, if there is one."""
    specification = os.memfd_create("container")
    os.write(specification, json.dumps(document).encode())
    os.lseek(specification, 0, os.SEEK_SET)
    status, reported = os.pipe()
    try:
        command = [*_LAUNCHER, str(specification), str(reported)]
        fds = (specification, reported)
        process = await anyio.open_process(
            command, stdin=stdin, stdout=output, stderr=output, cwd="/", pass_fds=fds, start_new_session=True
        )
    finally:
        os.close(specification)
        os.close(reported)
    launched = Launched(process)
    try:
        return launched, await _started(status)
    except BaseException:
        await launched.end()
        raise


async def _started(status: int) -> int | None:
    """Read the launcher's report to its end."""
    received = b""
    try:
        while True:
            await anyio.wait_readable(status)
            chunk = os.read(status, 65536)
            if not chunk:
                break
            received += chunk
    finally:
        os.close(status)
    lines = [json.loads(line) for line in received.splitlines()]
    for line in lines:
        if "error" in line:
            raise StartError(line["error"])
    return next((int(line["pid"]) for line in lines), None)
