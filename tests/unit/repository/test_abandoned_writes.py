"""What a killed writer leaves is found by its key and removed; nothing else is."""

from __future__ import annotations

import signal
import subprocess
import sys
import urllib.request
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from controller.repository import catalogue, intents
from controller.repository.intents import GRACE, Intents
from controller.repository.store import Store
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.repository.stores.s3_uploads import Keys, signed
from tests.support.control_plane import CHECKOUT
from tests.support.s3 import S3Server, s3_server
from tests.support.tls import make_authority

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEY = "databases/neo4j/chain/neo4j-2026-03-01T02-00-05.backup"
WRITE = """
import os, signal, sys
from pathlib import Path
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.s3 import S3Settings, S3Store

def chunks():
    for _ in range(40):
        yield bytes(1024 * 1024)
    os.kill(os.getpid(), signal.SIGKILL)

kind, where, bucket, key = sys.argv[1:]
settings = S3Settings(bucket, "p", endpoint=where, access_key_id="id", secret_access_key="key")
store = S3Store(settings) if kind == "s3" else DirectoryStore(Path(where), "p")
store.put(key, chunks(), size_hint=1)
"""


def killed_while_writing(kind: str, where: str, bucket: str, key: str = KEY) -> None:
    command = [sys.executable, "-c", WRITE, kind, where, bucket, key]
    ended = subprocess.run(command, cwd=CHECKOUT, check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL


def settings(server: S3Server, bucket: str) -> S3Settings:
    return S3Settings(bucket, "p", endpoint=server.endpoint, access_key_id="id", secret_access_key="key")


def dead_run(store: Store, *keys: str) -> None:
    """Its note is there, and nothing else tells of it."""
    Intents(store, "run-dead", lambda: NOW - GRACE - timedelta(hours=1)).add(*keys)


def swept(store: Store) -> int:
    return intents.sweep(store, catalogue.read(store), NOW)


def test_on_s3_the_upload_is_aborted(s3: S3Server) -> None:
    bucket = s3.make_bucket()
    killed_while_writing("s3", s3.endpoint, bucket)
    assert s3.open_uploads(bucket) == [f"p/{KEY}"], "the test is about something"
    store = S3Store(settings(s3, bucket))
    dead_run(store, KEY)
    assert swept(store) == 1
    assert s3.open_uploads(bucket) == []


def test_uploads_of_other_keys_and_the_object_itself_are_left_alone(s3: S3Server) -> None:
    bucket = s3.make_bucket()
    store = S3Store(settings(s3, bucket))
    store.put(KEY, [b"committed"])
    for other in (f"p/{KEY}.age", f"q/{KEY}", f"p/{KEY}"):
        start = urllib.request.Request(f"{s3.endpoint}/{bucket}/{other}?uploads", method="POST")
        urllib.request.urlopen(start).close()
    store.abandon(KEY)
    assert sorted(s3.open_uploads(bucket)) == sorted([f"p/{KEY}.age", f"q/{KEY}"])
    assert b"".join(store.get(KEY)) == b"committed"


def test_it_works_over_tls_with_a_private_ca(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    with s3_server(authority) as server:
        bucket = server.make_bucket()
        url = f"{server.endpoint}/{bucket}/p/{KEY}?uploads"
        start = urllib.request.Request(url, method="POST")
        urllib.request.urlopen(start, context=authority.client_context()).close()
        S3Store(replace(settings(server, bucket), ca_certificate=authority.ca)).abandon(KEY)
        assert server.open_uploads(bucket) == []


def test_a_server_that_refuses_or_is_gone_is_no_error(s3: S3Server) -> None:
    S3Store(settings(s3, "no-such-bucket")).abandon(KEY)
    S3Store(S3Settings("b", endpoint="http://127.0.0.1:1", access_key_id="i", secret_access_key="k")).abandon(
        KEY
    )


def test_on_a_volume_the_half_written_file_is_removed(tmp_path: Path) -> None:
    killed_while_writing("directory", str(tmp_path), "-")
    killed_while_writing("directory", str(tmp_path), "-", f"{KEY}.age")
    directory = (tmp_path / "p" / KEY).parent
    assert len(list(directory.glob(".tmp-*"))) == 2
    store = DirectoryStore(tmp_path, "p")
    dead_run(store, KEY)
    assert swept(store) == 1
    (left,) = directory.glob(".tmp-*")
    store.abandon(f"{KEY}.age")
    assert not left.exists()


def test_a_run_that_may_be_alive_keeps_what_it_writes(tmp_path: Path) -> None:
    killed_while_writing("directory", str(tmp_path), "-")
    store = DirectoryStore(tmp_path, "p")
    Intents(store, "run-now", lambda: NOW).add(KEY)
    assert swept(store) == 0
    assert list((tmp_path / "p" / KEY).parent.glob(".tmp-*"))


@pytest.mark.parametrize("token", ["", "a-session+token/with=signs"])
@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        ("GET", "/", {"uploads": "", "prefix": "p/a b+c=d@e/ü"}),
        ("DELETE", "/p/a_b.backup.age", {"uploadId": "x+/=.~"}),
    ],
)
def test_requests_are_signed_as_boto_signs_them(
    method: str, path: str, query: dict[str, str], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://bucket.s3.eu-west-1.amazonaws.com{path}"
    keys = Keys("AKIAEXAMPLE", "wJalrXUtnFEMI/K7MDENG", token, "eu-west-1")
    ours = signed(method, url, query, keys, NOW)
    theirs = AWSRequest(
        method=method, url=f"{url}?{urlencode(query, quote_via=quote, safe='-_.~')}", data=b""
    )
    credentials = Credentials(keys.access_key_id, keys.secret_access_key, token or None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None), raising=False)
    theirs.context["timestamp"] = f"{NOW:%Y%m%dT%H%M%SZ}"
    S3SigV4Auth(credentials, "s3", "eu-west-1").add_auth(theirs)
    if theirs.headers["X-Amz-Date"] != ours["x-amz-date"]:
        pytest.fail("boto signed for another moment: the comparison would say nothing")
    assert ours["Authorization"] == theirs.headers["Authorization"]
