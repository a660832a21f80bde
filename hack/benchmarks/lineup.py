"""Who is compared: the peers, how each is started, and what it can be asked.

Every peer gets its cheapest configuration: client-go lists in pages (its streamed lists cost it up to twice
the CPU), and so do we; as the operator really reads, streamed, we are a peer of our own. kopf runs on
uvloop with a bare event handler and logs errors only, kubernetes-asyncio keeps dicts, whose models cost it
ten times as much.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path

from hack.benchmarks import debian, environments, golang
from hack.benchmarks.scenarios import Peer

HERE = Path(__file__).resolve().parent
OURS, STREAMED, KOPF, ASYNCIO = "ours", "ours streamed", "kopf", "kubernetes-asyncio"
DYNAMIC, TYPED = "client-go dynamic", "client-go typed"
NAMES = (OURS, STREAMED, KOPF, ASYNCIO, DYNAMIC, TYPED)

_LISTS = {"KUBE_FEATURE_WatchListClient": "false"}


def ours(name: str, streamed: str) -> Peer:
    argv = (str(environments.production()), "-m", "hack.benchmarks.peers.ours")
    return Peer(name, argv, {"OURS_STREAMED": streamed, **environments.BYTECODE})


def kubernetes_asyncio() -> Peer:
    python = str(environments.production())
    return Peer(ASYNCIO, (python, "-m", "hack.benchmarks.peers.asyncio_watch"), environments.BYTECODE)


def kopf() -> Peer:
    argv = (str(environments.kopf()), str(HERE / "peers" / "kopf_peer.py"))
    env = {"PYTHONPATH": str(HERE), **environments.BYTECODE}
    return Peer(KOPF, argv, env, writes=2, starts_itself=True)


def client_go(kind: str) -> Peer:
    """Raises ``debian.Unavailable`` where it cannot be built."""
    return Peer(f"client-go {kind}", (str(golang.informer()), kind), _LISTS)


MAKERS: Mapping[str, Callable[[], Peer]] = {
    OURS: partial(ours, OURS, ""),
    STREAMED: partial(ours, STREAMED, "yes"),
    KOPF: kopf,
    ASYNCIO: kubernetes_asyncio,
    DYNAMIC: partial(client_go, "dynamic"),
    TYPED: partial(client_go, "typed"),
}


def chosen(names: list[str]) -> tuple[list[Peer], Mapping[str, str]]:
    """The peers of those names, and why any is left out."""
    peers, missing = [], {}
    for name in names:
        try:
            peers.append(MAKERS[name]())
        except debian.Unavailable as reason:
            missing[name] = str(reason)
    return peers, missing


def versions(names: list[str]) -> list[str]:
    """What was measured, as far as it is not this project."""
    python = [f"CPython {environments.interpreter().version}"]
    python += [f"kopf {_locked('kopf')}"] if KOPF in names else []
    python += [f"kubernetes-asyncio {metadata.version('kubernetes-asyncio')}"] if ASYNCIO in names else []
    return [*python, *([golang.versions()] if DYNAMIC in names or TYPED in names else [])]


def _locked(package: str) -> str:
    lines = environments.KOPF_LOCK.read_text().splitlines()
    return next(line.split("==")[1].split()[0] for line in lines if line.startswith(f"{package}=="))
