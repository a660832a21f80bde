"""Reads the Secret that the user named, under whatever names its keys have in the wild.

Guarantee: values are read from files and end up in the stores' settings only; no message contains one.
A Secret that cannot work is refused with the names of the keys that were expected.

Non-guarantee: whether the credentials are valid is found out by using them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from controller.repository.errors import AccessDenied
from controller.repository.stores.azure import AzureSettings
from controller.repository.stores.gcs import GCSSettings
from controller.repository.stores.s3 import S3Settings
from controller.wire.messages import StorageTarget

_CA = frozenset({"cacrt", "cabundle", "awscabundle", "capem"})
_S3: Mapping[str, frozenset[str]] = {
    "access_key_id": frozenset({"awsaccesskeyid", "accesskeyid", "accesskey"}),
    "secret_access_key": frozenset({"awssecretaccesskey", "secretaccesskey", "accesskeysecret", "secretkey"}),
    "session_token": frozenset({"awssessiontoken", "sessiontoken"}),
    "region": frozenset({"awsregion", "awsdefaultregion", "region"}),
    "endpoint": frozenset({"awsendpointurls3", "awsendpointurl", "endpointurl", "endpoint", "s3endpoint"}),
    "ca_certificate": _CA,
}
_GCS: Mapping[str, frozenset[str]] = {"ca_certificate": _CA}
_AZURE: Mapping[str, frozenset[str]] = {
    "account": frozenset({"azurestorageaccount", "azurestorageaccountname", "accountname", "storageaccount"}),
    "account_key": frozenset(
        {
            "azurestoragekey",
            "azurestorageaccountkey",
            "azurestorageaccesskey",
            "accountkey",
            "storageaccountkey",
        }
    ),
    "sas_token": frozenset({"azurestoragesastoken", "azurestoragesaskey", "sastoken", "sas"}),
    "connection_string": frozenset({"azurestorageconnectionstring", "connectionstring"}),
    "tenant_id": frozenset({"azuretenantid", "tenantid"}),
    "client_id": frozenset({"azureclientid", "clientid"}),
    "client_secret": frozenset({"azureclientsecret", "clientsecret"}),
    "endpoint": frozenset({"azurestorageendpoint", "azurestorageblobendpoint", "blobendpoint", "endpoint"}),
    "ca_certificate": _CA,
}
_AZURE_PROOFS = {"account_key", "sas_token", "client_secret"}
_AZURE_PLACES = ("account", "endpoint", "tenant_id", "client_id", "ca_certificate")
"""Without a proof the pod's own identity asks; these say where, and as whom."""
_CONNECTION = {
    "AccountName": "account",
    "AccountKey": "account_key",
    "SharedAccessSignature": "sas_token",
    "BlobEndpoint": "endpoint",
}
_AZURE_HOST = re.compile(r"https?://([a-z0-9]{3,24})[.]blob[.]")


def read_files(directory: Path) -> dict[str, bytes]:
    """The mounted Secret, file by file; empty when none is mounted."""
    if not directory.is_dir():
        return {}
    # The kubelet keeps the data in hidden directories and links to it; only the links are keys.
    files = (entry for entry in directory.iterdir() if not entry.name.startswith(".") and entry.is_file())
    return {entry.name: entry.read_bytes() for entry in files}


def s3_settings(target: StorageTarget, prefix: str, secret: Mapping[str, bytes]) -> S3Settings:
    """What the spec says wins over what the Secret says; keys come from the Secret only."""
    found = _known(secret, _S3)
    has_keys = {"access_key_id", "secret_access_key"} <= found.keys()
    if not has_keys and not _is_understood(secret, _S3, "region", "endpoint", "ca_certificate"):
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
        path_style=target.path_style,
        checksum=target.checksum,
    )


