"""Every store that there is, each empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.repository.store import Store
from controller.repository.stores.azure import AzureSettings, AzureStore
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.gcs import GCSSettings, GCSStore
from controller.repository.stores.memory import MemoryStore
from controller.repository.stores.s3 import S3Settings, S3Store
from hack.images.gcs_server import GCSServer, gcs_server
from tests.support import azurite
from tests.support.azurite import Azurite
from tests.support.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture(scope="session")
def gcs() -> Iterator[GCSServer]:
    with gcs_server() as server:
        yield server


@pytest.fixture(scope="session")
def azure() -> Iterator[Azurite]:
    with azurite.azurite() as server:
        yield server


def gcs_store(server: GCSServer, bucket: str, prefix: str = "some/where") -> GCSStore:
    key = '{"disable_oauth": true, "client_email": "", "private_key": "", "private_key_id": ""}'
    return GCSStore(
        GCSSettings(
            bucket=bucket,
            prefix=prefix,
            endpoint=server.endpoint,
            service_account_key=key,
            retry_timeout=timedelta(seconds=5),
        )
    )


def azure_store(server: Azurite, container: str, prefix: str = "some/where") -> AzureStore:
    return AzureStore(
        AzureSettings(
            container=container,
            account=azurite.ACCOUNT,
            prefix=prefix,
            endpoint=server.endpoint,
            account_key=azurite.KEY,
            retry_timeout=timedelta(seconds=5),
        )
    )


def s3_store(server: S3Server, bucket: str, prefix: str = "some/where") -> S3Store:
    return S3Store(
        S3Settings(
            bucket=bucket,
            prefix=prefix,
            endpoint=server.endpoint,
            access_key_id="key",
            secret_access_key="secret",
            retry_timeout=timedelta(seconds=5),
        )
    )


@pytest.fixture(params=["memory", "directory", "s3", "gcs", "azure"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    def s3() -> Store:
        server: S3Server = request.getfixturevalue("s3")
        return s3_store(server, server.make_bucket())

    def gcs() -> Store:
        server: GCSServer = request.getfixturevalue("gcs")
        return gcs_store(server, server.make_bucket())

    def azure() -> Store:
        server: Azurite = request.getfixturevalue("azure")
        return azure_store(server, server.make_container())

    makers: dict[str, Callable[[], Store]] = {
        "memory": MemoryStore,
        "directory": lambda: DirectoryStore(tmp_path, "some/where"),
        "s3": s3,
        "gcs": gcs,
        "azure": azure,
    }
    return makers[request.param]()
