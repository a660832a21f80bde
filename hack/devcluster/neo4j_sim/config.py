"""``neo4j.conf`` and its companions, as the server and ``neo4j-admin`` read them.

Guarantee: the server refuses to start on a setting that its version does not declare; a ``$(…)`` value is
refused without ``--expand-commands``. Non-guarantee: values are not validated, and commands are never run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.settings import is_declared
from hack.devcluster.neo4j_sim.versions import Version

Config = Mapping[str, str]


def read(files: Iterable[Path], expand_commands: bool = False) -> dict[str, str]:
    """Later files win. Raises CommandFailed as the launcher does."""
    merged: dict[str, str] = {}
    for file in files:
        if not file.is_file():
            continue
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise CommandFailed(f"Failed to read config: {error}") from error
        for line in lines:
            name, equals, value = line.strip().partition("=")
            if not equals or name.startswith("#"):
                continue
            if "$(" in value and not expand_commands:
                raise CommandFailed(
                    f"Failed to read config: {name.strip()} is a command, "
                    "but config is not explicitly told to expand it. (Missing --expand-commands argument?)"
                )
            merged[name.strip()] = value.strip()
    return merged


def check_declared(config: Config, version: Version) -> None:
    """Strict validation. Raises CommandFailed for the first setting that nobody declared."""
    if config.get("server.config.strict_validation.enabled", "true").lower() == "false":
        return
    for name in sorted(config):
        if not is_declared(name, version):
            raise CommandFailed(
                f"Failed to read config: Unrecognized setting. No declared setting with name: {name}. "
                "Cleanup the config or disable 'server.config.strict_validation.enabled' to continue."
            )


NOT_SETTINGS = frozenset(
    f"NEO4J_{name}"
    for name in (
        "ACCEPT_LICENSE_AGREEMENT",
        "AUTH",
        "AUTH_PATH",
        "DEBUG",
        "EDITION",
        "HOME",
        "PLUGINS",
        "SHA256",
        "TARBALL",
        "DEPRECATION_WARNING",
    )
)


def settings_of_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The image's rule: ``NEO4J_a_b__c`` is the setting ``a.b_c``; whatever else is called NEO4J_… too.

    That the names of service links (``NEO4J_SERVICE_HOST``) become settings, on which the server then
    fails, is the image's behaviour and the reason for ``enableServiceLinks: false``.
    """
    settings: dict[str, str] = {}
    for name, value in environment.items():
        # The simulator's own knobs have no counterpart in the image.
        if not name.startswith("NEO4J_") or name.startswith("NEO4J_SIM_"):
            continue
        if name in NOT_SETTINGS or name.endswith("_FILE") or not value:
            continue
        setting = name.removeprefix("NEO4J_").replace("_", ".").replace("..", "_")
        if not setting[:1].isdigit():
            settings[setting] = value
    return settings
