"""A repository in a directory: a PVC mounted into the runner's pod.

Guarantee: that of :class:`~controller.repository.store.Store`. A file appears under its name complete
and flushed to the disk, or not at all; the temporary file is in the same directory, so that the rename
never crosses a mount point. Files get mode 0640, directories 0750. A killed process leaves ``.tmp-*``
files, which are no objects and are not listed, until ``abandon`` removes them.

Non-guarantee: on a file system without hard links, a crash in the middle of ``put_if_absent`` can
leave a short document behind; readers report it as damaged.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from controller.repository.errors import (
    AccessDenied,
    AlreadyExists,
    NoSpaceLeft,
    NoSuchBucket,
    NotFound,
    StoreError,
    Unavailable,
)
from controller.repository.store import ObjectInfo, check_key
from controller.repository.stores.guarded import Guarded

_CHUNK = 1024 * 1024
_TEMPORARY = ".tmp-"
_NO_HARD_LINKS = {errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV}


class DirectoryStore:
    """Objects as files below ``mount``/``prefix``; ``mount`` itself must exist already.

    The mount point is never created: when the volume is missing, a directory made in its place would
    be in the container's own layer, and the backup would vanish with the pod.
    """

    def __init__(self, mount: Path, prefix: str = "", *, location: str = "") -> None:
        self._mount = mount
        self._root = mount / check_key(prefix) if prefix else mount
        self._location = location or f"file://{self._root}"

    @property
    def location(self) -> str:
        return self._location

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        guarded = Guarded(chunks)
        with self._written(key, guarded) as temporary:
            path = self._path(key)
            os.replace(temporary, path)
            _flush_directory(path.parent)

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._written(key, Guarded([data])) as temporary:
            path = self._path(key)
            try:
                os.link(temporary, path)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
                _write_exclusively(path, data)
            _flush_directory(path.parent)

    def get(self, key: str) -> Iterator[bytes]:
        with self._translated(key), self._path(key).open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK):
                yield chunk

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._translated(key), self._path(key).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def head(self, key: str) -> ObjectInfo:
        with self._translated(key):
            return _info(key, self._path(key).stat())

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            start = self._path(prefix) if prefix else self._root
            return iter(list(self._walk(start)))

    def delete(self, key: str) -> None:
        with self._translated(key), suppress(FileNotFoundError, NotADirectoryError):
            self._path(key).unlink()

    def abandon(self, key: str) -> None:
        path = self._path(key)
        with self._translated(key):
            for left in path.parent.glob(f"{_temporary(path)}*"):
                left.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _walk(self, start: Path) -> Iterator[ObjectInfo]:
        for directory, _, names in os.walk(start, onerror=_raise_unless_missing):
            for name in names:
                path = Path(directory, name)
                if name.startswith("."):
                    continue
                with suppress(FileNotFoundError):
                    yield _info(path.relative_to(self._root).as_posix(), path.stat())

    @contextmanager
    def _written(self, key: str, chunks: Guarded) -> Iterator[Path]:
        """The content in a temporary file beside its destination; gone when the block ends."""
        directory = self._path(key).parent
        temporary = directory / f"{_temporary(self._path(key))}{secrets.token_hex(8)}"
        try:
            with self._translated(key):
                self._make(directory)
                _write(temporary, chunks)
                yield temporary
        except StoreError as error:
            raise chunks.error or error from error.__cause__
        finally:
            with suppress(OSError):
                temporary.unlink()

    def _make(self, directory: Path) -> None:
        if not self._mount.is_dir():
            raise NoSuchBucket(f"{self._mount} is not mounted")
        if directory != self._mount and not directory.is_dir():
            self._make(directory.parent)
            directory.mkdir(mode=0o750, exist_ok=True)
            _flush_directory(directory.parent)

    @contextmanager
    def _translated(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._meaning(key, error) from error

    def _meaning(self, key: str, error: OSError) -> StoreError:
        at = f"{self._location}/{key}"
        match error.errno:
            case errno.ENOENT | errno.ENOTDIR:
                return NotFound(f"there is no {at}")
            case errno.EEXIST:
                return AlreadyExists(f"{at} is there already")
            case errno.ENOSPC | errno.EDQUOT:
                return NoSpaceLeft(f"no space left on the volume of {self._location}")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return AccessDenied(
                    f"{at}: {error.strerror}; the volume must be writable for this user (fsGroup)"
                )
            case _:
                return Unavailable(f"{at}: {error.strerror or error}")


def _temporary(path: Path) -> str:
    """How the names of half-written files begin that are to become ``path``, however long its own is."""
    return f"{_TEMPORARY}{hashlib.sha256(path.name.encode()).hexdigest()[:16]}-"


def _write(path: Path, chunks: Iterable[bytes]) -> None:
    """Create ``path`` (which must not exist) with the content, flushed to the disk."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640), "wb", buffering=0) as file:
        for chunk in chunks:
            view = memoryview(chunk)
            while view:
                view = view[file.write(view) :]
        os.fsync(file.fileno())


def _write_exclusively(path: Path, data: bytes) -> None:
    """Create-only without hard links; a failed attempt must not look like someone else's success."""
    try:
        _write(path, [data])
    except FileExistsError:
        raise
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _flush_directory(directory: Path) -> None:
    """Make a rename survive a crash of the machine, where the file system can do that."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _info(key: str, stat: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, stat.st_size, datetime.fromtimestamp(stat.st_mtime, UTC))


def _raise_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error
