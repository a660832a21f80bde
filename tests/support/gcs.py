"""A small Google Cloud Storage for tests: as much of its XML API as an object store client uses.

Guarantee: create-only writes, ranges, listings by prefix and multipart uploads behave as documented, on a
free port of this machine, in this process. Non-guarantee: no authentication; nothing outlives the context.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape

_TIME = "2026-01-01T00:00:00.000Z"


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
def gcs_server() -> Iterator[GCSServer]:
    state = GCSServer()

    class Bound(_Handler):
        server_state = state

    with ThreadingHTTPServer(("127.0.0.1", 0), Bound) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        state.endpoint = f"http://127.0.0.1:{server.server_port}"
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
            if objects is None:
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
        found = [key for key in sorted(objects) if key.startswith(prefix)]
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(objects[key])}</Size>"
            f"<LastModified>{_TIME}</LastModified><ETag>e</ETag></Contents>"
            for key in found
        )
        self._answer(200, f"<ListBucketResult>{contents}</ListBucketResult>".encode())

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
