"""The verb ``fetch``: an artifact's bytes on standard output, for where the port cannot be reached."""

from __future__ import annotations

import shutil
import sys

from controller.agent.answers import NO_SUCH_RUN, complain
from controller.agent.artifacts import Shelf
from controller.agent.places import default_places

CHUNK = 256 * 1024


def fetch(run_id: str, file: str, offset: str) -> int:
    """From ``offset`` to the end. Nothing but the file's bytes is written to standard output."""
    path = Shelf(default_places(), run_id).find(file)
    if path is None:
        return complain(f"run {run_id} has no artifact {file}", NO_SUCH_RUN)
    if not offset.isdigit():
        return complain(f"offset {offset!r} is no number", 64)
    with path.open("rb") as source:
        source.seek(int(offset))
        shutil.copyfileobj(source, sys.stdout.buffer, CHUNK)
    sys.stdout.buffer.flush()
    return 0
