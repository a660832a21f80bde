"""The files of a run that may be read: exactly the artifacts that its status lists."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from controller.agent.journal import Journal, is_run_id
from controller.agent.places import Places
from controller.wire.locations import BACKUPS_DIR


@dataclass(frozen=True, slots=True)
class Shelf:
    """The artifacts of one run."""

    places: Places
    run_id: str

    def exists(self) -> bool:
        return is_run_id(self.run_id) and self._journal().status(self.run_id) is not None

    def find(self, file: str) -> Path | None:
        """``None`` for everything that the status does not list; a path in the name is such a thing."""
        status = self._journal().status(self.run_id) if is_run_id(self.run_id) else None
        if status is None or file not in {artifact.file for artifact in status.artifacts}:
            return None
        path = self.places.backups / PurePosixPath(status.path).relative_to(BACKUPS_DIR) / file
        self._journal().touch(self.run_id)
        return path if path.is_file() else None

    def _journal(self) -> Journal:
        return Journal(self.places.requests)
