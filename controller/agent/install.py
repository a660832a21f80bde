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
    # Entry by entry, since the volume's own directory belongs to root, whose mode and times are not ours
    # to set; and each anew, since an attempt before this one may have been cut short.
    for entry in source.iterdir():
        shutil.rmtree(target / entry.name, ignore_errors=True)
        shutil.copytree(entry, target / entry.name, symlinks=True)
    return 0
