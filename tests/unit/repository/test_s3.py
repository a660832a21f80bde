"""What only S3 has: buckets, credentials, parts, and servers that say no in many ways."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from controller.repository.errors import AccessDenied, NoSpaceLeft, NoSuchBucket, StoreError, Unavailable
from controller.repository.stores.cloud import part_size
from controller.repository.stores.s3 import S3Settings, S3Store
from tests.support.s3 import S3Server
from tests.support.tls import make_authority
from tests.unit.repository.conftest import s3_store

MIB = 1024 * 1024


class SourceBroke(Exception):
    pass


def test_a_bucket_that_is_not_there_is_named(s3: S3Server) -> None:
    store = s3_store(s3, "no-such-bucket-here")
    with pytest.raises(NoSuchBucket, match="no-such-bucket-here"):
        store.put("probe.json", [b"{}"])
    with pytest.raises(NoSuchBucket):
        store.put_if_absent("key", b"{}")
    with pytest.raises(NoSuchBucket):
        list(store.list("runs"))


def test_a_bucket_that_is_not_there_is_no_missing_object(s3: S3Server) -> None:
    """The answer to HEAD is 404 without a word for both."""
    with pytest.raises(NoSuchBucket):
        s3_store(s3, "no-such-bucket-here").head("databases/orders/some.backup")


def test_a_source_that_fails_leaves_no_unfinished_upload(s3: S3Server) -> None:
    bucket = s3.make_bucket()

    def broken() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * MIB
        raise SourceBroke

    with pytest.raises(SourceBroke):
        s3_store(s3, bucket).put("half", broken())
    assert s3.open_uploads(bucket) == []


def test_objects_lie_below_the_prefix(s3: S3Server) -> None:
    bucket = s3.make_bucket()
    s3_store(s3, bucket, "path/ns/name").put("runs/1.json", [b"{}"])
    assert [info.key for info in s3_store(s3, bucket, "").list("")] == ["path/ns/name/runs/1.json"]
    assert s3_store(s3, bucket, "path/ns/name").location == f"s3://{bucket}/path/ns/name"


class Listening(BaseHTTPRequestHandler):
    """Takes whatever comes and remembers what the body's hash was said to be."""

    said: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.said.append(self.headers["x-amz-content-sha256"])
        self.send_response(200)
        self.send_header("ETag", '"x"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.parametrize(
    ("secure", "hashed"), [(True, "UNSIGNED-PAYLOAD"), (False, hashlib.sha256(b"{}").hexdigest())]
)
def test_bodies_are_hashed_for_their_signature_only_where_tls_does_not_protect_them(
    secure: bool, hashed: str, tmp_path: Path
) -> None:
    authority = make_authority(tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), Listening) as server:
        if secure:
            server.socket = authority.server_context().wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        Listening.said.clear()
        scheme = "https" if secure else "http"
        where = settings(f"{scheme}://127.0.0.1:{server.server_port}")
        try:
            S3Store(replace(where, ca_certificate=authority.ca)).put_if_absent("a.json", b"{}")
        finally:
            server.shutdown()
            thread.join()
    assert Listening.said == [hashed]


@contextmanager
def refusing(status: int, code: str) -> Iterator[S3Store]:
    """A server that answers everything with one error."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode() if code else b""
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield S3Store(settings(f"http://127.0.0.1:{server.server_port}"))
        finally:
            server.shutdown()
            thread.join()


def settings(endpoint: str) -> S3Settings:
    return S3Settings(
        bucket="bucket",
        endpoint=endpoint,
        access_key_id="the-key-id",
        secret_access_key="the-secret",
        retry_timeout=timedelta(milliseconds=300),
    )


@pytest.mark.parametrize(
    ("status", "code", "expected", "said"),
    [
        (403, "AccessDenied", AccessDenied, "AccessDenied"),
        (403, "InvalidAccessKeyId", AccessDenied, "InvalidAccessKeyId"),
        (403, "SignatureDoesNotMatch", AccessDenied, "SignatureDoesNotMatch"),
        (400, "ExpiredToken", AccessDenied, "ExpiredToken"),
        (401, "", AccessDenied, "401"),
        (404, "NoSuchBucket", NoSuchBucket, "'bucket' does not exist"),
        (507, "XMinioStorageFull", NoSpaceLeft, "XMinioStorageFull"),
        (503, "SlowDown", Unavailable, "SlowDown"),
    ],
)
def test_every_refusal_has_its_own_name(
    status: int, code: str, expected: type[StoreError], said: str
) -> None:
    with refusing(status, code) as store:
        with pytest.raises(expected, match=said) as caught:
            store.put("probe.json", [b"{}"])
        assert "\n" not in str(caught.value)
        assert "the-secret" not in f"{caught.value}{caught.value.__cause__}"


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"http://127\.0\.0\.1:1"):
        S3Store(settings("http://127.0.0.1:1")).put("probe.json", [b"{}"])


def test_settings_never_show_their_secrets() -> None:
    assert "the-secret" not in repr(settings("http://x"))
    assert "the-key-id" not in repr(settings("http://x"))


@pytest.mark.parametrize("gib", [0, 1, 70, 500, 5000, 40_000])
def test_any_size_fits_the_number_of_parts(gib: int) -> None:
    size = gib * 1024 * MIB
    assert size / part_size(size) <= 9_000
    assert part_size(size) % MIB == 0
    assert part_size(size) >= 5 * MIB
