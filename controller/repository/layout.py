"""The keys of a repository: a pure function from what a thing is to where it is.

Guarantee: nothing else in this project spells a key, and everything here yields keys that every store
takes. The layout is part of the format: an artifact keeps Neo4j's own file name in a directory of its
chain, so that ``neo4j-admin database restore`` works on it by hand.

Non-guarantee: a key says nothing about existence; only a run's manifest makes its artifacts real.
"""

from __future__ import annotations

import re

from controller.repository.errors import StoreError
from controller.repository.store import check_key

FORMAT_VERSION = 1
IDENTITY = "repository.json"
PROBE = "probe.json"
"""Written before a run starts, to learn that writing works; one key, so that it never piles up."""
RUNS = "runs"
DATABASES = "databases"
ARCHIVE = "archive"
"""A repository of its own, in which what retention archived keeps its keys."""
INTENTS = "intents"
"""What is being written or removed: whatever is named here and in no manifest may go."""

_ARTIFACT_TIME = re.compile(r"-(\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2})\.backup$")


def root(path: str, namespace: str, backup: str) -> str:
    """Where one backup's repository begins, below the bucket or the volume."""
    return _key(*(part for part in path.split("/") if part), namespace, backup)


def manifest(run_id: str) -> str:
    """The commit point of a run."""
    return _key(RUNS, f"{run_id}.json")


def run_id_of(key: str) -> str | None:
    """The run that ``key`` is the manifest of; ``None`` for anything else."""
    name = key.removeprefix(f"{RUNS}/")
    return name.removesuffix(".json") if name != key and name.endswith(".json") and "/" not in name else None


def archived(key: str) -> str:
    """Where ``key`` is moved to by deletePolicy: Archive."""
    return check_key(f"{ARCHIVE}/{key}")


def intent(name: str) -> str:
    """The note about what ``name`` writes or removes."""
    return _key(INTENTS, f"{name}.json")


def new_chain(full_artifact: str, run_id: str) -> str:
    """The id of the chain that ``full_artifact`` starts.

    Neo4j's names have a resolution of one second, so two runs can produce the same name: the run's id
    keeps their chains apart, and its time first keeps them in order for whoever lists a directory.
    """
    match = _ARTIFACT_TIME.search(full_artifact)
    return f"{match.group(1) if match else 'undated'}-{run_id[:8]}"


def artifact(database: str, chain: str, file: str) -> str:
    """Where one ``.backup`` file lives."""
    return _key(DATABASES, database, chain, file)


def _key(*segments: str) -> str:
    """Names come from outside: none may bring a separator, and so a level, of its own."""
    for segment in segments:
        if "/" in segment:
            raise StoreError(f"{segment!r} cannot be part of a key")
    return check_key("/".join(segments))
