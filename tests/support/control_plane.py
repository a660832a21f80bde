"""The control planes that tests can run against: the embedded one, and real ones.

Guarantee: what was started here is ended here, processes and containers alike; what was there before
(``kubeconfig``) is left running.
Non-guarantee: a control plane is shared by the tests of a process; they keep apart by namespaces.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.envtest import CannotStart, envtest

CHECKOUT = Path(__file__).resolve().parents[2]


class Unavailable(Exception):
    """This kind of control plane cannot be had here; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """``runs_controllers`` and ``runs_pods`` are what a test that needs them asks before it starts."""

    kind: str
    kubeconfig: Path
    runs_controllers: bool = True
    runs_pods: bool = True
    compact: Callable[[int], None] | None = None
    """Makes the server forget every state before this version, where it can be told to."""


@contextmanager
def _embedded(directory: Path) -> Iterator[ControlPlane]:
    """In a process of its own: the tests have their own event loops, or none."""
    command = [sys.executable, "-m", "hack.devcluster", "--dir", str(directory)]
    with (directory / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("export KUBECONFIG="):
            raise RuntimeError(
                f"the embedded control plane did not start:\n{(directory / 'log').read_text()}"
            )
        kubeconfig = Path(line.strip().removeprefix("export KUBECONFIG="))
        yield ControlPlane("embedded", kubeconfig, compact=lambda _: process.send_signal(signal.SIGUSR1))
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


@contextmanager
def _kubeconfig(_: Path) -> Iterator[ControlPlane]:
    path = os.environ.get("KUBECONFIG")
    if not path or not Path(path).is_file():
        raise Unavailable("$KUBECONFIG names no file")
    yield ControlPlane("kubeconfig", Path(path))


@contextmanager
def _envtest(directory: Path) -> Iterator[ControlPlane]:
    assets = os.environ.get("KUBEBUILDER_ASSETS", "/usr/local/kubebuilder/bin")
    try:
        with envtest(Path(assets), directory) as (kubeconfig, compact):
            yield ControlPlane(
                "envtest", kubeconfig, runs_controllers=False, runs_pods=False, compact=compact
            )
    except CannotStart as error:
        raise Unavailable(str(error)) from error


@contextmanager
def _k3s(directory: Path) -> Iterator[ControlPlane]:
    from testcontainers.community.k3s import K3SContainer

    _ask_docker()
    container = K3SContainer(os.environ.get("K3S_IMAGE", "docker.io/rancher/k3s:v1.33.5-k3s1")).start()
    try:
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(container.config_yaml(), encoding="utf-8")
        yield ControlPlane("k3s", kubeconfig)
    finally:
        container.stop()


def _ask_docker() -> None:
    """Raises Unavailable. Asked first because a client that finds no engine leaves its socket open."""
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as engine:
            try:
                engine.connect(host.removeprefix("unix://"))
            except OSError as error:
                raise Unavailable(f"no Docker engine answers at {host}: {error}") from error


_STARTERS: dict[str, Callable[[Path], AbstractContextManager[ControlPlane]]] = {
    "embedded": _embedded,
    "kubeconfig": _kubeconfig,
    "envtest": _envtest,
    "k3s": _k3s,
}
KINDS = tuple(_STARTERS)


def started(kind: str, directory: Path) -> AbstractContextManager[ControlPlane]:
    """A control plane for the life of the context. Raises Unavailable on entering."""
    return _STARTERS[kind](directory)
