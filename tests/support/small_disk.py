"""A disk that is really small: a tmpfs, where the kernel lets this user mount one.

Guarantee: it is gone when the context is left, with everything on it. Non-guarantee: where mounting is
refused (no root, a plain container) the test is skipped, and says so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(directory: Path, size: int) -> Iterator[None]:
    """``directory`` is a volume of ``size`` bytes."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def free(directory: Path) -> int:
    """Bytes that are free there."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize
