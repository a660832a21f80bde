"""A loopback address for each pod, and the hosts file that stands in for the cluster's DNS.

Guarantee: no two clusters on one host hand out the same address while both live; names resolve to the
pods that exist now, in every running container.
Non-guarantee: a Service's name leads to its pods' own addresses, so its ports are the pods' ports.
"""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from pathlib import Path

from hack.devcluster.objects import Obj, is_deleting
from hack.devcluster.shapes import labels_of, name_of, namespace_of, status_of

_LOCK_PORT = 6360
_DOMAIN = "svc.cluster.local"


class AddressPool:
    """Blocks 127.a.b.2 to 127.a.b.254, each held by a socket bound on its 127.a.b.1."""

    def __init__(self) -> None:
        self._locks: list[socket.socket] = []
        self._free: list[str] = []

    def take(self) -> str:
        if not self._free:
            lock, prefix = _acquire()
            self._locks.append(lock)
            self._free = [f"{prefix}.{number}" for number in range(254, 1, -1)]
        return self._free.pop()

    def give_back(self, address: str) -> None:
        """The one handed out longest ago comes back last, so that a late packet finds nobody."""
        self._free.insert(0, address)

    def close(self) -> None:
        for lock in self._locks:
            lock.close()


def _acquire() -> tuple[socket.socket, str]:
    for _ in range(1000):
        prefix = f"127.{16 + secrets.randbelow(224)}.{secrets.randbelow(256)}"
        lock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            lock.bind((f"{prefix}.1", _LOCK_PORT))
            return lock, prefix
        except OSError:
            lock.close()
    raise RuntimeError("no free block of loopback addresses")


def host_name(pod: Obj) -> str:
    return str(pod["spec"].get("hostname") or name_of(pod))


def cluster_names(pods: Iterable[Obj], services: Iterable[Obj]) -> list[tuple[str, list[str]]]:
    """Address and names, fully qualified and short, of every pod and every Service's pods."""
    placed = [(status_of(pod)["podIP"], pod) for pod in pods if _has_address(pod)]
    lines = [(address, _pod_names(pod)) for address, pod in placed if pod["spec"].get("subdomain")]
    for service in services:
        selector = (service.get("spec") or {}).get("selector") or {}
        names = _forms(f"{name_of(service)}.{namespace_of(service)}") if selector else []
        lines += [(address, names) for address, pod in placed if names and _is_behind(pod, service, selector)]
    return sorted(lines)


def _has_address(pod: Obj) -> bool:
    finished = status_of(pod).get("phase") in ("Succeeded", "Failed")
    return bool(status_of(pod).get("podIP")) and not finished


def _is_behind(pod: Obj, service: Obj, selector: dict[str, str]) -> bool:
    same = namespace_of(pod) == namespace_of(service) and not is_deleting(pod)
    return same and selector.items() <= labels_of(pod).items()


def _forms(name: str) -> list[str]:
    return [f"{name}.{_DOMAIN}", f"{name}.svc", name]


def _pod_names(pod: Obj) -> list[str]:
    return _forms(f"{host_name(pod)}.{pod['spec']['subdomain']}.{namespace_of(pod)}")


def hosts_file(pod: Obj, address: str, api_host: str, names: Iterable[tuple[str, list[str]]]) -> str:
    """What ``/etc/hosts`` of ``pod`` says; names of its own namespace work without it, as with DNS."""
    suffix = f".{namespace_of(pod)}"
    lines = [f"{address} localhost {host_name(pod)}"]
    if api_host.replace(".", "").isdigit():
        lines.append(f"{api_host} {' '.join(_forms('kubernetes.default'))} kubernetes")
    for target, forms in names:
        short = [form.removesuffix(suffix) for form in forms if form.endswith(suffix)]
        lines.append(" ".join([target, *forms, *short]))
    return "\n".join(lines) + "\n"


def write_in_place(path: Path, text: str) -> None:
    """Replace the content of a file that is bind-mounted, where a rename would leave the old one mounted.

    Readers never find it empty: the new bytes are there before the rest is cut off.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        data = text.encode()
        os.pwrite(handle, data, 0)
        os.ftruncate(handle, len(data))
    finally:
        os.close(handle)
