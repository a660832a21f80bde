"""``restore``, ``aggregate``, ``check`` and ``info``: what is done with artifacts and offline stores.

Guarantee: every artifact that is used is verified whole first; a store is put in place only when complete;
a database that a running server has open is never touched.
Non-guarantee: ``check`` finds what a checksum finds; there are no indexes or counts to be inconsistent.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from hack.devcluster.neo4j_sim import artifact, backup, chain, names, store
from hack.devcluster.neo4j_sim.artifact import Corrupt, Header
from hack.devcluster.neo4j_sim.chain import Artifact, NoChain
from hack.devcluster.neo4j_sim.console import Console, now_utc
from hack.devcluster.neo4j_sim.errors import CommandFailed
from hack.devcluster.neo4j_sim.places import located
from hack.devcluster.neo4j_sim.store import Frame, Inconsistent, Store
from hack.devcluster.neo4j_sim.versions import at_least, parse_version

_UNTIL_TIME = re.compile(r"^\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}$")


def data_directory(console: Console) -> Path:
    configured = console.config.get("server.directories.data")
    return located(configured) if configured else located("/data")


def store_of(console: Console, database: str) -> Store:
    return Store(data_directory(console) / "databases" / database)


def _verified(items: Sequence[Artifact]) -> None:
    for item in items:
        try:
            artifact.verify(item.path)
        except Corrupt as error:
            raise CommandFailed(f"Backup artifact '{item.path}' is corrupt: {error}") from error


def replay(items: Sequence[Artifact]) -> Iterator[Frame]:
    """The chain's transactions, each once."""
    last = 0
    for item in items:
        for frame in artifact.frames(item.path):
            if frame.tx > last:
                last = frame.tx
                yield frame


def _one(file: Path) -> Artifact:
    if not file.is_file():
        raise CommandFailed(f"Path '{file}' does not exist.")
    try:
        return Artifact(file, artifact.read_header(file))
    except Corrupt as error:
        raise CommandFailed(f"Failed to read backup file '{file}': {error}") from error


def _chain_to_file(console: Console, file: Path) -> list[Artifact]:
    last = _one(file)
    try:
        return chain.chain_to(last, chain.scan(file.parent), console.installation.version)
    except NoChain as error:
        raise CommandFailed(str(error)) from error


def _latest(console: Console, folder: Path, database: str) -> list[Artifact]:
    try:
        return chain.latest_chain(database, chain.scan(folder), console.installation.version)
    except NoChain as error:
        raise CommandFailed(str(error)) from error


def _require_directory(path: str) -> None:
    if path and not Path(path).is_dir():
        raise CommandFailed(f"Storage staging path does not exist: {path}")


# --- aggregate -----------------------------------------------------------------------------------


def aggregate(console: Console) -> int:
    parsed = console.parsed
    source = parsed.value("--from-path")
    backup.refuse_cloud(source)
    _require_directory(parsed.value("--temp-path"))
    path = Path(source)
    if not path.is_dir():
        _aggregate_chain(console, _chain_to_file(console, path), path.parent)
        return 0
    if not parsed.positionals:
        raise CommandFailed("A database name is required when --from-path is a folder.")
    found = sorted({item.header.name for item in chain.scan(path)})
    chosen = names.matching(names.normalized(parsed.positionals[0]), found)
    if not chosen:
        raise CommandFailed(f"No backup of database '{parsed.positionals[0]}' was found in '{path}'.")
    for database in chosen:
        _aggregate_chain(console, _latest(console, path, database), path)
    return 0


