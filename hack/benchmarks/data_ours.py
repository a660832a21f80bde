"""Our data path as a process: what the runner does with an artifact, its bytes read from a file.

Everything behind the first read is the product's: channel, digests of plain and stored bytes, encryption,
store. Prints what the product would write into a manifest.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import anyio
import anyio.to_thread

from controller.repository.encryption.codec import Encryption, open_encryption
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.runner.channel import Channel
from controller.runner.session import AgentSession
from controller.runner.transfer import Carried, carry, open_line
from controller.wire.messages import Artifact
from hack.benchmarks.data_agent import LocalAgent
from hack.benchmarks.data_peers import RECIPIENT

CHUNK = 512 * 1024


class FileLine:
    """Feeds a file where the runner would feed what an agent sends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def feed(self, artifact: Artifact, channel: Channel) -> None:
        await anyio.to_thread.run_sync(self._read, self._directory / artifact.file, channel)

    def _read(self, path: Path, channel: Channel) -> None:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(CHUNK):
                channel.put(chunk)
        channel.finish()


def encryption_of(name: str) -> Encryption | None:
    if name == "AES256":
        return open_encryption("AES256", {"key": base64.b64encode(bytes(range(32)))})
    if name == "ChaCha20":
        return open_encryption("ChaCha20", {"age-recipients": RECIPIENT.encode()})
    return None


def store_of(endpoint: str, ca: str) -> S3Store:
    settings = S3Settings("bucket", endpoint=endpoint, access_key_id="key", secret_access_key="secret")
    return S3Store(replace(settings, ca_certificate=Path(ca).read_bytes()) if ca else settings)


def upload(arguments: argparse.Namespace) -> Carried:
    file, store = Path(arguments.file), store_of(arguments.endpoint, arguments.ca)
    artifact = Artifact(database="neo4j", file=file.name, size=file.stat().st_size)
    encryption = encryption_of(arguments.encryption)
    stages = [encryption.encryptor()] if encryption else []

    async def once() -> Carried:
        if not arguments.through_agent:
            return await carry(FileLine(file.parent), artifact, store, arguments.key, stages=stages)
        session = cast(AgentSession, LocalAgent(file))
        async with open_line(session, "run", lambda: datetime.now(UTC)) as line:
            return await carry(line, artifact, store, arguments.key, stages=stages)

    return anyio.run(once)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("endpoint")
    parser.add_argument("file")
    parser.add_argument("key")
    parser.add_argument("--encryption", default="none")
    parser.add_argument("--ca", default="")
    parser.add_argument("--through-agent", action="store_true", help="fetch the file from an agent over TLS")
    sys.stdout.write(json.dumps(asdict(upload(parser.parse_args()))) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
