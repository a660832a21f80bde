"""Chooses a program: ``python -m controller operator|agent|runner|crds|decrypt``."""

from __future__ import annotations

import ctypes
import resource
import sys
from importlib import import_module

PROGRAMS = {
    "operator": "controller.app.main",
    "agent": "controller.agent.main",
    "runner": "controller.runner.main",
    "crds": "controller.api.crds",
    "decrypt": "controller.repository.decrypt",
}
_WITH_SECRETS = frozenset({"agent", "runner", "decrypt"})
_PR_SET_DUMPABLE = 4


def keep_memory_private() -> None:
    """No core dump of this process, and no reading of its memory by another of the same user.

    Both are needed: a handler that cores are piped to does not heed the limit, and children inherit the limit
    only. Where the kernel refuses the second, the first is what there is.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def main(argv: list[str]) -> int:
    """Import only the chosen program: the agent must not pay for the operator's libraries."""
    if not argv or argv[0] not in PROGRAMS:
        sys.stderr.write(f"usage: python -m controller {'|'.join(PROGRAMS)} [...]\n")
        return 64
    if argv[0] in _WITH_SECRETS:
        keep_memory_private()
    code: int = import_module(PROGRAMS[argv[0]]).main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
