#!/usr/bin/env python3
"""A small Google Cloud Storage for tests: as much of its XML API as an object store client uses.

    gcs_server.py serve PORT          on all addresses of this container, until ended
    gcs_server.py create-bucket NAME
    gcs_server.py tar BUCKET PREFIX   everything below PREFIX as an archive on standard output

Guarantee: create-only writes, ranges, listings by prefix and page, and multipart uploads behave as
documented. Non-guarantee: no authentication; everything is in memory and gone at the end.
"""

from __future__ import annotations

import io
import os
import re
import signal
import sys
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

PORT = 5001
_TIME = "2026-01-01T00:00:00.000Z"
_PAGE = 1000


@dataclass
class GCSServer:
    """Where it is, and what it holds."""

    endpoint: str = ""
    buckets: dict[str, dict[str, bytes]] = field(default_factory=dict)
    uploads: dict[str, tuple[str, str, dict[int, bytes]]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make_bucket(self) -> str:
        name = f"bucket-{uuid4().hex[:12]}"
        self.buckets[name] = {}
        return name

    def open_uploads(self, bucket: str) -> list[str]:
        """Keys of multipart uploads that nobody has finished or aborted."""
        return [key for owner, key, _ in self.uploads.values() if owner == bucket]


@contextmanager
def gcs_server(host: str = "127.0.0.1", port: int = 0) -> Iterator[GCSServer]:
    state = GCSServer()

    class Bound(_Handler):
        server_state = state

    with ThreadingHTTPServer((host, port), Bound) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.endpoint = f"http://{host}:{server.server_port}"
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: GCSServer

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self._query = {key: values[0] for key, values in parse_qs(url.query, keep_blank_values=True).items()}
        name, _, key = unquote(url.path).lstrip("/").partition("/")
        self._body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.server_state.lock:
            objects = self.server_state.buckets.get(name)
            if self.command == "PUT" and name and not key:
                self.server_state.buckets.setdefault(name, {})
                self._answer(200, b"")
            elif objects is None:
                self._refuse(404, "NoSuchBucket")
            elif not key:
                self._list(objects)
            else:
                getattr(self, f"_{self.command.lower()}")(name, key, objects)

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_DELETE(self) -> None:
        self._serve()

    def _get(self, name: str, key: str, objects: dict[str, bytes]) -> None:
        if key not in objects:
            self._refuse(404, "NoSuchKey")
            return
        data, asked = objects[key], re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self._answer(200, data)
            return
        start, end = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        if start >= len(data):
            self._refuse(416, "InvalidRange")
        else:
            self._answer(206, data[start:end], {"Content-Range": f"bytes {start}-{end - 1}/{len(data)}"})

    _head = _get

    def _put(self, name: str, key: str, objects: dict[str, bytes]) -> None:
        if "uploadId" in self._query:
            self.server_state.uploads[self._query["uploadId"]][2][int(self._query["partNumber"])] = self._body
        elif self.headers.get("x-goog-if-generation-match") == "0" and key in objects:
            self._refuse(412, "PreconditionFailed")
            return
        else:
            objects[key] = self._body
        self._answer(200, b"", {"ETag": '"e"', "x-goog-generation": "1"})

    def _post(self, name: str, key: str, objects: dict[str, bytes]) -> None:
        if "uploads" in self._query:
            upload = uuid4().hex
            self.server_state.uploads[upload] = (name, key, {})
            text = f"<UploadId>{upload}</UploadId>"
            text = f"<InitiateMultipartUploadResult>{text}</InitiateMultipartUploadResult>"
        else:
            _, _, parts = self.server_state.uploads.pop(self._query["uploadId"])
            objects[key] = b"".join(parts[number] for number in sorted(parts))
            text = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
        self._answer(200, text.encode(), {"x-goog-generation": "1"})

    def _delete(self, name: str, key: str, objects: dict[str, bytes]) -> None:
        if "uploadId" in self._query:
            self.server_state.uploads.pop(self._query["uploadId"], None)
        elif objects.pop(key, None) is None:
            self._refuse(404, "NoSuchKey")
            return
        self._answer(204, b"")

    def _list(self, objects: dict[str, bytes]) -> None:
        prefix = self._query.get("prefix", "")
        after = self._query.get("continuation-token", self._query.get("start-after", ""))
        found = [key for key in sorted(objects) if key.startswith(prefix) and key > after]
        found, more = found[:_PAGE], len(found) > _PAGE
        token = f"<NextContinuationToken>{escape(found[-1])}</NextContinuationToken>" if more else ""
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
            f"<LastModified>{_TIME}</LastModified><ETag>e</ETag></Contents>"
            for key in found
        )
        text = f"{contents}<IsTruncated>{str(more).lower()}</IsTruncated>{token}"
        self._answer(200, f"<ListBucketResult>{text}</ListBucketResult>".encode())

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        common = {"Last-Modified": formatdate(1_767_225_600, usegmt=True), "ETag": '"e"'}
        for name, value in {**common, **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def _ask(path: str, method: str = "GET") -> bytes:
    address = f"http://{os.environ.get('POD_IP', '127.0.0.1')}:{PORT}/{path}"
    with urllib.request.urlopen(urllib.request.Request(address, method=method)) as answer:
        data: bytes = answer.read()
        return data


def _tar(bucket: str, prefix: str) -> None:
    keys = re.findall("<Key>(.*?)</Key>", _ask(f"{bucket}?list-type=2&prefix={prefix}").decode())
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        for key in keys:
            data = _ask(f"{bucket}/{key}")
            member = tarfile.TarInfo(key.removeprefix(prefix))
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


def _main(verb: str = "", *arguments: str) -> None:
    match verb, arguments:
        case "serve", (port,):
            with gcs_server(os.environ.get("POD_IP", "0.0.0.0"), int(port)):
                print(f"serving GCS on port {port}", flush=True)
                signal.sigwait({signal.SIGTERM, signal.SIGINT})
        case "create-bucket", (name,):
            _ask(name, "PUT")
        case "tar", (bucket, prefix):
            _tar(bucket, f"{prefix}/")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    _main(*sys.argv[1:])
