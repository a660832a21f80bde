"""One word for why nothing could be saved, from what the agents say in a line.

Guarantee: pure; a word is given only when every database failed for the same kind of reason on some server.
Non-guarantee: Neo4j's texts are no API; what is not recognised is ``BackupFailed``, with the text beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from controller.repository.manifest import MissingDatabase

FAILED = "BackupFailed"
_KINDS = (
    (
        "DataVolumeFull",
        re.compile(r"not enough disk space|no space left|disk quota|disk was filling up", re.I),
    ),
    ("SidecarOutOfMemory", re.compile(r"killed it for memory|OutOfMemoryError|exit code 137\b", re.I)),
    (
        "SidecarRestarted",
        re.compile(r"agent was (restarted|asked to stop)|does not know this run any more", re.I),
    ),
    ("AgentLost", re.compile(r"not heard from for", re.I)),
    ("NoParentBackup", re.compile(r"a DIFF backup is not possible", re.I)),
)
"""What a line of an agent or of Neo4j tells of; the first that fits counts."""


def reason_of(missing: Sequence[MissingDatabase]) -> str:
    """CamelCase, for the condition."""
    shared = (
        name for name, pattern in _KINDS if missing and all(pattern.search(one.reason) for one in missing)
    )
    return next(shared, FAILED)