def _aggregate_chain(console: Console, items: list[Artifact], folder: Path) -> None:
    _verified(items)
    last = items[-1].header
    if len(items) == 1 and last.recovered:
        console.log(f"Nothing to aggregate for database '{last.name}'.")
        return
    path, moment = backup.free_name(folder, last.name)
    # The artifact keeps the time of its content's last backup in the chain order: its own creation.
    header = _aggregated(items, moment, console.installation.version_text)
    artifact.write(path, header, (frame.pack() for frame in replay(items)))
    if not console.parsed.flag("--keep-old-backup"):
        for item in items:
            item.path.unlink()
    console.log(
        f"Successfully aggregated backup chain of database '{last.name}', new artifact: '{path.as_uri()}'."
    )


def _aggregated(items: Sequence[Artifact], moment: datetime, version: str) -> Header:
    first, last = items[0].header, items[-1].header
    return Header(
        name=last.name,
        id=last.id,
        store_id=first.store_id,
        time=f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        full=True,
        compressed=first.compressed,
        lowest=1,
        highest=last.highest,
        recovered=True,
        version=version,
        store_size=last.store_size,
        metadata=last.metadata,
    )


# --- check ---------------------------------------------------------------------------------------


def check(console: Console) -> int:
    parsed = console.parsed
    database = names.normalized(parsed.positionals[0])
    source = parsed.value("--from-path")
    fault = console.faults.for_database("check", database)
    backup.refuse_cloud(source)
    _require_directory(parsed.value("--temp-path"))
    console.log(f"Starting consistency check of database '{database}'")
    if fault and not fault.get("report", True):
        raise CommandFailed(fault["message"], int(fault.get("exit", 1)))
    if fault:
        return _inconsistent(console, fault.get("message", "inconsistencies were found"))
    try:
        store.digest(_frames_to_check(console, database, source))
    except (Inconsistent, Corrupt) as error:
        return _inconsistent(console, str(error))
    console.log("Consistency check completed, no inconsistencies found.")
    return 0


def _frames_to_check(console: Console, database: str, source: str) -> Iterator[Frame]:
    if not source:
        offline = store_of(console, database)
        if not offline.exists():
            raise CommandFailed(f"Database does not exist: {database}")
        with_lock(offline, database)
        return offline.frames()
    path = Path(source)
    if not path.is_dir() and not at_least(console.installation.version, 2025, 9):
        raise CommandFailed(f"Provided path '{source}' is not a directory.")
    items = _latest(console, path, database) if path.is_dir() else [_one(path)]
    if len(items) > 1 or not items[-1].header.full:
        raise CommandFailed(
            f"Database '{database}' cannot be checked: differential backups must be aggregated first."
        )
    if not items[0].header.recovered:
        raise CommandFailed(f"Database '{database}' cannot be checked: the backup has not been recovered.")
    if not console.parsed.value("--temp-path"):
        _require_writable(path if path.is_dir() else path.parent)
    artifact.verify(items[0].path)
    return artifact.frames(items[0].path)


def _require_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryDirectory(dir=folder):
            return
    except OSError as error:
        raise CommandFailed(f"java.nio.file.FileSystemException: {folder}: {error.strerror}") from error


def _inconsistent(console: Console, reason: str) -> int:
    folder = Path(console.parsed.value("--report-path", "."))
    report = folder / f"inconsistencies-{now_utc():%Y-%m-%d.%H.%M.%S}.report"
    report.write_text(reason + "\n", encoding="utf-8")
    raise CommandFailed(f"Inconsistencies found. See '{report.absolute()}' for details.")


# --- restore -------------------------------------------------------------------------------------


def restore(console: Console) -> int:
    parsed = console.parsed
    given = [Path(text) for text in parsed.many("--from-path")]
    for text in parsed.many("--from-path"):
        backup.refuse_cloud(text)
    _require_directory(parsed.value("--temp-path"))
    chains = [_chain_to_restore(console, path) for path in given]
    if parsed.positionals and len(chains) > 1:
        raise CommandFailed("A target database name is allowed only with a single backup artifact.")
    for items in chains:
        name = names.normalized(parsed.positionals[0]) if parsed.positionals else items[-1].header.name
        _restore_chain(console, items, name)
    return 0


