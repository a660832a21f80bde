"""One word for why nothing was saved, from the lines that agents and Neo4j write."""

from __future__ import annotations

import pytest

from controller.repository.manifest import MissingDatabase
from controller.runner.causes import reason_of


def missing(*reasons: str) -> tuple[MissingDatabase, ...]:
    return tuple(
        MissingDatabase(database=f"db{number}", reason=reason) for number, reason in enumerate(reasons)
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            "graph-0: not enough disk space: 1.0Gi free for /data/backups, about 3.0Gi needed",
            "DataVolumeFull",
        ),
        ("graph-0: java.io.IOException: No space left on device", "DataVolumeFull"),
        ("graph-0: the disk was filling up: the dump was ended at 16Mi free", "DataVolumeFull"),
        ("graph-0: the kernel killed it for memory: heap 512m", "SidecarOutOfMemory"),
        ("graph-0: java.lang.OutOfMemoryError: Java heap space", "SidecarOutOfMemory"),
        ("graph-0: no artifact was written (exit code 137, killed (SIGKILL))", "SidecarOutOfMemory"),
        ("graph-0: the agent was restarted while this run was being dumped", "SidecarRestarted"),
        (
            "graph-0: the pod was replaced during the dump: its agent does not know this run any more",
            "SidecarRestarted",
        ),
        ("graph-0: not heard from for 300s: reset", "AgentLost"),
        ("graph-0: a DIFF backup is not possible: the chain has a gap", "NoParentBackup"),
        ("graph-0: store copy failed", "BackupFailed"),
        ("graph-0: store copy failed; graph-1: No space left on device", "DataVolumeFull"),
    ],
)
def test_what_agents_say_has_a_word(line: str, reason: str) -> None:
    assert reason_of(missing(line)) == reason


def test_databases_that_failed_for_different_reasons_share_no_word() -> None:
    assert reason_of(missing("No space left on device", "store copy failed")) == "BackupFailed"
    assert reason_of(missing("No space left on device", "not enough disk space")) == "DataVolumeFull"
    assert reason_of(()) == "BackupFailed"
