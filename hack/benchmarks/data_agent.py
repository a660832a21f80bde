"""The agent's listener over one file, for :mod:`hack.benchmarks.data_ours` to fetch from.

Server, TLS and copying are the product's; only the shelf is not: it has the one file, under any name.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio.to_thread
import msgspec

from controller.agent.artifacts import Shelf
from controller.agent.serve import Server, tls_context
from controller.wire.messages import ServeReady, ServeRequest


class OneFile:
    """A shelf with a single artifact."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, file: str) -> Path:
        return self._path


class LocalAgent:
    """As much of an agent's session as a transfer needs."""

    def __init__(self, file: Path) -> None:
        self._file = file

    @asynccontextmanager
    async def serve(self, request: ServeRequest) -> AsyncIterator[ServeReady]:
        argv = [sys.executable, "-m", "hack.benchmarks.data_agent", str(self._file)]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: ASYNC220
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(request) + b"\n")
            process.stdin.flush()
            line = await anyio.to_thread.run_sync(process.stdout.readline)
            yield msgspec.json.decode(line, type=ServeReady)
        finally:
            process.stdin.close()
            process.wait()


def main() -> None:
    """Until standard input closes."""
    request = msgspec.json.decode(sys.stdin.buffer.readline(), type=ServeRequest)
    context = tls_context(request.certificate_pem, request.private_key_pem)
    shelf = cast(Shelf, OneFile(Path(sys.argv[1])))
    server = Server("127.0.0.1", context, shelf, request.token)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdout.buffer.write(
        msgspec.json.encode(ServeReady(address="127.0.0.1", port=server.server_port)) + b"\n"
    )
    sys.stdout.flush()
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main()
