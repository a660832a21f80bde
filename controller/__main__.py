"""Chooses a program: ``python -m controller operator|agent|runner|crds|decrypt``."""

from __future__ import annotations

import sys
from importlib import import_module

PROGRAMS = {
    "operator": "controller.app.main",
    "agent": "controller.agent.main",
    "runner": "controller.runner.main",
    "crds": "controller.api.crds",
    "decrypt": "controller.repository.decrypt",
}


def main(argv: list[str]) -> int:
    """Import only the chosen program: the agent must not pay for the operator's libraries."""
    if not argv or argv[0] not in PROGRAMS:
        sys.stderr.write(f"usage: python -m controller {'|'.join(PROGRAMS)} [...]\n")
        return 64
    code: int = import_module(PROGRAMS[argv[0]]).main(argv[1:])
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
