"""A real S3 server (moto) for tests, on a free port of this machine.

Guarantee: it answers when the context is entered and is gone when it is left; buckets are made on
demand. Non-guarantee: moto checks no signatures and forgets everything at the end.
"""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

from moto.server import ThreadedMotoServer


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where it is, and what tests ask it behind the store's back."""

    endpoint: str

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

    def _call(self, method: str, path: str) -> str:
        request = urllib.request.Request(f"{self.endpoint}/{path}", method=method)
        with urllib.request.urlopen(request) as answer:
            return str(answer.read(), "utf-8")


@contextmanager
def s3_server() -> Iterator[S3Server]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield S3Server(f"http://{host}:{port}")
    finally:
        server.stop()
