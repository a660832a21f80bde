"""Make a pod's volumes as directories of the host.

Guarantee: a volume made from objects changes all its files at once (the kubelet's ``..data`` link), and a
missing object is an error with the kubelet's words. Everyone may write to a volume that is not read-only.
Non-guarantee: no sizes are enforced, and ``fsGroup`` is not applied.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import anyio

from hack.devcluster.environment import ConfigError, PodFacts, data_of, field_value, resource_value
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import Obj
from hack.devcluster.registry import Registry
from hack.devcluster.shapes import CLAIMS, namespace_of

_LINK = "..data"
_TOKEN_SECONDS = 60.0


class VolumeError(Exception):
    """Why a volume is not there yet; the text is the one of the FailedMount Event."""


class TokenSource(Protocol):
    """Makes the credentials that a pod finds in its volumes."""

    ca_pem: str

    def token(self, namespace: str, service_account: str) -> str: ...


class CachedTokens:
    """The tokens of one pod; each is renewed long before any real one would have to be."""

    def __init__(self, source: TokenSource) -> None:
        self.ca_pem = source.ca_pem
        self._source = source
        self._tokens: dict[tuple[str, str], tuple[float, str]] = {}

    def token(self, namespace: str, service_account: str) -> str:
        made, token = self._tokens.get((namespace, service_account), (-math.inf, ""))
        if anyio.current_time() - made > _TOKEN_SECONDS:
            made, token = anyio.current_time(), self._source.token(namespace, service_account)
            self._tokens[namespace, service_account] = made, token
        return token


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume; ``mode`` None means the volume's default."""

    data: bytes
    mode: int | None = None


class VolumeMaker:
    """Makes and refreshes the volumes of one pod below ``directory``."""

    def __init__(
        self, registry: Registry, facts: PodFacts, tokens: TokenSource, directory: Path, claims: Path
    ) -> None:
        self._registry = registry
        self._facts = facts
        self._tokens = tokens
        self._directory = directory
        self._claims = claims

    def make(self, volume: Obj) -> Path:
        """The directory of ``volume``, made or brought up to date. Raises VolumeError."""
        name: str = volume["name"]
        if "persistentVolumeClaim" in volume:
            return self._claimed(volume["persistentVolumeClaim"]["claimName"])
        path: Path = self._directory / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        if "emptyDir" in volume:
            return path
        try:
            files, mode = self._files(volume)
        except (ApiStatus, ConfigError) as error:
            raise VolumeError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from None
        publish(path, files, mode)
        return path

    def _claimed(self, claim_name: str) -> Path:
        try:
            claim = self._registry.get(CLAIMS, namespace_of(self._facts.pod), claim_name)
        except ApiStatus:
            raise VolumeError(f'persistentvolumeclaim "{claim_name}" not found') from None
        volume_name: str = claim["spec"].get("volumeName") or ""
        if not volume_name:
            raise VolumeError(f'persistentvolumeclaim "{claim_name}" is not bound')
        path = self._claims / volume_name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return path

    def _files(self, volume: Obj) -> tuple[dict[str, File], int]:
        for kind in ("secret", "configMap", "downwardAPI"):
            if kind in volume:
                return self._of_source(kind, volume[kind]), volume[kind].get("defaultMode", 0o644)
        if "projected" not in volume:
            raise ConfigError("this node has no such kind of volume")
        files: dict[str, File] = {}
        for source in volume["projected"].get("sources") or []:
            for kind, content in source.items():
                files |= self._of_source(kind, content)
        return files, volume["projected"].get("defaultMode", 0o644)

    def _of_source(self, kind: str, source: Obj) -> dict[str, File]:
        if kind == "downwardAPI":
            return {item["path"]: self._described(item) for item in source.get("items") or []}
        if kind == "serviceAccountToken":
            account = self._facts.pod["spec"].get("serviceAccountName") or "default"
            token = self._tokens.token(namespace_of(self._facts.pod), account)
            return {source["path"]: File(token.encode(), 0o600 if os.geteuid() else None)}
        return self._of_object(kind.lower(), source)

    def _of_object(self, kind: str, source: Obj) -> dict[str, File]:
        name = source.get("secretName") or source["name"]
        if (kind, name) == ("configmap", "kube-root-ca.crt"):
            data: Mapping[str, bytes] = {"ca.crt": self._tokens.ca_pem.encode()}
            return _selected(data, source, name)
        try:
            data = data_of(self._registry, kind, namespace_of(self._facts.pod), name)
        except ApiStatus:
            if source.get("optional"):
                return {}
            raise ConfigError(f'{kind} "{name}" not found') from None
        return _selected(data, source, name)

    def _described(self, item: Obj) -> File:
        if "fieldRef" in item:
            text = field_value(self._facts, item["fieldRef"]["fieldPath"])
        else:
            reference = item["resourceFieldRef"]
            containers = self._facts.pod["spec"]["containers"]
            owner = next(each for each in containers if each["name"] == reference["containerName"])
            text = resource_value(owner, reference)
        return File(text.encode(), item.get("mode"))


def _selected(data: Mapping[str, bytes], source: Obj, name: str) -> dict[str, File]:
    if "items" not in source:
        return {key: File(value) for key, value in data.items()}
    missing = [item["key"] for item in source["items"] if item["key"] not in data]
    if missing and not source.get("optional"):
        raise ConfigError(f'"{name}" has no key "{missing[0]}", which the volume refers to')
    items = [item for item in source["items"] if item["key"] in data]
    return {item["path"]: File(data[item["key"]], item.get("mode")) for item in items}


def publish(path: Path, files: Mapping[str, File], default_mode: int) -> None:
    """Replace what ``path`` shows by ``files``, all at once; nothing is written when nothing changed."""
    current = path / _LINK
    if current.exists() and _same(current, files):
        return
    fresh = path / f"..{secrets.token_hex(8)}"
    for name, file in files.items():
        target = fresh / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.data)
        target.chmod(file.mode if file.mode is not None else default_mode)
    fresh.mkdir(exist_ok=True)
    old = current.resolve() if current.is_symlink() else None
    _point(current, fresh.name)
    _show(path, {Path(name).parts[0] for name in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)


def _same(current: Path, files: Mapping[str, File]) -> bool:
    present = {
        str(each.relative_to(current)): each.read_bytes() for each in current.rglob("*") if each.is_file()
    }
    return present == {name: file.data for name, file in files.items()}


def _point(link: Path, target: str) -> None:
    temporary = link.with_name(f"..{secrets.token_hex(4)}")
    temporary.symlink_to(target)
    temporary.rename(link)


def _show(path: Path, names: set[str]) -> None:
    for name in names:
        if not (path / name).is_symlink():
            (path / name).symlink_to(f"{_LINK}/{name}")
    for entry in path.iterdir():
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
