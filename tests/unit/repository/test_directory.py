"""What only a directory has: modes, mount points, half-written files, full disks."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.repository.errors import AccessDenied, AlreadyExists, NoSpaceLeft, NoSuchBucket, Unavailable
from controller.repository.stores.directory import DirectoryStore


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path, "path/ns/name")


def test_files_are_for_the_owner_and_the_group(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("runs/1.json", [b"{}"])
    store.put_if_absent("runs/2.json", b"{}")
    for name in ("1.json", "2.json"):
        assert (tmp_path / "path/ns/name/runs" / name).stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "path/ns").stat().st_mode & 0o007 == 0


def test_nothing_is_visible_under_the_name_before_the_end(store: DirectoryStore, tmp_path: Path) -> None:
    target = tmp_path / "path/ns/name/artifact"
    seen: list[bool] = []

    def chunks() -> Iterator[bytes]:
        yield b"x" * 100
        seen.append(target.exists())

    store.put("artifact", chunks())
    assert seen == [False]
    assert [path.name for path in target.parent.iterdir()] == ["artifact"]


def test_what_a_killed_writer_left_is_no_object(store: DirectoryStore, tmp_path: Path) -> None:
    store.put("runs/1.json", [b"{}"])
    (tmp_path / "path/ns/name/runs/.tmp-0123").write_bytes(b"half")
    assert [info.key for info in store.list("runs")] == ["runs/1.json"]


def test_a_volume_that_is_not_mounted_is_never_made_up(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "backup", "a/b")
    with pytest.raises(NoSuchBucket, match="not mounted"):
        store.put("key", [b"."])
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (errno.ENOSPC, NoSpaceLeft),
        (errno.EDQUOT, NoSpaceLeft),
        (errno.EROFS, AccessDenied),
        (errno.EACCES, AccessDenied),
        (errno.EIO, Unavailable),
    ],
)
def test_the_disk_says_what_is_wrong(
    store: DirectoryStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    expected: type[Exception],
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    store.put("other", [b"."])
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(expected):
        store.put("key", [b"data"])
    assert [path.name for path in (tmp_path / "path/ns/name").iterdir()] == ["other"]


def test_create_only_works_without_hard_links(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    store.put_if_absent("runs/1.json", b"first")
    with pytest.raises(AlreadyExists):
        store.put_if_absent("runs/1.json", b"second")
    assert b"".join(store.get("runs/1.json")) == b"first"
    assert [info.key for info in store.list("")] == ["runs/1.json"]
