"""A connection that is cut wherever chance has it: one dump, one upload, every byte once."""

from __future__ import annotations

import base64
import random
from datetime import UTC, datetime

import pytest

from controller.repository import pipeline
from controller.repository.encryption.codec import Decryptor, open_encryption
from controller.repository.encryption.keys import read_keys
from controller.repository.stores.memory import MemoryStore
from controller.runner.transfer import Persistence, carry, open_line
from controller.wire.messages import BackupRequest
from tests.support.cutting import CuttingSession
from tests.support.local_agent import LocalAgent
from tests.unit.agent.conftest import Container

SECRET = {"key": base64.b64encode(bytes(range(32)))}
LONGEST = 1_600_000
PER_CONNECTION = 48 * 1024
"""A handshake, an answer's head, and the record that a cut spoils."""


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.asyncio
async def test_a_cut_anywhere_is_resumed_and_nothing_is_sent_or_dumped_twice(
    container: Container, seed: int
) -> None:
    container.tell(size=600_000)
    status = container.dump(BackupRequest(run_id="r1", databases=("neo4j",)))
    (artifact,) = status.artifacts
    agent = LocalAgent(
        "graph-0", container.env | {"CONTAINER_ROOT": str(container.root), "POD_IP": "127.0.0.1"}
    )
    session = CuttingSession(agent, random.Random(seed), LONGEST)
    store, encryption = MemoryStore(), open_encryption("AES256", SECRET)
    stubborn = Persistence(barren_tries=20, pause=0.01)
    async with open_line(session, "r1", lambda: datetime.now(UTC), stubborn) as line:
        carried = await carry(line, artifact, store, "a.backup", stages=[encryption.encryptor()])
        assert line.transport == "tls"
    dumped = (container.root / status.path[1:] / artifact.file).read_bytes()
    stored = pipeline.run(store.get("a.backup"), [Decryptor(read_keys(SECRET))])
    assert b"".join(stored) == dumped
    assert carried.plain_size == artifact.size == len(dumped)
    assert session.connections > 1
    assert session.forwarded < len(dumped) + session.connections * PER_CONNECTION
    assert len(container.backups()) == 1
