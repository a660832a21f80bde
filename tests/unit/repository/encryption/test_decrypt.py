"""The program ``decrypt``: what a person has in the worst hour, and what they must not be given."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from controller.repository import catalogue, decrypt, layout
from controller.repository.encryption import age, bech32
from controller.repository.encryption.codec import open_encryption
from controller.repository.manifest import RunManifest, StoredArtifact
from controller.repository.stores.directory import DirectoryStore
from tests.property.retention.histories import run
from tests.unit.repository.encryption.foreign import through

KEY = bytes(range(1, 33))
IDENTITY = bech32.encode("age-secret-key-", KEY).upper()
RECIPIENT = str(age.Identity(KEY).recipient)
SECRET = {"key": KEY.hex().encode(), "age-recipients": RECIPIENT.encode(), "age-identity": IDENTITY.encode()}
PLAIN = bytes(range(256)) * 5000


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    directory = tmp_path / "keys"
    directory.mkdir()
    for name, data in SECRET.items():
        (directory / name).write_bytes(data)
    return directory


def sealed(algorithm: str, data: bytes = PLAIN) -> bytes:
    encryption = open_encryption("AES256" if algorithm == "AES256" else "ChaCha20", SECRET)
    return through(encryption.encryptor(), data)


def stored(store: DirectoryStore, name: str, algorithm: str) -> StoredArtifact:
    suffix = {"AES256": ".aes256", "ChaCha20": ".age", "": ""}[algorithm]
    data = sealed(algorithm) if algorithm else PLAIN
    key = layout.artifact("neo4j", "chain", f"{name}.backup{suffix}")
    store.put(key, [data])
    return StoredArtifact(
        database="neo4j",
        key=key,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        plain_size=len(PLAIN),
        plain_sha256=hashlib.sha256(PLAIN).hexdigest() if algorithm else "",
        encryption=algorithm,
        chain="chain",
    )


def repository(root: Path) -> RunManifest:
    root.mkdir()
    store = DirectoryStore(root)
    names = {"one": "AES256", "two": "ChaCha20", "three": ""}
    manifest = run(1, tuple(stored(store, name, algorithm) for name, algorithm in names.items()))
    return catalogue.commit(store, manifest)


def call(*arguments: Path | str) -> int:
    return decrypt.main([str(argument) for argument in arguments])


@pytest.mark.parametrize(("algorithm", "suffix"), [("AES256", ".aes256"), ("ChaCha20", ".age")])
def test_one_file_appears_beside_itself(tmp_path: Path, keys: Path, algorithm: str, suffix: str) -> None:
    (tmp_path / f"neo4j.backup{suffix}").write_bytes(sealed(algorithm))
    assert call("--keys", keys, tmp_path / f"neo4j.backup{suffix}") == 0
    assert (tmp_path / "neo4j.backup").read_bytes() == PLAIN
    assert (tmp_path / "neo4j.backup").stat().st_mode & 0o077 == 0


def test_one_file_goes_where_it_is_told(tmp_path: Path, keys: Path) -> None:
    source = tmp_path / "a.backup.age"
    source.write_bytes(sealed("ChaCha20"))
    assert call("--keys", keys, "--output", tmp_path / "elsewhere", source) == 0
    assert (tmp_path / "elsewhere").read_bytes() == PLAIN
    (tmp_path / "directory").mkdir()
    assert call("--keys", keys, "--output", tmp_path / "directory", source) == 0
    assert (tmp_path / "directory" / "a.backup").read_bytes() == PLAIN


@pytest.mark.parametrize("name", ["key", "aes256-2026", "my key.txt"])
def test_a_key_may_be_a_single_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(SECRET["key"])
    (tmp_path / "identity.txt").write_text(f"# created: now\n{IDENTITY}\n")
    (tmp_path / "x.backup.aes256").write_bytes(sealed("AES256"))
    (tmp_path / "y.backup.age").write_bytes(sealed("ChaCha20"))
    both: list[Path | str] = ["--keys", tmp_path / name, "--keys", tmp_path / "identity.txt"]
    assert call(*both, tmp_path / "x.backup.aes256") == 0
    assert call(*both, tmp_path / "y.backup.age") == 0


def test_a_whole_repository_is_decrypted_and_checked(tmp_path: Path, keys: Path) -> None:
    repository(tmp_path / "repo")
    assert call("--keys", keys, "--output", tmp_path / "out", tmp_path / "repo") == 0
    found = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.backup")}
    assert found == {f"databases/neo4j/chain/{name}.backup" for name in ("one", "two", "three")}
    assert all((tmp_path / "out" / name).read_bytes() == PLAIN for name in found)


def test_a_run_is_decrypted_from_its_manifest_and_again_does_no_harm(tmp_path: Path, keys: Path) -> None:
    manifest = repository(tmp_path / "repo")
    source = tmp_path / "repo" / layout.manifest(manifest.run_id)
    arguments: list[Path | str] = ["--keys", keys, "--output", tmp_path / "out", source]
    assert call(*arguments) == 0
    assert call(*arguments) == 0
    (tmp_path / "out" / "databases/neo4j/chain/one.backup").write_bytes(b"mine")
    assert call(*arguments) == 1
    assert (tmp_path / "out" / "databases/neo4j/chain/one.backup").read_bytes() == b"mine"


@pytest.mark.parametrize("name", ["one.backup.aes256", "two.backup.age", "three.backup"])
def test_a_damaged_artifact_fails_and_the_others_are_saved(
    tmp_path: Path, keys: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    repository(tmp_path / "repo")
    damaged = tmp_path / "repo" / "databases/neo4j/chain" / name
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    assert call("--keys", keys, "--output", tmp_path / "out", tmp_path / "repo") == 1
    assert name in capsys.readouterr().err
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(left) == 2
    assert all(path.read_bytes() == PLAIN for path in left)


def test_another_file_in_the_place_of_an_artifact_is_noticed(
    tmp_path: Path, keys: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever can write to the bucket can swap two files; both decrypt, and neither is what it says."""
    repository(tmp_path / "repo")
    place = tmp_path / "repo" / "databases/neo4j/chain/one.backup.aes256"
    place.write_bytes(sealed("AES256", b"other content"))
    assert call("--keys", keys, "--output", tmp_path / "out", tmp_path / "repo") == 1
    assert "not the one that the manifest describes" in capsys.readouterr().err
    assert not (tmp_path / "out" / "databases/neo4j/chain/one.backup").exists()