def _chain_to_restore(console: Console, path: Path) -> list[Artifact]:
    if not path.is_dir():
        return _chain_to_file(console, path)
    if not at_least(console.installation.version, 2025, 2):
        raise CommandFailed(f"Provided path '{path}' is a directory, but restore requires a FILE.")
    found = sorted({item.header.name for item in chain.scan(path)})
    source = console.parsed.value("--source-database").lower()
    if not source and len(found) != 1:
        raise CommandFailed("The folder holds several databases: --source-database is required.")
    return _latest(console, path, source or found[0])


def _until(criterion: str) -> Callable[[Frame], bool]:
    """Whether a transaction still belongs to the restored database; the criterion itself is exclusive."""
    if criterion.isdigit():
        return lambda frame: frame.tx < int(criterion)
    if not _UNTIL_TIME.match(criterion):
        raise CommandFailed(f"Invalid recovery criteria '{criterion}'.")
    moment = datetime.strptime(criterion, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    return lambda frame: frame.time_ms < moment.timestamp() * 1000


def _check_version(console: Console, header: Header) -> None:
    if parse_version(header.version)[:2] > console.installation.version[:2]:
        raise CommandFailed(
            f"The backup was made by Neo4j {header.version} and cannot be restored by an earlier version."
        )


def with_lock(target: Store, database: str) -> None:
    """Raises CommandFailed when a running server has the database open."""
    lock = target.directory / "database_lock"
    if not lock.exists():
        return
    with lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandFailed(
                f"The database is in use. Stop database '{database}' and try again.", 3
            ) from error


def _restore_chain(console: Console, items: list[Artifact], name: str) -> None:
    target = store_of(console, name)
    _check_version(console, items[-1].header)
    if target.exists():
        with_lock(target, name)
        if not console.parsed.flag("--overwrite-destination"):
            raise CommandFailed(f"Database with name [{name}] already exists at {target.directory}")
    _verified(items)
    criterion = console.parsed.value("--restore-until")
    keep = _until(criterion) if criterion else lambda _frame: True
    header = items[-1].header
    incoming = Store(target.directory.with_name(f"{name}.restoring"))
    incoming.create({"id": header.id, "storeId": header.store_id, "seed": header.name, "restored": True})
    incoming.append(frame for frame in replay(items) if keep(frame))
    shutil.rmtree(target.directory, ignore_errors=True)
    incoming.directory.rename(target.directory)
    _write_metadata(console, name, items[-1].header.metadata)
    console.log(f"Restore of database '{name}' completed successfully.")


def _write_metadata(console: Console, name: str, metadata: str) -> None:
    if metadata:
        script = data_directory(console) / "scripts" / name / "restore_metadata.cypher"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(metadata, encoding="utf-8")


# --- info ----------------------------------------------------------------------------------------


def info(console: Console) -> int:
    root = Path(console.parsed.value("--from-path") or data_directory(console) / "databases")
    pattern = console.parsed.positionals[0].lower() if console.parsed.positionals else "*"
    found = names.matching(pattern, sorted(path.name for path in root.iterdir() if path.is_dir()))
    for name in found:
        offline = Store(root / name)
        with_lock(offline, name)
        console.say(f"Database name:                {name}")
        console.say("Store format version:         block-block-1.1")
        console.say(f"Store size:                   {offline.end_of(offline.last_tx())}")
        console.say(f"Last committed transaction id:{offline.last_tx()}")
        console.say("Store needs recovery:         false\n")
    return 0


def print_digest(console: Console, database: str) -> int:
    """Not Neo4j's: what two copies of a database are compared by. Reads a live store too."""
    known = store_of(console, database)
    if not known.exists():
        raise CommandFailed(f"Database does not exist: {database}")
    found = store.digest(known.frames())
    console.say(f'{{"database": "{database}", "lastTx": {found["lastTx"]}, "digest": "{found["digest"]}"}}')
    return 0