def gcs_settings(target: StorageTarget, prefix: str, secret: Mapping[str, bytes]) -> GCSSettings:
    """The service account's key is told by its content, because everybody names the file differently."""
    key = _service_account(secret)
    if not key and not _is_understood(secret, _GCS, "ca_certificate"):
        raise AccessDenied(
            "the credentials Secret needs the JSON key of a service account (for example under key.json), "
            f"it has: {', '.join(sorted(secret))}"
        )
    return GCSSettings(
        bucket=target.bucket,
        prefix=prefix,
        endpoint=target.endpoint,
        service_account_key=key,
        ca_certificate=_known(secret, _GCS).get("ca_certificate", "").encode(),
    )


def azure_settings(target: StorageTarget, prefix: str, secret: Mapping[str, bytes]) -> AzureSettings:
    """Account key, SAS, connection string, or a service principal; else only the account's name."""
    found = _known(secret, _AZURE)
    for name, value in _connection(found.pop("connection_string", "")).items():
        found.setdefault(name, value)
    if not found.keys() & _AZURE_PROOFS and not _is_understood(secret, _AZURE, *_AZURE_PLACES):
        raise AccessDenied(
            "the credentials Secret needs AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN, a connection string "
            f"with one of them, or AZURE_CLIENT_SECRET, it has: {', '.join(sorted(secret))}"
        )
    endpoint = target.endpoint or found.get("endpoint", "")
    host = _AZURE_HOST.match(endpoint)
    account = found.get("account") or (host[1] if host else "")
    if not account:
        raise AccessDenied(
            "the storage account is not known: put AZURE_STORAGE_ACCOUNT into the credentials Secret, "
            "or https://<account>.blob.core.windows.net into cloud.endpoint"
        )
    return AzureSettings(
        container=target.bucket,
        account=account,
        prefix=prefix,
        endpoint=endpoint,
        account_key=found.get("account_key", ""),
        sas_token=found.get("sas_token", ""),
        tenant_id=found.get("tenant_id", ""),
        client_id=found.get("client_id", ""),
        client_secret=found.get("client_secret", ""),
        ca_certificate=found.get("ca_certificate", "").encode(),
    )


def _service_account(secret: Mapping[str, bytes]) -> str:
    for name in sorted(secret):
        try:
            document = json.loads(secret[name])
        except (ValueError, RecursionError):
            continue
        if not isinstance(document, dict) or not {"type", "client_email", "private_key"} & set(document):
            continue
        if document.get("type", "service_account") != "service_account":
            raise AccessDenied(
                f"{name!r} of the credentials Secret is of type {document['type']!r}; only the key of a "
                "service account works from a Secret, everything else by the pod's own identity"
            )
        return secret[name].decode()
    return ""


def _connection(text: str) -> dict[str, str]:
    """The parts of a connection string that say where and who."""
    said = {name: value for name, _, value in (part.partition("=") for part in text.split(";")) if value}
    if {"AccountName", "EndpointSuffix"} <= said.keys():
        # Clouds of their own: Azure Government, China.
        said.setdefault("BlobEndpoint", f"https://{said['AccountName']}.blob.{said['EndpointSuffix']}")
    return {field: said[name] for name, field in _CONNECTION.items() if name in said}


def _is_understood(secret: Mapping[str, bytes], names: Mapping[str, frozenset[str]], *fields: str) -> bool:
    """Whether all that the Secret holds is one of ``fields``: then it is no mistyped key, and who asks is the
    pod's own identity."""
    return all(any(_plain(name) in names[field] for field in fields) for name in secret)


def _one_line(name: str, value: str) -> str:
    """HTTP headers take nothing else, and obstore panics instead of saying so."""
    if not (value.isascii() and value.isprintable()):
        raise AccessDenied(f"{name!r} of the credentials Secret holds line breaks or other odd characters")
    return value


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _known(secret: Mapping[str, bytes], names: Mapping[str, frozenset[str]]) -> dict[str, str]:
    """The keys that mean something; people write them in every case and with every separator."""
    found: dict[str, str] = {}
    for name in sorted(secret):
        plain = _plain(name)
        for field, aliases in names.items():
            if plain in aliases and (value := secret[name].decode("utf-8", "replace").strip()):
                found.setdefault(field, value if field == "ca_certificate" else _one_line(name, value))
    return found
