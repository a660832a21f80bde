"""What the installed wrapper scripts start: ``<home> <program> <arguments…>``."""

from __future__ import annotations

import sys
from pathlib import Path

from hack.devcluster.neo4j_sim import places


def main(words: list[str]) -> int:
    installation = places.installation(Path(words[0]))
    program, arguments = words[1], words[2:]
    # Imported one by one: a tool that is called every few seconds should not load the server.
    match program:
        case "neo4j-admin":
            from hack.devcluster.neo4j_sim import admin

            return admin.main(installation, arguments)
        case "cypher-shell":
            from hack.devcluster.neo4j_sim import shell

            return shell.main(installation, arguments)
        case "neo4j":
            from hack.devcluster.neo4j_sim import server

            return server.main(installation, arguments)
        case _:
            from hack.devcluster.neo4j_sim import entrypoint

            return entrypoint.main(installation, arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
