"""Where a run's artifacts and temporary files go.

Guarantee: no artifact is written outside ``/data/backups``, not even through a symbolic link; both
directories are private to the run, and the temporary one is empty and not among Neo4j's own files.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from controller.agent.places import CHAINS, STAGING, Places
from controller.wire.locations import BACKUPS_DIR, DATA_DIR, located
from controller.wire.messages import BackupRequest


class Refused(Exception):
    """The request cannot be carried out; the message says why and what to write instead."""


def container_path(request: BackupRequest) -> str:
    """Where the artifacts are, as the container sees it."""
    return request.path or f"{BACKUPS_DIR}/{STAGING}/{request.run_id}/artifacts"


def prepare(request: BackupRequest, places: Places) -> Path:
    """Make the directory that the artifacts go to. Raises :class:`Refused`, ``OSError``."""
    if not request.path:
        directory = places.artifacts(request.run_id)
        directory.mkdir(parents=True, exist_ok=True)
        return directory
    directory = places.backups / below_backups(request.path)
    # before and after: mkdir itself would follow a link that leads out
    for step in (directory.parent, directory):
        if not step.resolve().is_relative_to(places.backups.resolve()):
            raise Refused(f"path {request.path} leads out of {BACKUPS_DIR} through a symbolic link")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def below_backups(path: str) -> PurePosixPath:
    """``path`` relative to ``/data/backups``. Raises :class:`Refused`."""
    pure = PurePosixPath(path)
    is_inside = pure.is_relative_to(BACKUPS_DIR) and ".." not in pure.parts
    relative = pure.relative_to(BACKUPS_DIR) if is_inside else PurePosixPath()
    if not relative.parts or relative.parts[0] in {STAGING, CHAINS} or not path.isprintable():
        raise Refused(
            f"path {path!r} is refused: write a directory below {BACKUPS_DIR}, "
            f"for example {BACKUPS_DIR}/today"
        )
    return relative


def prepare_temporary(request: BackupRequest, places: Places, parent: str) -> Path:
    """An empty private directory: Neo4j wants ``--temp-path`` to exist and to be empty."""
    if not parent:
        directory = places.temporary(request.run_id)
        directory.mkdir(parents=True, mode=0o700)
        return directory
    if _is_inside_the_store(parent):
        raise Refused(f"--temp-path={parent} is among Neo4j's own files: name a directory outside {DATA_DIR}")
    directory = located(parent) / request.run_id
    try:
        directory.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise Refused(
            f"--temp-path={parent} cannot be used ({error.strerror}: {directory}): leave it out, "
            "or name a directory that the sidecar can write to"
        ) from error
    return directory


def _is_inside_the_store(path: str) -> bool:
    pure = PurePosixPath(path)
    return pure.is_relative_to(DATA_DIR) and not pure.is_relative_to(BACKUPS_DIR)
