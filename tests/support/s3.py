"""A real S3 server (moto) for tests, on a free port of this machine.

Guarantee: it answers when the context is entered and is gone when it is left; buckets are made on
demand. Non-guarantee: moto checks no signatures and forgets everything at the end.
"""

from __future__ import annotations

import re
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from tests.support.tls import Authority


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it is, and what tests ask it behind the store's back."""

    endpoint: str
    tls: ssl.SSLContext | None = None

    def make_bucket(self) -> str:
        name = f"bucket-{uuid4().hex[:12]}"
        self._call("PUT", name)
        return name

    def delete_bucket(self, name: str) -> None:
        """The bucket must be empty."""
        self._call("DELETE", name)

    def open_uploads(self, bucket: str) -> list[str]:
        """Keys of multipart uploads that nobody has finished or aborted."""
        return re.findall(r"<Upload>.*?<Key>(.*?)</Key>", self._call("GET", f"{bucket}?uploads"), re.DOTALL)

    def storage_classes(self, bucket: str) -> dict[str, str]:
        """By key."""
        found = self._call("GET", f"{bucket}?list-type=2")
        pattern = r"<Contents>.*?<Key>(.*?)</Key>.*?<StorageClass>(.*?)</StorageClass>"
        return dict(re.findall(pattern, found, re.DOTALL))

    def _call(self, method: str, path: str) -> str:
        request = urllib.request.Request(f"{self.endpoint}/{path}", method=method)
        with urllib.request.urlopen(request, context=self.tls) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def s3_server(tls: Authority | None = None) -> Iterator[S3Server]:
    """Plain, or over TLS with a certificate of ``tls``."""
    app = DomainDispatcherApplication(create_backend_app)
    context = tls.server_context() if tls else None
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, ssl_context=context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    scheme = "https" if tls else "http"
    try:
        yield S3Server(f"{scheme}://127.0.0.1:{server.server_port}", tls.client_context() if tls else None)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Quiet(MotoRequestHandler):
    """One line a request would bury what a failing test has to say."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass
