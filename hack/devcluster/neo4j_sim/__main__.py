"""``python -m hack.devcluster.neo4j_sim install DIR --version V [--python PATH]``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hack.devcluster.neo4j_sim.image import install


def main() -> None:
    parser = argparse.ArgumentParser(prog="neo4j_sim")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("install", help="lay the simulated image out below DIR")
    command.add_argument("directory", type=Path)
    command.add_argument("--version", required=True)
    command.add_argument("--python", default=sys.executable, help="interpreter inside the container")
    options = parser.parse_args()
    print(install(options.directory, options.version, options.python).home)


main()
