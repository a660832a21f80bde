"""Reads the Secret that the user named, under whatever names its keys have in the wild.

Guarantee: values are read from files and end up in :class:`S3Settings` only; no message contains one.
A Secret that cannot work is refused with the names of the keys that were expected.

Non-guarantee: whether the credentials are valid is found out by using them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from controller.repository.errors import AccessDenied
from controller.repository.stores.s3 import S3Settings
from controller.wire.messages import StorageTarget

_ALIASES: Mapping[str, frozenset[str]] = {
    "access_key_id": frozenset({"awsaccesskeyid", "accesskeyid", "accesskey"}),
    "secret_access_key": frozenset({"awssecretaccesskey", "secretaccesskey", "accesskeysecret", "secretkey"}),
    "session_token": frozenset({"awssessiontoken", "sessiontoken"}),
    "region": frozenset({"awsregion", "awsdefaultregion", "region"}),
    "endpoint": frozenset({"awsendpointurls3", "awsendpointurl", "endpointurl", "endpoint", "s3endpoint"}),
    "ca_certificate": frozenset({"cacrt", "cabundle", "awscabundle", "capem"}),
}


def read_files(directory: Path) -> dict[str, bytes]:
    """The mounted Secret, file by file; empty when none is mounted."""
    if not directory.is_dir():
        return {}
    # The kubelet keeps the data in hidden directories and links to it; only the links are keys.
    files = (entry for entry in directory.iterdir() if not entry.name.startswith(".") and entry.is_file())
    return {entry.name: entry.read_bytes() for entry in files}


def s3_settings(target: StorageTarget, prefix: str, secret: Mapping[str, bytes]) -> S3Settings:
    """What the spec says wins over what the Secret says; keys come from the Secret only."""
    found = _known(secret)
    has_id, has_key = "access_key_id" in found, "secret_access_key" in found
    if secret and not (has_id and has_key):
        raise AccessDenied(
            "the credentials Secret needs the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            f"it has: {', '.join(sorted(secret))}"
        )
    return S3Settings(
        bucket=target.bucket,
        prefix=prefix,
        region=target.region or found.get("region", ""),
        endpoint=target.endpoint or found.get("endpoint", ""),
        access_key_id=found.get("access_key_id", ""),
        secret_access_key=found.get("secret_access_key", ""),
        session_token=found.get("session_token", ""),
        ca_certificate=found.get("ca_certificate", "").encode(),
    )


def _known(secret: Mapping[str, bytes]) -> dict[str, str]:
    """The keys that mean something; people write them in every case and with every separator."""
    found: dict[str, str] = {}
    for name in sorted(secret):
        plain = re.sub(r"[^a-z0-9]", "", name.lower())
        for field, aliases in _ALIASES.items():
            if plain in aliases and (value := secret[name].decode("utf-8", "replace").strip()):
                found.setdefault(field, value)
    return found
