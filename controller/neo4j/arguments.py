"""The allow-list for ``options.additionalArgs``.

Guarantee: what :func:`parse_arguments` accepts can neither choose other data, another destination or
another server, nor run a command, nor break the command line; every refusal says what to write
instead. Non-guarantee: while the version is unknown (a floating image tag), version gates are left to
the agent, which asks ``neo4j-admin`` and parses again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from controller.neo4j.versions import Version

_METADATA = ("none", "all", "users", "roles")

_FORBIDDEN = {
    "--from": "the operator chooses the server; leave it out",
    "--to-path": "the destination is spec.storage",
    "--type": "write spec.options.backupType",
    "--compress": "write spec.options.compress",
    "--pagecache": "write spec.options.pageCache",
    "--inspect-path": "it would list artifacts instead of making one; leave it out",
    "--additional-config": "it would replace Neo4j's configuration; configure Neo4j instead",
    "--expand-commands": "it would run commands from the configuration; leave it out",
    "--help": "it would print the usage instead of making a backup; leave it out",
    "-h": "it would print the usage instead of making a backup; leave it out",
}

_SINCE = {
    "--prefer-diff-as-parent": Version(2025, 4),
    "--remote-address-resolution": Version(2025, 9),
    "--parallel-download": Version(2025, 11),
    "--skip-recovery": Version(2025, 11),
}
_USERS_SINCE = Version(2025, 10)


@dataclass(frozen=True, slots=True)
class Extra:
    """The accepted arguments, taken apart, and why others were refused."""

    flags: tuple[str, ...] = ()
    """To be added to the command line as they are."""
    temp_path: str = ""
    """Directory below which a private, empty directory is made for every run."""
    include_metadata: str = ""
    refusals: tuple[str, ...] = ()


@dataclass(slots=True)
class _Draft:
    version: Version | None
    seen: set[str] = field(default_factory=set)
    flags: list[str] = field(default_factory=list)
    temp_path: str = ""
    include_metadata: str = ""


class _Refused(Exception):
    """Private way out of the checks; its text is the refusal."""


def parse_arguments(arguments: Iterable[str], version: Version | None) -> Extra:
    """Check every argument; all refusals are collected, so that one round of editing is enough."""
    draft = _Draft(version)
    refusals: list[str] = []
    for argument in arguments:
        try:
            _accept(draft, argument)
        except _Refused as refused:
            refusals.append(f"additionalArgs: {argument!r} is refused: {refused}")
    return Extra(tuple(draft.flags), draft.temp_path, draft.include_metadata, tuple(refusals))


def _accept(draft: _Draft, argument: str) -> None:
    name, has_value, value = argument.partition("=")
    _refuse_what_is_no_option(argument)
    if name in _FORBIDDEN:
        raise _Refused(_FORBIDDEN[name])
    if name not in _HANDLERS:
        raise _Refused(f"it is not one of {', '.join(sorted(_HANDLERS))}")
    if name in draft.seen:
        raise _Refused("it was given twice; keep one")
    _check_version(draft.version, name)
    _HANDLERS[name](draft, name, value if has_value else None)
    draft.seen.add(name)


def _refuse_what_is_no_option(argument: str) -> None:
    if any(ord(character) < 32 or ord(character) == 127 for character in argument):
        raise _Refused("it holds a control character; leave that out")
    if argument.startswith("@"):
        raise _Refused("argument files are not read; write the options themselves")
    if not argument.startswith("-"):
        raise _Refused("write options as one element, --name=value; databases are chosen by spec.target")


def _check_version(version: Version | None, name: str) -> None:
    since = _SINCE.get(name)
    if since and version and version < since:
        raise _Refused(
            f"Neo4j {version} does not know it, {_release(since)} is the first that does; leave it out"
        )


def _release(version: Version) -> str:
    return str(version).rpartition(".")[0]


def _boolean(draft: _Draft, name: str, value: str | None) -> None:
    if value is not None and value.lower() not in {"true", "false"}:
        raise _Refused(f"write {name}, {name}=true or {name}=false")
    draft.flags.append(name if value is None else f"{name}={value.lower()}")


def _bare(draft: _Draft, name: str, value: str | None) -> None:
    if value is not None and value.lower() != "true":
        raise _Refused(f"write {name} without a value, or leave it out")
    draft.flags.append(name)


def _verbose(draft: _Draft, name: str, value: str | None) -> None:
    """Always set by us, and twice would be an error: accepted, not repeated."""
    if value is not None and value.lower() not in {"true", "false"}:
        raise _Refused(f"write {name}")


def _temp_path(draft: _Draft, name: str, value: str | None) -> None:
    parts = (value or "").split("/")
    if not value or not value.startswith("/") or ".." in parts:
        raise _Refused(f"write {name}=/an/absolute/path")
    draft.temp_path = value


def _include_metadata(draft: _Draft, name: str, value: str | None) -> None:
    kind, has_users, users = (value or "").partition("=")
    if kind.lower() not in _METADATA or (has_users and (kind.lower() != "users" or not users)):
        raise _Refused(f"write {name}= and one of {', '.join(_METADATA)}, or {name}=users=<name>,<name>")
    if has_users and draft.version and draft.version < _USERS_SINCE:
        raise _Refused(f"a list of users is known from Neo4j {_release(_USERS_SINCE)} on; write {name}=users")
    draft.include_metadata = value or ""


_HANDLERS: dict[str, Callable[[_Draft, str, str | None], None]] = {
    "--temp-path": _temp_path,
    "--include-metadata": _include_metadata,
    "--verbose": _verbose,
    "--parallel-recovery": _boolean,
    "--keep-failed": _boolean,
    "--remote-address-resolution": _boolean,
    "--parallel-download": _boolean,
    "--skip-recovery": _boolean,
    "--prefer-diff-as-parent": _bare,
}
