"""Which commands and options a version of ``neo4j-admin`` has.

Guarantee: an option or command appears in exactly the versions that document it.
Non-guarantee: commands that have nothing to do with backups are known by name and do nothing.
"""

from __future__ import annotations

from hack.devcluster.neo4j_sim import names, sizes
from hack.devcluster.neo4j_sim.picocli import CommandSpec, Option, Positional
from hack.devcluster.neo4j_sim.versions import Version, at_least

_COMMON = (
    Option("--expand-commands", "lenient-flag"),
    Option("--verbose", "lenient-flag"),
    Option("--additional-config", label="<file>"),
)
_METADATA = ("none", "all", "users", "roles")
_SUMMARY = {
    "backup": "Perform an online backup from a running Neo4j enterprise server.",
    "inspect": "Lists the metadata stored in the header of backup files.",
    "aggregate": "Aggregates a chain of backup artifacts into a single artifact.",
    "validate": "Validate that the shard chains of a sharded property database fit together.",
    "check": "Check the consistency of a database.",
    "restore": "Restore a backed up database.",
    "info": "Print information about a Neo4j database store.",
}


def _metadata_check(version: Version) -> Option:
    if not at_least(version, 2025, 10):
        return Option("--include-metadata", label="<include-metadata>", choices=_METADATA)

    def check(text: str) -> None:
        if text.lower() not in _METADATA and not text.lower().startswith("users="):
            raise ValueError(f"expected one of [{', '.join(_METADATA)}] but was '{text}'")

    return Option("--include-metadata", label="<include-metadata>", check=check)


def _address_check(text: str) -> None:
    host, colon, port = text.rpartition(":")
    if not text or (colon and (not host or not port.isdigit())):
        raise ValueError(f"'{text}' is not a valid host:port")


_BACKUP_SINCE = (
    ((2025, 4), Option("--prefer-diff-as-parent", "flag")),
    ((2025, 9), Option("--remote-address-resolution", "bool")),
    ((2025, 11), Option("--parallel-download", "bool")),
    ((2025, 11), Option("--skip-recovery", "bool")),
)


def _backup(version: Version) -> CommandSpec:
    options = (
        *_COMMON,
        Option("--compress", "bool"),
        Option("--keep-failed", "bool"),
        Option("--parallel-recovery", "bool"),
        _metadata_check(version),
        Option("--inspect-path", label="<path>"),
        Option("--pagecache", label="<size>", check=sizes.setting_bytes),
        Option("--temp-path", label="<path>"),
        Option("--to-path", label="<path>"),
        Option("--type", label="<type>", choices=("FULL", "DIFF", "AUTO")),
        Option("--from", "list", label="<host:port>", check=_address_check),
        *(option for since, option in _BACKUP_SINCE if at_least(version, *since)),
    )
    databases = Positional("database", many=True, check=names.normalized)
    return CommandSpec(("database", "backup"), _SUMMARY["backup"], options, databases)


def _inspect() -> CommandSpec:
    options = (
        *_COMMON,
        Option("--empty", "lenient-flag"),
        Option("--latest-backup", "lenient-flag"),
        Option("--latest-chain", "lenient-flag"),
        Option("--show-metadata", "lenient-flag"),
        Option("--database", label="<database>"),
        Option("--format", label="<format>", choices=("JSON", "TABULAR")),
    )
    return CommandSpec(
        ("backup", "inspect"), _SUMMARY["inspect"], options, Positional("backup-path", required=True)
    )


def _aggregate(words: tuple[str, str]) -> CommandSpec:
    options = (
        *_COMMON,
        Option("--keep-old-backup", "bool"),
        Option("--parallel-recovery", "bool"),
        Option("--from-path", label="<path>", required=True),
        Option("--temp-path", label="<path>"),
    )
    return CommandSpec(words, _SUMMARY["aggregate"], options, Positional("database", check=names.normalized))


def _check() -> CommandSpec:
    options = (
        *_COMMON,
        Option("--force", "lenient-flag"),
        Option("--check-counts", "bool"),
        Option("--check-graph", "bool"),
        Option("--check-indexes", "bool"),
        Option("--check-property-owners", "bool"),
        Option("--max-off-heap-memory", label="<size>"),
        Option("--report-path", label="<path>"),
        Option("--threads", label="<number of threads>", check=int),
        Option("--from-path-data", label="<path>"),
        Option("--from-path-txn", label="<path>"),
        Option("--from-path", label="<path>"),
        Option("--temp-path", label="<path>"),
    )
    database = Positional("database", required=True, check=names.normalized)
    return CommandSpec(("database", "check"), _SUMMARY["check"], options, database)


def _restore(version: Version) -> CommandSpec:
    options: tuple[Option, ...] = (
        *_COMMON,
        Option("--overwrite-destination", "bool"),
        Option("--from-path", "list", label="<path>", required=True),
        Option("--restore-until", label="<recovery-criteria>"),
        Option("--temp-path", label="<path>"),
        Option("--to-path-data", label="<path>"),
        Option("--to-path-txn", label="<path>"),
    )
    if at_least(version, 2025, 2):
        options = (*options, Option("--source-database", label="<name>"))
    database = Positional("database", check=names.normalized)
    return CommandSpec(("database", "restore"), _SUMMARY["restore"], options, database)


def _info() -> CommandSpec:
    options = (*_COMMON, Option("--from-path", label="<path>"), Option("--format", label="<format>"))
    return CommandSpec(("database", "info"), _SUMMARY["info"], options, Positional("database"))


def _validate() -> CommandSpec:
    options = (
        *_COMMON,
        Option("--database", label="<database>", required=True),
        Option("--format", label="<format>", choices=("JSON", "TABULAR")),
        Option("--from-path", label="<path>", required=True),
    )
    return CommandSpec(("backup", "validate"), _SUMMARY["validate"], options)


NOT_SIMULATED = ("copy", "dump", "import", "load", "migrate", "upload")


def commands(version: Version) -> dict[tuple[str, str], CommandSpec]:
    """Every simulated leaf command of ``version``, by its two words."""
    specs = [_backup(version), _check(), _restore(version), _info(), _inspect()]
    specs.append(_aggregate(("database", "aggregate-backup")))
    if at_least(version, 2025, 1):
        specs.append(_aggregate(("backup", "aggregate")))
    if at_least(version, 2025, 12):
        specs.append(_validate())
    return {(spec.words[0], spec.words[1]): spec for spec in specs}
