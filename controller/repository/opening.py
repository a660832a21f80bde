"""From a run's storage settings to an open store.

Guarantee: nothing is contacted here; a store that cannot be reached says so on its first call.
Non-guarantee: none about the settings beyond what a store cannot work without.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controller.repository import layout
from controller.repository.credentials import azure_settings, gcs_settings, read_files, s3_settings
from controller.repository.encryption.codec import Encryption
from controller.repository.encryption.codec import open_encryption as encryption_of
from controller.repository.errors import UnsupportedStorage
from controller.repository.store import Store
from controller.repository.stores.azure import AzureStore
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.gcs import GCSStore
from controller.repository.stores.s3 import S3Store
from controller.wire.messages import RunSpec


def open_store(spec: RunSpec, *, volume: Path, credentials: Path, storage_class: str = "") -> Store:
    """The store of ``spec``'s repository: keys are relative to ``<path>/<namespace>/<backup>``.

    ``storage_class`` is that of the objects which are written through it; only S3 is asked for one.
    """
    target = spec.storage
    prefix = layout.root(target.path, spec.namespace, spec.backup)
    if target.type == "pvc":
        return DirectoryStore(volume, prefix, location=f"pvc://{target.bucket}/{prefix}")
    if not target.bucket:
        raise UnsupportedStorage("storage.bucket is empty")
    secret = read_files(credentials)
    match target.type:
        case "s3":
            settings = s3_settings(target, prefix, secret)
            return S3Store(replace(settings, storage_class=storage_class))
        case "gcs":
            return GCSStore(gcs_settings(target, prefix, secret))
        case "azure":
            return AzureStore(azure_settings(target, prefix, secret))


def open_encryption(spec: RunSpec, keys: Path) -> Encryption | None:
    """How ``spec`` has its artifacts encrypted; raises ``KeyUnusable``. Never none where it was asked for."""
    return encryption_of(spec.encryption, read_files(keys)) if spec.encryption else None
