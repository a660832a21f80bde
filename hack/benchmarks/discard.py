"""An S3 server that keeps nothing: what a client sends is counted by the kernel and thrown away.

Guarantee: uploads are answered as S3 answers them, whole and in parts; the size of every object is known
afterwards (:data:`STATS`) and is right to the byte, so that a client which sent too little is found out.
Without TLS a body is dropped inside the kernel (``MSG_TRUNC``) and costs next to nothing; with TLS it is
decrypted first, as every server must.

Non-guarantee: no signature, checksum or condition is looked at, nothing can be read back, and ETags are no
MD5. Linux only. For benchmarks on loopback.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

STATS = "/-/stats"
_GULP = 4 * 1024 * 1024
_RECORDS = 256 * 1024
_XML = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class Gone(Exception):
    """The client closed the connection."""


@dataclass(slots=True)
class Objects:
    """Sizes, of objects and of the parts of those that are not complete."""

    sizes: dict[str, int] = field(default_factory=dict)
    parts: dict[str, dict[int, int]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> str:
        with self.lock:
            upload = f"upload-{len(self.parts)}"
            self.parts[upload] = {}
        return upload

    def complete(self, upload: str, key: str) -> None:
        with self.lock:
            self.sizes[key] = sum(self.parts[upload].values())
            self.parts[upload] = {}


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked, the body apart."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]

    @property
    def length(self) -> int:
        """Of the object's bytes in the body."""
        sizes = self.headers.get("x-amz-decoded-content-length") or self.headers.get("content-length") or "0"
        return int(sizes)


class Connection:
    """Reads requests and drops bodies."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._held = bytearray()
        # Only a plain socket can drop what it received without copying it out of the kernel.
        self._in_kernel = not isinstance(peer, ssl.SSLSocket)
        self._scrap = memoryview(bytearray(_GULP if self._in_kernel else _RECORDS))

    def request(self) -> Request:
        start, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, _ = start.split(" ")
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        url = urlsplit(target)
        return Request(method, unquote(url.path), parse_qs(url.query, keep_blank_values=True), headers)

    def drop(self, request: Request) -> None:
        """The body of ``request``."""
        if request.headers.get("expect", "").lower() == "100-continue":
            self._peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if request.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self._until(b"\r\n").partition(b";")[0], 16):
                self._drop(size + 2)
            self._until(b"\r\n")
        else:
            self._drop(int(request.headers.get("content-length") or 0))

    def answer(self, status: str, body: str = "", **headers: str) -> None:
        named = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
        self._peer.sendall(f"HTTP/1.1 {status}\r\n{head}\r\n{body}".encode())

    def _until(self, mark: bytes) -> bytes:
        while (at := self._held.find(mark)) < 0:
            self._more()
        found = bytes(self._held[:at])
        del self._held[: at + len(mark)]
        return found

    def _more(self) -> None:
        data = self._peer.recv(65536)
        if not data:
            raise Gone
        self._held += data

    def _drop(self, size: int) -> None:
        held = min(size, len(self._held))
        del self._held[:held]
        left = size - held
        while left:
            got = self._receive(min(left, len(self._scrap)))
            if not got:
                raise Gone
            left -= got

    def _receive(self, size: int) -> int:
        if self._in_kernel:
            return self._peer.recv_into(self._scrap, size, socket.MSG_TRUNC)
        return self._peer.recv_into(self._scrap, size)


class Bucket:
    """Answers the requests of one server."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def talk(self, connection: Connection) -> None:
        while True:
            request = connection.request()
            connection.drop(request)
            self._route(request)(request, connection)

    def _route(self, request: Request) -> Callable[[Request, Connection], None]:
        match request.method:
            case "HEAD":
                return self._head
            case "PUT":
                return self._part if "partNumber" in request.query else self._put
            case "POST":
                return self._begin if "uploads" in request.query else self._complete
            case "GET":
                return self._stats if request.path == STATS else self._list
            case _:
                return self._nothing

    def _put(self, request: Request, connection: Connection) -> None:
        self._objects.sizes[request.path] = request.length
        connection.answer("200 OK", ETag='"discarded"')

    def _begin(self, request: Request, connection: Connection) -> None:
        upload = self._objects.begin()
        bucket, key = _names(request.path)
        named = f"<Bucket>{bucket}</Bucket><Key>{key}</Key><UploadId>{upload}</UploadId>"
        connection.answer(
            "200 OK",
            f"{_XML}<InitiateMultipartUploadResult {_XMLNS}>{named}</InitiateMultipartUploadResult>",
        )

    def _part(self, request: Request, connection: Connection) -> None:
        (upload,), (number,) = request.query["uploadId"], request.query["partNumber"]
        self._objects.parts[upload][int(number)] = request.length
        connection.answer("200 OK", ETag=f'"discarded-{number}"')

    def _complete(self, request: Request, connection: Connection) -> None:
        self._objects.complete(request.query["uploadId"][0], request.path)
        bucket, key = _names(request.path)
        named = f'<Bucket>{bucket}</Bucket><Key>{key}</Key><ETag>"discarded-all"</ETag>'
        connection.answer(
            "200 OK",
            f"{_XML}<CompleteMultipartUploadResult {_XMLNS}>{named}</CompleteMultipartUploadResult>",
        )

    def _head(self, request: Request, connection: Connection) -> None:
        size = self._objects.sizes.get(request.path)
        if size is None and _names(request.path)[1]:
            connection.answer("404 Not Found")
            return
        when = "Thu, 01 Jan 2026 00:00:00 GMT"
        connection.answer("200 OK", Content_Length=str(size or 0), ETag='"discarded"', Last_Modified=when)

    def _list(self, request: Request, connection: Connection) -> None:
        named = (
            f"<Name>{_names(request.path)[0]}</Name><KeyCount>0</KeyCount><IsTruncated>false</IsTruncated>"
        )
        connection.answer("200 OK", f"{_XML}<ListBucketResult {_XMLNS}>{named}</ListBucketResult>")

    def _stats(self, request: Request, connection: Connection) -> None:
        used = resource.getrusage(resource.RUSAGE_SELF)
        said = {"sizes": self._objects.sizes, "cpu": used.ru_utime + used.ru_stime}
        connection.answer("200 OK", json.dumps(said))

    def _nothing(self, request: Request, connection: Connection) -> None:
        connection.answer("204 No Content")


def _names(path: str) -> tuple[str, str]:
    bucket, _, key = re.sub(r"^/", "", path).partition("/")
    return bucket, key


def accepted(listener: socket.socket, context: ssl.SSLContext | None) -> Iterator[socket.socket]:
    """Connections as they come, with the handshake still to be made."""
    while True:
        peer, _ = listener.accept()
        if context:
            yield context.wrap_socket(peer, server_side=True, do_handshake_on_connect=False)
        else:
            yield peer


def _serve(bucket: Bucket, peer: socket.socket) -> None:
    try:
        with peer:
            bucket.talk(Connection(peer))
    except (Gone, OSError):
        """A client that leaves in the middle is found out by the size of its object."""


def main() -> None:
    """Prints the port, then serves until it is killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate", type=Path, help="PEM with key and chain; plain HTTP without it")
    certificate = parser.parse_args().certificate
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    bucket = Bucket(Objects())
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        print(listener.getsockname()[1], flush=True)
        for peer in accepted(listener, context):
            threading.Thread(target=_serve, args=(bucket, peer), daemon=True).start()


if __name__ == "__main__":
    main()
