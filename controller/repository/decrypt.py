"""``python -m controller decrypt``: plain artifacts from encrypted ones, without a cluster.

    decrypt --keys KEYS [--output PATH] FILE          one file; ``-`` is standard input
    decrypt --keys KEYS --output DIRECTORY RUN.json   all artifacts of a run, from its manifest
    decrypt --keys KEYS --output DIRECTORY DIRECTORY  a whole repository

KEYS is a directory with the keys of the Secret as files, or one file: an age identity or an AES256 key.
Manifests are read where the repository has them (``runs/``); artifacts are looked for beside them.

Guarantee: a file appears under its name only after all of it was decrypted and, where a manifest says
what it must be, compared with the manifest: stored and plain SHA-256. What exists already is left alone
when it is right and never overwritten. The exit code is 0 only if everything asked for is there.

Non-guarantee: standard output cannot be taken back; read the exit code before you use what came out.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.repository import catalogue, pipeline
from controller.repository.credentials import read_files
from controller.repository.encryption import keys as secret
from controller.repository.encryption.codec import Decryptor, plain_name
from controller.repository.encryption.errors import Undecryptable
from controller.repository.encryption.keys import Keys
from controller.repository.errors import RepositoryError
from controller.repository.manifest import RunManifest, StoredArtifact, decode
from controller.repository.pipeline import Digest, Stage
from controller.repository.store import check_key
from controller.repository.stores.directory import DirectoryStore

USAGE = 64
_CHUNK = 1024 * 1024
_IDENTITY = b"AGE-SECRET-KEY-1"
_STREAM = "-"
_FOR_ENCRYPTING = frozenset({secret.ACTIVE, secret.AGE_RECIPIENTS})


class Misunderstood(RepositoryError):
    """The command line asks for something that makes no sense."""


@dataclass(frozen=True, slots=True)
class Task:
    """One file to write. ``artifact`` is what a manifest says about it."""

    source: Path
    target: Path
    artifact: StoredArtifact | None = None


def main(argv: Sequence[str]) -> int:
    """0: everything decrypted and right; 1: something was not; 64: not understood."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as stop:
        return USAGE if stop.code else 0
    try:
        return _main(options.source, options.output, load_keys([Path(path) for path in options.keys]))
    except Misunderstood as error:
        _say(str(error))
        return USAGE
    except (RepositoryError, OSError) as error:
        _say(str(error))
        return 1


def load_keys(paths: Iterable[Path]) -> Keys:
    """Directories like the Secret, or single files told apart by what is in them."""
    files: dict[str, bytes] = {}
    for path in paths:
        for name, data in (read_files(path) if path.is_dir() else _single(path)).items():
            known = files.get(name, b"")
            files[name] = known + b"\n" + data if known and name == secret.AGE_IDENTITY else data
    # Which key encrypts is of no interest here, and neither is whether that is in order.
    return secret.read_keys({name: files[name] for name in files if name not in _FOR_ENCRYPTING})


def find_tasks(source: Path, output: Path | None) -> list[Task]:
    """What there is to do; raises for a source that is not there or not understood."""
    if source.is_dir():
        found = catalogue.read(DirectoryStore(source))
        if found.problems:
            raise Undecryptable(found.problems[0].reason)
        if not found.runs:
            raise Misunderstood(f"{source} is no repository: it has no runs/*.json")
        return _of_runs(source, found.runs, output)
    if source.suffix == ".json":
        run = decode(source.read_bytes(), RunManifest, str(source))
        return _of_runs(source.parent.parent, [run], output)
    source.stat()
    target = output or source.parent
    name = plain_name(source.name)
    if not target.is_dir():
        return [Task(source, target)]
    if name == source.name and target.samefile(source.parent):
        raise Misunderstood(f"where to? {source.name} has no suffix to leave out: give --output")
    return [Task(source, target / name)]


