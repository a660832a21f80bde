"""The directories that the agent works in, as this process can open them."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from controller.wire.locations import BACKUPS_DIR, DATA_DIR, REQUESTS_DIR, located

STAGING = ".staging"
CHAINS = ".chains"


@dataclass(frozen=True, slots=True)
class Places:
    """Everything below is made on demand; nothing outside is ever removed."""

    requests: Path
    backups: Path
    data: Path

    @property
    def staging(self) -> Path:
        return self.backups / STAGING

    def run_directory(self, run_id: str) -> Path:
        return self.staging / run_id

    def artifacts(self, run_id: str) -> Path:
        return self.run_directory(run_id) / "artifacts"

    def temporary(self, run_id: str) -> Path:
        return self.run_directory(run_id) / "temp"


def default_places() -> Places:
    """The container's directories, under ``CONTAINER_ROOT`` where that is set."""
    return Places(requests=located(REQUESTS_DIR), backups=located(BACKUPS_DIR), data=located(DATA_DIR))


def tree_size(directory: Path) -> int:
    """Bytes on disk below ``directory``; what vanishes while looking counts nothing."""
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            total += _disk_size(Path(folder, file))
    return total


def _disk_size(file: Path) -> int:
    try:
        found = file.lstat()
    except OSError:
        return 0
    # preallocated or sparse files count as what a copy would carry at most
    return min(found.st_size, found.st_blocks * 512)


def remove_tree(directory: Path) -> None:
    """Gone afterwards, whatever it was; not there is fine."""
    if directory.is_symlink() or directory.is_file():
        directory.unlink(missing_ok=True)
    else:
        shutil.rmtree(directory, ignore_errors=True)
