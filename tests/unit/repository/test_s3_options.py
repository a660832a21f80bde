"""What S3-compatible servers need: an endpoint, a private CA, a way to name the bucket, a checksum."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest

from controller.repository.credentials import gcs_settings, s3_settings
from controller.repository.errors import AccessDenied, Unavailable
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.wire.messages import StorageTarget
from tests.support.s3 import S3Server, s3_server
from tests.support.tls import Authority, make_authority

TARGET = StorageTarget(type="s3", bucket="bucket", region="eu-west-1")
KEYS = {"AWS_ACCESS_KEY_ID": b"id", "AWS_SECRET_ACCESS_KEY": b"key"}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return make_authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def tls_server(authority: Authority) -> Iterator[S3Server]:
    with s3_server(authority) as server:
        yield server


def settings(server: S3Server, secret: dict[str, bytes], **more: object) -> S3Settings:
    target = msgspec.structs.replace(TARGET, bucket=server.make_bucket(), endpoint=server.endpoint, **more)
    return replace(s3_settings(target, "p", KEYS | secret), retry_timeout=timedelta(milliseconds=300))


def test_a_server_with_a_certificate_of_a_private_ca_is_trusted_by_ca_crt(
    tls_server: S3Server, authority: Authority
) -> None:
    store = S3Store(settings(tls_server, {"ca.crt": authority.ca}))
    data = bytes(range(256)) * (MIB // 16)
    store.put("large", [data], size_hint=1)
    assert b"".join(store.get("large")) == data
    assert [info.key for info in store.list("")] == ["large"]


def test_without_the_ca_the_server_is_refused_and_the_message_says_why(tls_server: S3Server) -> None:
    with pytest.raises(Unavailable, match=r"https://127\.0\.0\.1.*certificate.*ca\.crt"):
        S3Store(settings(tls_server, {})).put("probe.json", [b"{}"])


def test_a_ca_that_is_none_is_refused_by_its_name(tls_server: S3Server) -> None:
    with pytest.raises(AccessDenied, match=r"ca\.crt.*PEM"):
        S3Store(settings(tls_server, {"ca.crt": b"not a certificate"}))


class Recorder:
    """A server, also usable as a proxy, that takes everything and remembers it."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.url = ""


@contextmanager
def recorder() -> Iterator[Recorder]:
    state = Recorder()

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.command, self.path, headers))
            self.send_response(200)
            self.send_header("ETag", '"e"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("endpoint", "path_style", "expected"),
    [
        ("http://minio.storage:9000", None, "http://minio.storage:9000/bucket/p/k"),
        ("http://minio.storage:9000/", True, "http://minio.storage:9000/bucket/p/k"),
        ("http://minio.storage:9000", False, "http://bucket.minio.storage:9000/p/k"),
    ],
)
def test_the_bucket_is_named_where_the_server_wants_it(
    endpoint: str, path_style: bool | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = msgspec.structs.replace(TARGET, endpoint=endpoint, path_style=path_style)
    with recorder() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        S3Store(s3_settings(target, "p", KEYS)).put_if_absent("k", b"data")
    assert [path for _, path, _ in proxy.requests] == [expected]


def test_the_checksum_goes_along_when_it_is_asked_for_and_only_then() -> None:
    with recorder() as server:
        for checksum in ("", "SHA256"):
            target = msgspec.structs.replace(TARGET, endpoint=server.url, checksum=checksum)
            S3Store(s3_settings(target, "p", KEYS)).put_if_absent("k", b"data")
    without, with_it = (headers for _, _, headers in server.requests)
    expected = base64.b64encode(hashlib.sha256(b"data").digest()).decode()
    assert "x-amz-checksum-sha256" not in without
    assert with_it["x-amz-checksum-sha256"] == expected


def test_uploads_in_parts_work_with_the_checksum(s3: S3Server) -> None:
    store = S3Store(settings(s3, {}, checksum="SHA256"))
    data = bytes(range(256)) * (MIB // 16)
    store.put("large", [data], size_hint=1)
    assert b"".join(store.get("large")) == data


@pytest.mark.parametrize(
    "secret",
    [{}, {"ca.crt": b"PEM"}, {"ca.crt": b"PEM", "AWS_REGION": b"x", "AWS_ENDPOINT_URL": b"https://x"}],
)
def test_a_secret_without_keys_leaves_the_asking_to_the_pod(secret: dict[str, bytes]) -> None:
    assert s3_settings(TARGET, "", secret).access_key_id == ""
    only_ca = {name: value for name, value in secret.items() if name == "ca.crt"}
    assert gcs_settings(StorageTarget(type="gcs", bucket="b"), "", only_ca).service_account_key == ""


@pytest.mark.parametrize(
    "secret", [{"ca.crt": b"PEM", "AWS_ACCES_KEY_ID": b"id"}, {"AWS_ACCESS_KEY_ID": b"id"}, {"x": b"y"}]
)
def test_a_mistyped_key_is_not_taken_for_none(secret: dict[str, bytes]) -> None:
    with pytest.raises(AccessDenied, match="needs the keys AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        s3_settings(TARGET, "", secret)


def test_the_path_of_a_file_is_not_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(AccessDenied, match="PEM"):
        S3Store(replace(s3_settings(TARGET, "", KEYS), ca_certificate=b"/etc/ssl/ca.crt"))
