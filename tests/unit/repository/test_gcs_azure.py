"""What only GCS and Azure have: their Secrets, their refusals, their unfinished uploads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from controller.repository.credentials import azure_settings, gcs_settings
from controller.repository.errors import AccessDenied, NoSuchBucket, Unavailable
from controller.repository.stores.azure import AzureSettings, AzureStore
from controller.repository.stores.gcs import GCSSettings, GCSStore
from controller.wire.messages import StorageTarget
from hack.images.gcs_server import GCSServer
from tests.support import azurite
from tests.support.azurite import Azurite
from tests.unit.repository.conftest import azure_store, gcs_store

GCS = StorageTarget(type="gcs", bucket="bucket")
AZURE = StorageTarget(type="azure", bucket="container")
ACCOUNT_JSON = json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "pem-secret"})


class SourceBroke(Exception):
    pass


def broken() -> Iterator[bytes]:
    for _ in range(20):
        yield b"x" * 1024 * 1024
    raise SourceBroke


def test_what_is_not_there_is_named(gcs: GCSServer, azure: Azurite) -> None:
    with pytest.raises(NoSuchBucket, match="bucket 'no-such-bucket' does not exist"):
        gcs_store(gcs, "no-such-bucket").put("probe.json", [b"{}"])
    with pytest.raises(NoSuchBucket, match="container 'no-such-container' does not exist"):
        azure_store(azure, "no-such-container").put("probe.json", [b"{}"])
    with pytest.raises(NoSuchBucket):
        gcs_store(gcs, "no-such-bucket").delete("key")


def test_a_source_that_fails_leaves_no_unfinished_upload(gcs: GCSServer) -> None:
    bucket = gcs.make_bucket()
    with pytest.raises(SourceBroke):
        gcs_store(gcs, bucket).put("half", broken())
    assert gcs.open_uploads(bucket) == []
    assert gcs.buckets[bucket] == {}


def test_a_wrong_key_is_denied(azure: Azurite) -> None:
    settings = AzureSettings(
        container=azure.make_container(),
        account=azurite.ACCOUNT,
        endpoint=azure.endpoint,
        account_key="bm90IHRoZSBrZXk=",
        retry_timeout=timedelta(milliseconds=300),
    )
    with pytest.raises(AccessDenied, match="AuthorizationFailure") as caught:
        AzureStore(settings).put("probe.json", [b"{}"])
    assert "bm90IHRoZSBrZXk" not in f"{caught.value}{caught.value.__cause__}{settings!r}"


def test_servers_that_are_not_there_are_unavailable() -> None:
    soon, nowhere = timedelta(milliseconds=200), "http://127.0.0.1:1"
    key = ACCOUNT_JSON.replace('"type"', '"private_key_id": "", "disable_oauth": true, "type"')
    with pytest.raises(Unavailable, match=nowhere):
        GCSStore(GCSSettings("b", endpoint=nowhere, service_account_key=key, retry_timeout=soon)).put(
            "x", [b"x"]
        )
    with pytest.raises(Unavailable, match=nowhere):
        AzureStore(
            AzureSettings(
                "c", "acct", endpoint=f"{nowhere}/acct", account_key=azurite.KEY, retry_timeout=soon
            )
        ).put("x", [b"x"])


@pytest.mark.parametrize("name", ["key.json", "GOOGLE_APPLICATION_CREDENTIALS", "sa"])
def test_a_service_account_is_found_under_any_name(name: str) -> None:
    settings = gcs_settings(GCS, "p", {name: ACCOUNT_JSON.encode(), "note": b"for backups"})
    assert (settings.bucket, settings.prefix) == ("bucket", "p")
    assert settings.service_account_key == ACCOUNT_JSON
    assert "pem-secret" not in repr(settings)


def test_without_a_secret_the_pods_identity_is_used() -> None:
    assert gcs_settings(GCS, "", {}).service_account_key == ""
    target = msgspec.structs.replace(AZURE, endpoint="https://myaccount.blob.core.windows.net")
    settings = azure_settings(target, "", {})
    assert (settings.account, settings.account_key, settings.sas_token) == ("myaccount", "", "")


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ({"password": b"pem-secret"}, "needs the JSON key of a service account.*it has: password"),
        ({"key.json": b'{"type": "external_account", "x": "pem-secret"}'}, "'external_account'"),
        ({"list.json": b"[1]"}, "needs the JSON key"),
    ],
)
def test_what_is_no_service_account_is_refused(secret: dict[str, bytes], said: str) -> None:
    with pytest.raises(AccessDenied, match=said) as caught:
        gcs_settings(GCS, "", secret)
    assert "pem-secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        ({"AZURE_STORAGE_ACCOUNT": b"acct\n", "AZURE_STORAGE_KEY": b" k1 "}, ("acct", "k1", "", "")),
        ({"accountName": b"acct", "accountKey": b"k2"}, ("acct", "k2", "", "")),
        (
            {"AZURE_STORAGE_ACCOUNT_NAME": b"acct", "AZURE_STORAGE_SAS_TOKEN": b"?sv=1"},
            ("acct", "", "?sv=1", ""),
        ),
        (
            {"AZURE_STORAGE_CONNECTION_STRING": b"AccountName=acct;AccountKey=a2V5==;EndpointSuffix=x"},
            ("acct", "a2V5==", "", ""),
        ),
        (
            {"storage-account": b"acct", "tenant-id": b"t", "client-id": b"c", "client-secret": b"s"},
            ("acct", "", "", "s"),
        ),
    ],
)
def test_the_usual_spellings_of_azure_work(
    secret: dict[str, bytes], expected: tuple[str, str, str, str]
) -> None:
    found = azure_settings(AZURE, "p", secret)
    assert (found.account, found.account_key, found.sas_token, found.client_secret) == expected
    assert (found.container, found.prefix) == ("container", "p")


@pytest.mark.parametrize(
    "secret",
    [
        {"AZURE_STORAGE_ACCOUNT": b"acct", "AZURE_STORAGE_KEYY": b"pem-secret"},
        {"AZURE_STORAGE_ACCOUNT": b"acct", "AZURE_STORAGE_KEY": b""},
        {"AZURE_STORAGE_CONNECTION_STRING": b"AccountName=acct;Pem-secret=x"},
    ],
)
def test_a_mistyped_key_of_azure_is_not_taken_for_none(secret: dict[str, bytes]) -> None:
    with pytest.raises(AccessDenied, match="needs AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN") as caught:
        azure_settings(AZURE, "", secret)
    assert "pem-secret" not in str(caught.value).lower()


def test_the_name_of_the_account_alone_leaves_the_asking_to_the_pod() -> None:
    settings = azure_settings(AZURE, "", {"AZURE_STORAGE_ACCOUNT": b"acct", "ca.crt": b"PEM"})
    assert (settings.account, settings.account_key) == ("acct", "")


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        (
            "AccountName=acct;AccountKey=a==;EndpointSuffix=core.chinacloudapi.cn",
            "https://acct.blob.core.chinacloudapi.cn",
        ),
        (
            "AccountName=acct;AccountKey=a==;EndpointSuffix=x;BlobEndpoint=http://mine/acct",
            "http://mine/acct",
        ),
        ("AccountName=acct;AccountKey=a==", ""),
    ],
)
def test_a_connection_string_says_which_cloud(text: str, endpoint: str) -> None:
    found = azure_settings(AZURE, "", {"AZURE_STORAGE_CONNECTION_STRING": text.encode()})
    assert (found.endpoint, found.account_key) == (endpoint, "a==")


def test_azure_needs_the_name_of_the_account() -> None:
    with pytest.raises(AccessDenied, match="AZURE_STORAGE_ACCOUNT"):
        azure_settings(AZURE, "", {"AZURE_STORAGE_KEY": b"k"})


def test_locations_name_the_place(gcs: GCSServer, azure: Azurite, tmp_path: Path) -> None:
    assert gcs_store(gcs, "b", "p/q").location == "gs://b/p/q"
    assert azure_store(azure, "c", "p/q").location == "azure://devstoreaccount1/c/p/q"
