"""What every dump works with, and the version of the Neo4j that is installed next to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.agent.destination import Refused
from controller.agent.journal import Journal
from controller.agent.lock import Held
from controller.agent.places import Places
from controller.agent.process import Launch, capture
from controller.agent.surroundings import admin_env, memory_limit
from controller.neo4j import commands
from controller.neo4j.memory import plan_memory
from controller.neo4j.output import last_error
from controller.neo4j.versions import Version, parse_version_output

VERSION_TIMEOUT_SECONDS = 60.0
VERSION_CACHE = ".neo4j-version"


@dataclass(frozen=True, slots=True)
class Workshop:
    """The agent's directories, files and environment; ``say`` writes to the container's log."""

    places: Places
    journal: Journal
    env: Mapping[str, str]
    should_stop: Callable[[], bool]
    say: Callable[[str], None]


def neo4j_version(workshop: Workshop, admin: str, lock: Held) -> Version:
    """The version that ``neo4j-admin`` itself states; asked once for as long as the daemon lives.

    A JVM start costs a second and 128 MiB, and a container's image does not change under a daemon.
    Raises :class:`Refused`, ``TimeoutExpired``, ``OSError``.
    """
    cache = workshop.journal.directory / VERSION_CACHE
    known = parse_version_output(cache.read_text()) if cache.exists() else None
    if known:
        return known
    env = admin_env(workshop.env, plan_memory(memory_limit()).heap)
    launch = Launch(env, workshop.journal.directory, lock)
    answer = capture(launch, commands.version(admin), VERSION_TIMEOUT_SECONDS)
    version = parse_version_output(answer.stdout)
    if version is None:
        said = last_error((answer.stderr + "\n" + answer.stdout).splitlines())
        raise Refused(f"neo4j-admin --version says no version (exit code {answer.exit_code}): {said}")
    if not version.is_supported:
        raise Refused(f"Neo4j {version} is older than 5.26, the first release that can be backed up this way")
    workshop.journal.write(cache.name, str(version).encode())
    return version
