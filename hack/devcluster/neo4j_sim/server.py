"""``bin/neo4j console``: one server until SIGTERM.

Guarantee: an undeclared setting, a port in use or a bad topology document ends the start with exit code 1 and
the reason on standard error. SIGTERM ends it with 143, as a JVM does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from types import FrameType

from hack.devcluster.neo4j_sim import config, topology
from hack.devcluster.neo4j_sim.dbms import Dbms
from hack.devcluster.neo4j_sim.errors import CommandFailed, ServerError
from hack.devcluster.neo4j_sim.listeners import Listeners
from hack.devcluster.neo4j_sim.places import Installation, located


def _log(text: str) -> None:
    now = datetime.now(UTC)
    print(f"{now:%Y-%m-%d %H:%M:%S}.{now.microsecond // 1000:03d}+0000 INFO  {text}", flush=True)


def main(installation: Installation, arguments: Sequence[str]) -> int:
    verb = arguments[0] if arguments else "console"
    if verb in ("version", "--version"):
        print(installation.version_text)
        return 0
    if verb not in ("console", "start"):
        print(f"Unmatched argument at index 0: '{verb}'", file=sys.stderr)
        return 2
    try:
        settings = config.read([installation.conf / "neo4j.conf"], "--expand-commands" in arguments)
        config.check_declared(settings, installation.version)
        return _serve(installation, settings)
    except (CommandFailed, ServerError, OSError, ValueError, KeyError) as error:
        print(error, file=sys.stderr)
        return 1


def _serve(installation: Installation, settings: config.Config) -> int:
    _log("Starting...")
    data = located(settings.get("server.directories.data", "/data"))
    dbms = Dbms(topology.load(), topology.own_name(), data, settings)
    listeners = Listeners(dbms, installation.version_text)
    dbms.start()
    for line in listeners.start():
        _log(line)
    _log(f"======== Neo4j {installation.version_text} ========")
    _log(f"id: {dbms.own.id}")
    _log("Started.")

    def terminate(_signal: int, _frame: FrameType | None) -> None:
        dbms.stopping.set()

    signal.signal(signal.SIGTERM, terminate)
    signal.signal(signal.SIGINT, terminate)
    dbms.stopping.wait()
    _log("Neo4j Server shutdown initiated by request")
    listeners.stop()
    for replica in dbms.replicas.values():
        replica.close()
    _log("Stopped.")
    return 143
