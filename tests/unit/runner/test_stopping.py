"""A pod that is told to stop in the middle of an upload leaves none of it on the server, and does end."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.s3 import S3Server, s3_server

CHECKOUT = Path(__file__).resolve().parents[3]
GRACE_SECONDS = 30.0
"""What Kubernetes leaves a pod by default."""

PROGRAM = """
import os, sys
import anyio
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.runner.main import cancel_on_signal
from controller.runner.transfer import carry
from controller.wire.messages import Artifact

class Endless:
    async def feed(self, artifact, channel):
        while True:
            if not channel.put_nowait(os.urandom(512 * 1024)):
                await anyio.sleep(0.01)

async def main():
    settings = S3Settings(sys.argv[2], endpoint=sys.argv[1], access_key_id="a", secret_access_key="b")
    artifact = Artifact(database="neo4j", file="a.backup", size=1 << 32)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
        await carry(Endless(), artifact, S3Store(settings), "a.backup")

anyio.run(main)
os._exit(0)
"""


@contextmanager
def uploading(endpoint: str, bucket: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM, endpoint, bucket], cwd=CHECKOUT) as process:
        try:
            yield process
        finally:
            process.kill()


def until(true: object, process: subprocess.Popen[bytes]) -> None:
    assert callable(true)
    while not true():
        assert process.poll() is None
        time.sleep(0.05)


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


def test_the_upload_is_aborted(s3: S3Server) -> None:
    bucket = s3.make_bucket()
    with uploading(s3.endpoint, bucket) as process:
        until(lambda: s3.open_uploads(bucket), process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert s3.open_uploads(bucket) == []
    s3.delete_bucket(bucket)  # which works for an empty one only


class Silent(BaseHTTPRequestHandler):
    """Begins every upload and never answers a part."""

    parts = threading.Event()
    over = threading.Event()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = "InitiateMultipartUploadResult"
        body = f"<{name}><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId></{name}>".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        self.parts.set()
        self.over.wait(120)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_that_says_nothing_does_not_keep_the_pod_beyond_its_grace() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            with uploading(f"http://127.0.0.1:{server.server_port}", "b") as process:
                until(Silent.parts.is_set, process)
                process.send_signal(signal.SIGTERM)
                assert process.wait(GRACE_SECONDS) == 0
        finally:
            Silent.over.set()
            server.shutdown()
            thread.join()
