"""What stands in for container images: programs and directories of this machine, by image reference.

Guarantee: a reference that nobody registered is an error with a name (ErrImagePull), never a guess.
Non-guarantee: no layers, digests or pull policies.
"""

from __future__ import annotations

import fnmatch
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image: its ENTRYPOINT, CMD, ENV, and the directory trees that it carries."""

    entrypoint: Sequence[str] = ()
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[str, Path] = field(default_factory=dict)
    """Path in the container → file or directory of the host, read-only."""
    writable: Mapping[str, Path] = field(default_factory=dict)
    """Path in the container → directory that every container gets its own writable copy of."""
    user: int | None = None
    """Uid to run as when the cluster itself runs as root; None keeps the cluster's own user."""
    working_dir: str = "/"


class ImageCatalog:
    """Registered images; the pattern registered last wins, ``*`` and ``?`` as in a shell."""

    def __init__(self) -> None:
        self._images: list[tuple[str, LocalImage]] = []

    def add(self, reference_pattern: str, image: LocalImage) -> None:
        self._images.append((reference_pattern, image))

    def find(self, reference: str) -> LocalImage | None:
        for pattern, image in reversed(self._images):
            if fnmatch.fnmatchcase(reference, pattern):
                return image
        return None


def python_image(module: str, checkout: Path, binds: Mapping[str, Path] | None = None) -> LocalImage:
    """``python -m module`` of a checkout, with this interpreter, wherever on the host these live."""
    trees = [checkout, Path(sys.prefix), Path(sys.base_prefix)]
    outermost = [
        tree for tree in trees if not any(tree.is_relative_to(other) for other in trees if other != tree)
    ]
    return LocalImage(
        entrypoint=[sys.executable, "-m", module],
        env={"PYTHONPATH": str(checkout), "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"},
        binds={str(tree): tree for tree in outermost} | dict(binds or {}),
        working_dir=str(checkout),
    )
