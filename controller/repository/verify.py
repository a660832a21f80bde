"""Reads stored artifacts back and compares them with what was sent; how far a backup was verified.

Guarantee: an artifact without a problem was read from the store, every byte, and has the size and the
SHA-256 that its manifest will name. Memory is flat.

Non-guarantee: that Neo4j finds the content consistent is checked by the agent, next to the data, before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from controller.repository.errors import NotFound
from controller.repository.manifest import StoredArtifact
from controller.repository.pipeline import Digest
from controller.repository.store import Store

LEVELS = ("StoredObjects", "Chain", "Consistency")
"""How far a backup was verified, each level including those before it: its objects were read back from the
store, Neo4j reads its whole chain, and Neo4j's consistency check found nothing in what a restore gives."""


def level_of(artifacts: Iterable[StoredArtifact]) -> str:
    """The level that all of them reach."""
    found = {artifact.checked or LEVELS[0] for artifact in artifacts}
    return next((level for level in LEVELS if level in found), LEVELS[0])


def problem_of(store: Store, artifact: StoredArtifact, moved: Callable[[int], None]) -> str:
    """What is wrong with the stored bytes; empty when they are right.

    ``moved`` hears of every piece. Raises ``StoreError`` when the store could not be asked.
    """
    digest = Digest()
    try:
        for chunk in store.get(artifact.key):
            digest.feed(chunk)
            moved(len(chunk))
    except NotFound:
        return f"{artifact.key} is not in the store any more"
    digest.finish()
    if digest.size != artifact.size:
        return f"{artifact.key} has {digest.size} bytes in the store instead of {artifact.size}"
    if digest.sha256 != artifact.sha256:
        return f"{artifact.key} was changed in the store: its SHA-256 is not the one that was sent"
    return ""