def test_a_manifest_cannot_write_outside(tmp_path: Path, keys: Path) -> None:
    manifest = repository(tmp_path / "repo")
    evil = msgspec.structs.replace(manifest.artifacts[2], key="../../evil")
    file = tmp_path / "repo/runs/run-001.json"
    file.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, artifacts=(evil,))))
    assert call("--keys", keys, "--output", tmp_path / "out", file) == 1
    assert not (tmp_path.parent / "evil").exists()


def test_a_file_that_is_there_is_not_overwritten(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "a.backup.age").write_bytes(sealed("ChaCha20"))
    (tmp_path / "a.backup").write_bytes(b"precious")
    assert call("--keys", keys, tmp_path / "a.backup.age") == 1
    assert (tmp_path / "a.backup").read_bytes() == b"precious"


def test_a_truncated_file_leaves_nothing(tmp_path: Path, keys: Path) -> None:
    source = tmp_path / "a.backup.aes256"
    source.write_bytes(sealed("AES256")[:-1])
    assert call("--keys", keys, source) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"keys", source.name}


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["x.age"],
        ["--keys", "KEYS", "--output"],
        ["--keys", "KEYS", "REPO"],
        ["--keys", "KEYS", "--output", "OUT", "KEYS"],
        ["--keys", "KEYS", "--output", "-", "REPO"],
        ["--keys", "KEYS", "--output", "OUT", "-"],
        ["--keys", "KEYS", "KEYS/key"],
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, keys: Path, arguments: list[str]) -> None:
    repository(tmp_path / "repo")
    names = {"KEYS": keys, "REPO": tmp_path / "repo", "OUT": tmp_path / "out", "KEYS/key": keys / "key"}
    assert call(*(names.get(one, one) for one in arguments)) == 64


@pytest.mark.parametrize("bad", ["no-such-keys", "no-such-file"])
def test_what_is_missing_fails(tmp_path: Path, keys: Path, bad: str) -> None:
    source = tmp_path / "a.backup.age"
    source.write_bytes(sealed("ChaCha20"))
    if bad == "no-such-keys":
        assert call("--keys", tmp_path / bad, source) == 1
    else:
        assert call("--keys", keys, tmp_path / bad) == 1


def test_as_a_program_from_standard_input_to_standard_output(keys: Path) -> None:
    command = [sys.executable, "-m", "controller", "decrypt", "--keys", str(keys), "-"]
    done = subprocess.run(command, input=sealed("AES256"), capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, PLAIN, b"")
    done = subprocess.run(command, input=sealed("AES256")[:-5], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"damaged, or the file was cut short" in done.stderr


def test_a_file_to_standard_output(tmp_path: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.age").write_bytes(sealed("ChaCha20"))
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    assert call("--keys", keys, "--output", "-", tmp_path / "a.age") == 0
    assert out.buffer.getvalue() == PLAIN
