"""The token and the key of a transfer are in memory only: in no command line, environment, log or file."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from controller.repository.stores.directory import DirectoryStore
from controller.runner import transfer
from controller.runner.credentials import TransferCredentials, make_credentials
from controller.wire.messages import Outcome
from tests.support.leaks import PRIVATE_KEY_MARKS, Planted, watched
from tests.unit.runner.test_with_real_agents import back_up, cluster_with_agents

pytestmark = pytest.mark.asyncio


def files_below(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in directory.rglob("*") if path.is_file()]


async def test_no_trace_of_a_transfer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    made: list[TransferCredentials] = []

    def remembered(run_id: str, now: datetime) -> TransferCredentials:
        made.append(make_credentials(run_id, now))
        return made[-1]

    monkeypatch.setattr(transfer, "make_credentials", remembered)
    (tmp_path / "repository").mkdir()
    with cluster_with_agents(tmp_path) as (_, agents), watched() as processes:
        result = await back_up(agents, DirectoryStore(tmp_path / "repository"))
    assert (result.outcome, result.transport) == (Outcome.SUCCEEDED, "tls")
    assert made
    lines = [line for one in made for line in one.private_key_pem.splitlines()[1:-1]]
    planted = Planted(
        {f"token {number}": one.token for number, one in enumerate(made)}
        | {f"key, line {number}": line for number, line in enumerate(lines)}
    )
    said = "".join(capfd.readouterr()).encode() + result.error.encode()
    seen = [said, *(part for pair in processes.seen for part in pair)]
    seen += files_below(tmp_path)
    assert any(b"agent\0serve" in command for command, _ in processes.seen)
    for data in seen:
        assert planted.found_in(data) == []
        assert not any(mark in data for mark in PRIVATE_KEY_MARKS)
