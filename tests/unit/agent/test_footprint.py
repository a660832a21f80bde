"""What the agent costs a database's pod: 40 MiB while it has nothing to do, and no more while it serves."""

from __future__ import annotations

import re
from pathlib import Path

from controller.wire.messages import BackupRequest
from tests.unit.agent.conftest import Container, until
from tests.unit.agent.test_serve import Listener, a_request, serving

MIB = 1024**2
LIMIT = 40 * MIB
SIZE = 100 * MIB


def resident(pid: int, what: str) -> int:
    """``VmRSS`` is now, ``VmHWM`` the most there was."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(rf"^{what}:\s+(\d+) kB$", status, re.MULTILINE)
    assert match
    return int(match[1]) * 1024


def test_the_waiting_agent_is_small_also_after_a_dump(container: Container) -> None:
    daemon = container.start("run")
    until((container.root / "backup-requests/backup.status").exists, 60)
    assert resident(daemon.pid, "VmHWM") < LIMIT
    assert container.journal.add(BackupRequest(run_id="r1", databases=("neo4j",)))
    until(lambda: container.journal.status("r1"), 60)
    assert resident(daemon.pid, "VmRSS") < LIMIT


def test_serving_takes_no_more_memory_for_a_larger_artifact(container: Container) -> None:
    status = container.dump(BackupRequest(run_id="r1", databases=("neo4j",)))
    artifact = container.root / status.path[1:] / status.artifacts[0].file
    with artifact.open("ab") as file:
        file.truncate(SIZE)
    process, ready = serving(container, a_request())
    listener = Listener(process, ready.port, artifact)
    assert len(listener.ask(listener.url)[2]) == SIZE
    assert resident(process.pid, "VmHWM") < LIMIT