def decrypt_file(task: Task, keys: Keys) -> bool:
    """True when it was written, false when it was there already and is right."""
    if task.target.exists():
        if task.artifact is None or _digest_of(task.target) != _expected(task.artifact):
            raise FileExistsError(f"{task.target} exists already, is something else, and is not overwritten")
        return False
    task.target.parent.mkdir(parents=True, exist_ok=True)
    partial = task.target.with_name(f".{task.target.name}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for chunk in plain_chunks(_chunks(task.source), keys, task.artifact):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(task.target)
    finally:
        with suppress(OSError):
            partial.unlink()
    return True


def plain_chunks(
    chunks: Iterable[bytes], keys: Keys, artifact: StoredArtifact | None = None
) -> Iterator[bytes]:
    """Decrypted, and after the last chunk compared with what the manifest says."""
    stored, plain = Digest(), Digest()
    stages: list[Stage] = [stored, plain]
    if artifact is None or artifact.encryption:
        stages.insert(1, Decryptor(keys))
    yield from pipeline.run(chunks, stages)
    if artifact is None:
        return
    if (stored.size, stored.sha256) != (artifact.size, artifact.sha256):
        raise Undecryptable("the stored file is not the one that the manifest describes")
    if plain.sha256 != _expected(artifact):
        raise Undecryptable("the decrypted file is not the one that the manifest describes")


def _main(source: str, output: str | None, keys: Keys) -> int:
    if _STREAM in (source, output):
        _stream(source, output, keys)
        return 0
    tasks = find_tasks(Path(source), Path(output) if output else None)
    failed = [task for task in tasks if not _report(task, keys)]
    return 1 if failed else 0


def _report(task: Task, keys: Keys) -> bool:
    """One file's failure does not keep the others from being saved."""
    try:
        written = decrypt_file(task, keys)
    except (RepositoryError, OSError) as error:
        _say(f"{task.source}: {error}")
        return False
    _say(f"{task.target}: {'decrypted' if written else 'is there already'}")
    return True


def _stream(source: str, output: str | None, keys: Keys) -> None:
    if source == _STREAM and output not in (None, _STREAM):
        raise Misunderstood("standard input goes to standard output: leave --output out")
    if source != _STREAM and not Path(source).is_file():
        raise Misunderstood(f"{source} is no file: only one file can go to standard output")
    chunks = iter(lambda: sys.stdin.buffer.read(_CHUNK), b"") if source == _STREAM else _chunks(Path(source))
    for chunk in plain_chunks(chunks, keys):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _of_runs(root: Path, runs: Iterable[RunManifest], output: Path | None) -> list[Task]:
    """Under the same keys as in the repository, so that chains stay together in their directories."""
    if output is None:
        raise Misunderstood("give --output DIRECTORY for the plain artifacts")
    artifacts = [artifact for run in runs for artifact in run.artifacts]
    return [
        Task(root / check_key(one.key), output / (plain_name(one.key) if one.encryption else one.key), one)
        for one in artifacts
    ]


def _single(path: Path) -> dict[str, bytes]:
    data = path.read_bytes()
    if _IDENTITY in data:
        return {secret.AGE_IDENTITY: data}
    if secret.is_aes_name(path.name):
        return {path.name: data}
    return {secret.AES_PREFIX + re.sub(r"[^A-Za-z0-9._-]", "_", path.name): data}


def _expected(artifact: StoredArtifact) -> str:
    return artifact.plain_sha256 if artifact.encryption else artifact.sha256


def _digest_of(path: Path) -> str:
    digest = Digest()
    for _ in pipeline.run(_chunks(path), [digest]):
        pass
    return digest.sha256


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m controller decrypt",
        description="Decrypt artifacts of a backup repository and check them against their manifests.",
    )
    parser.add_argument("source", help="an encrypted file, -, a manifest runs/<id>.json, or a repository")
    parser.add_argument(
        "--keys",
        action="append",
        required=True,
        metavar="PATH",
        help="a directory with the Secret's keys as files, or a file with an age identity or an AES256 key",
    )
    parser.add_argument("--output", metavar="PATH", help="file or directory to write; - is standard output")
    return parser


def _say(text: str) -> None:
    sys.stderr.write(f"decrypt: {text}\n")
