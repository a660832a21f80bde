"""The verb ``install``: copies the agent's bundle out of the operator's image, as an init container."""

from __future__ import annotations

import shutil

from controller.agent.answers import complain
from controller.wire.locations import AGENT_BUNDLE, AGENT_BUNDLE_SOURCE, located


def install(directory: str) -> int:
    """Safe to repeat: an init container may run again."""
    source, target = located(AGENT_BUNDLE_SOURCE), located(directory or AGENT_BUNDLE)
    if not source.is_dir():
        return complain(f"there is no agent bundle at {source}: this image was built without it")
    # modes only: changing times may be forbidden on the volume, and nobody needs them
    shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True, copy_function=shutil.copy)
    return 0
