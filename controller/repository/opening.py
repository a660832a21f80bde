"""From a run's storage settings to an open store.

Guarantee: nothing is contacted here; a store that cannot be reached says so on its first call.
Non-guarantee: none about the settings beyond what a store cannot work without.
"""

from __future__ import annotations

from pathlib import Path

from controller.repository import layout
from controller.repository.credentials import read_files, s3_settings
from controller.repository.errors import UnsupportedStorage
from controller.repository.store import Store
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.s3 import S3Store
from controller.wire.messages import RunSpec


def open_store(spec: RunSpec, *, volume: Path, credentials: Path) -> Store:
    """The store of ``spec``'s repository: keys are relative to ``<path>/<namespace>/<backup>``."""
    target = spec.storage
    prefix = layout.root(target.path, spec.namespace, spec.backup)
    match target.type:
        case "pvc":
            return DirectoryStore(volume, prefix, location=f"pvc://{target.bucket}/{prefix}")
        case "s3":
            if not target.bucket:
                raise UnsupportedStorage("storage.bucket is empty")
            return S3Store(s3_settings(target, prefix, read_files(credentials)))
        case other:
            raise UnsupportedStorage(
                f"storage.type {other} is not supported by this release yet: use s3 or pvc"
            )
