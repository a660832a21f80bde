"""The verb ``topology``: the DBMS as this pod's own server sees it.

Guarantee: the password goes through the environment only and never into the answer; a look that failed
is an answer with an error, never an empty DBMS. While a dump runs no second JVM is started: the answer
says that the server is busy, and another agent can be asked.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import replace

from controller.agent.answers import answer
from controller.agent.destination import Refused
from controller.agent.journal import Journal
from controller.agent.lock import JVM_LOCK, Busy, Held, held
from controller.agent.places import default_places
from controller.agent.process import Launch, capture
from controller.agent.surroundings import (
    Credentials,
    NotFound,
    configuration,
    credentials,
    program,
    shell_env,
)
from controller.agent.workshop import Workshop, neo4j_version
from controller.neo4j import commands
from controller.neo4j.output import last_error
from controller.neo4j.topology import HostedDatabase, parse_topology
from controller.wire.messages import DatabaseRow, TopologyAnswer

PATIENCE_SECONDS = 15.0
TIMEOUT_SECONDS = 60.0


def topology() -> int:
    """Answers always, and with exit code 0: the error is part of the answer."""
    answer(look(os.environ))
    return 0


def look(env: Mapping[str, str]) -> TopologyAnswer:
    login = credentials(env)
    if login is None:
        return TopologyAnswer(error="no credentials: the sidecar has neither NEO4J_AUTH nor NEO4J_PASSWORD")
    places = default_places()
    try:
        with held(places.requests / JVM_LOCK, PATIENCE_SECONDS) as lock:
            workshop = Workshop(places, Journal(places.requests), env, lambda: False, _quiet)
            return _ask(env, login, workshop, replace(lock, by_daemon=False))
    except Busy:
        return TopologyAnswer(error="busy: a dump is running in this sidecar")
    except (NotFound, Refused, OSError) as error:
        return TopologyAnswer(error=str(error))
    except subprocess.TimeoutExpired as late:
        return TopologyAnswer(error=f"no answer from the database within {late.timeout:.0f}s")


def _ask(env: Mapping[str, str], login: Credentials, workshop: Workshop, lock: Held) -> TopologyAnswer:
    settings = configuration(env)
    launch = Launch(shell_env(env, login), workshop.places.requests, lock)
    command = commands.show_databases(program("cypher-shell", env), settings.bolt_address())
    shown = capture(launch, command, TIMEOUT_SECONDS)
    rows = parse_topology(shown.stdout)
    if shown.exit_code or not rows:
        said = last_error((shown.stdout + "\n" + shown.stderr).splitlines())
        reason = f"cypher-shell ended with exit code {shown.exit_code}: {said or 'no databases'}"
        return TopologyAnswer(error=_without_secret(reason, login))
    version = neo4j_version(workshop, program("neo4j-admin", env), lock)
    return TopologyAnswer(
        databases=tuple(map(_row, rows)),
        neo4j_version=str(version),
        server_address=settings.advertised_address() or own_address(rows, socket.getfqdn()),
    )


def own_address(rows: list[HostedDatabase], host: str) -> str:
    """Which of the rows' addresses is this pod: the only one, or the one that begins with its name."""
    addresses = sorted({row.address for row in rows if row.address})
    if len(addresses) == 1:
        return addresses[0]
    short = host.partition(".")[0]
    mine = [address for address in addresses if address.partition(":")[0].partition(".")[0] == short]
    return mine[0] if len(mine) == 1 else ""


def _row(row: HostedDatabase) -> DatabaseRow:
    return DatabaseRow(
        name=row.name,
        type=row.type,
        address=row.address,
        role=row.role,
        writer=row.writer,
        requested_status=row.requested_status,
        current_status=row.current_status,
        status_message=row.status_message,
        database_id=row.database_id,
        last_committed_tx=row.last_committed_tx,
        replication_lag=row.replication_lag,
    )


def _without_secret(text: str, login: Credentials) -> str:
    return text.replace(login.password, "***") if login.password else text


def _quiet(_: str) -> None:
    """Standard output belongs to the answer."""
