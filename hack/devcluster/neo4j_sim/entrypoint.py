"""``/startup/docker-entrypoint.sh``: what the image does before it starts the server.

Guarantee: the licence gate, secrets from ``*_FILE``, ``/conf`` over the image's configuration, environment to
configuration, and ``NEO4J_AUTH``, in the image's order and with its refusals.
Non-guarantee: no change of user or ownership, no plugins.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import sys
from collections.abc import MutableMapping, Sequence
from pathlib import Path

from hack.devcluster.neo4j_sim import config, server
from hack.devcluster.neo4j_sim.catalogue import Accounts
from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.places import Installation, located
from hack.devcluster.neo4j_sim.versions import at_least

_AUTH = re.compile(r"^([^/]+)/([^/]+)/?([tT][rR][uU][eE])?$")
_LICENCE = """
In order to use Neo4j Enterprise Edition you must accept the license agreement.

To accept the commercial license agreement set the environment variable
NEO4J_ACCEPT_LICENSE_AGREEMENT=yes

To accept the terms of the evaluation agreement set the environment variable
NEO4J_ACCEPT_LICENSE_AGREEMENT=eval
"""


def main(installation: Installation, arguments: Sequence[str]) -> int:
    command = arguments[0] if arguments else "neo4j"
    try:
        prepare(installation, command, os.environ)
    except CommandFailed as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if command != "neo4j":
        os.execvp(command, list(arguments))
    return server.main(installation, ["console"])


def prepare(installation: Installation, command: str, environment: MutableMapping[str, str]) -> None:
    """Everything but the start. Raises CommandFailed."""
    _read_secret_files(environment)
    accepted = environment.get("NEO4J_ACCEPT_LICENSE_AGREEMENT")
    if "neo4j" in command and accepted not in ("yes", "eval"):
        raise CommandFailed(_LICENCE)
    _copy_conf(installation.conf)
    write_conf(installation, environment)
    auth = environment.get("NEO4J_AUTH", "")
    if environment.get("NEO4J_AUTH_PATH"):
        auth = Path(environment["NEO4J_AUTH_PATH"]).read_text(encoding="utf-8").strip()
    if command == "neo4j":
        _set_password(installation, auth)


def _read_secret_files(environment: MutableMapping[str, str]) -> None:
    for name in [name for name in environment if name.startswith("NEO4J_") and name.endswith("_FILE")]:
        if name.startswith("NEO4J_SIM_"):
            continue
        file = Path(environment[name])
        if not os.access(file, os.R_OK):
            raise CommandFailed(
                f"The secret file '{file}' does not exist or is not readable. "
                "Make sure you have correctly configured docker secrets."
            )
        environment[name.removesuffix("_FILE")] = file.read_text(encoding="utf-8").rstrip("\n")


def _copy_conf(conf: Path) -> None:
    mounted = located("/conf")
    if not mounted.is_dir():
        return
    for file in conf.iterdir():
        file.unlink()
    for file in mounted.rglob("*"):
        if file.is_file() and ".." not in str(file.relative_to(mounted)):
            shutil.copyfile(file, conf / file.name)


def write_conf(installation: Installation, environment: MutableMapping[str, str]) -> None:
    """Defaults of the image where nothing is set, then the environment over everything."""
    file = installation.conf / "neo4j.conf"
    present = config.read([file], expand_commands=True)
    settings = _defaults(installation) | present
    for name, directory in (("logs", "/logs"), ("import", "/import"), ("plugins", "/plugins")):
        if located(directory).is_dir():
            settings.setdefault(f"server.directories.{name}", directory)
    settings |= config.settings_of_environment(environment)
    apoc = {name: value for name, value in settings.items() if name.startswith("apoc.")}
    file.write_text(_lines(settings, apoc), encoding="utf-8")
    if apoc:
        (installation.conf / "apoc.conf").write_text(_lines(apoc, {}), encoding="utf-8")


def _lines(settings: dict[str, str], left_out: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in settings.items() if name not in left_out)


def _defaults(installation: Installation) -> dict[str, str]:
    host = os.environ.get("HOSTNAME") or socket.gethostname()
    defaults = {
        "server.memory.pagecache.size": "512M",
        "server.default_listen_address": "0.0.0.0",
        "server.cluster.advertised_address": f"{host}:6000",
        "server.cluster.raft.advertised_address": f"{host}:7000",
        "server.routing.advertised_address": f"{host}:7688",
    }
    if not at_least(installation.version, 2025, 1):
        defaults["server.discovery.advertised_address"] = f"{host}:5000"
    return defaults


def _set_password(installation: Installation, auth: str) -> None:
    conf = installation.conf / "neo4j.conf"
    if auth == "none":
        with conf.open("a", encoding="utf-8") as file:
            file.write("dbms.security.auth_enabled=false\n")
        return
    if not auth:
        return
    match = _AUTH.match(auth)
    if match is None:
        raise CommandFailed(f"Invalid value for NEO4J_AUTH: '{auth}'")
    user, password = match[1], match[2]
    if password == "neo4j":
        raise CommandFailed("Invalid value for password. It cannot be 'neo4j', which is the default.")
    if user != "neo4j":
        raise CommandFailed("Invalid admin username, it must be neo4j.")
    if password.startswith("-"):
        # The entrypoint hands the password to neo4j-admin as a word; that reads it as an option.
        raise CommandFailed(f"Unknown option: '{password}'", 64)
    settings = config.read([conf], expand_commands=True)
    if len(password) < int(settings.get("dbms.security.auth_minimum_password_length", "8")):
        raise CommandFailed("Invalid value for password. The minimum password length is 8 characters.")
    data = located(settings.get("server.directories.data", "/data"))
    Accounts(data, enabled=True).set_initial(user, password)
