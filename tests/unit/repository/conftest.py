"""Every store that there is, each empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from controller.repository.store import Store
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.memory import MemoryStore
from controller.repository.stores.s3 import S3Settings, S3Store
from tests.support.s3 import S3Server, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


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


@pytest.fixture(params=["memory", "directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    def s3() -> Store:
        server: S3Server = request.getfixturevalue("s3")
        return s3_store(server, server.make_bucket())

    makers: dict[str, Callable[[], Store]] = {
        "memory": MemoryStore,
        "directory": lambda: DirectoryStore(tmp_path, "some/where"),
        "s3": s3,
    }
    return makers[request.param]()
