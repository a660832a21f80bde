"""Keys, identity and manifests: what is written is read, and what is not ours is told apart."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from controller.repository import catalogue, layout
from controller.repository.errors import (
    AccessDenied,
    DamagedDocument,
    StoreError,
    Unavailable,
    UnsupportedFormat,
    UnsupportedStorage,
    WrongRepository,
)
from controller.repository.manifest import MissingDatabase, RunManifest, StoredArtifact, decode, encode
from controller.repository.opening import open_store
from controller.repository.stores.memory import MemoryStore
from controller.wire.messages import Outcome, RunSpec

NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def manifest(run_id: str = "run-1", *, started: datetime = NOW) -> RunManifest:
    return RunManifest(
        run_id=run_id,
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=3,
        spec_digest="d" * 64,
        deployment="graph",
        outcome=Outcome.PARTIALLY_SUCCEEDED,
        started=started,
        finished=started,
        requested_type="AUTO",
        neo4j_version="5.26.3",
        databases=("neo4j", "orders"),
        artifacts=(
            StoredArtifact(
                database="neo4j", key="databases/neo4j/c/a.backup", size=5, sha256="0" * 64, chain="c"
            ),
        ),
        missing=(MissingDatabase(database="orders", reason="it was offline"),),
        warnings=("a warning",),
    )


def spec(**storage: str) -> RunSpec:
    return msgspec.convert(
        {
            "namespace": "ns",
            "backup": "nightly",
            "backupUid": "uid",
            "generation": 1,
            "deployment": "graph",
            "servers": [],
            "storage": {"type": "pvc", **storage},
        },
        RunSpec,
    )


# --- keys ----------------------------------------------------------------------------------------


def test_the_layout_is_the_documented_one() -> None:
    assert layout.root("/team/backups/", "ns", "nightly") == "team/backups/ns/nightly"
    assert layout.root("", "ns", "nightly") == "ns/nightly"
    assert layout.manifest("run-1") == "runs/run-1.json"
    file = "neo4j-2026-03-01T12-00-05.backup"
    chain = layout.new_chain(file, "0f4d2c3b-aaaa-bbbb")
    assert chain == "2026-03-01T12-00-05-0f4d2c3b"
    assert layout.artifact("neo4j", chain, file) == f"databases/neo4j/{chain}/{file}"


def test_chains_of_two_runs_in_one_second_are_apart() -> None:
    file = "neo4j-2026-03-01T12-00-05.backup"
    assert layout.new_chain(file, "11111111-x") != layout.new_chain(file, "22222222-x")


@pytest.mark.parametrize("path", ["../other", "a/../../b", "with space", "ümlaut"])
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(StoreError):
        layout.root(path, "ns", "nightly")


@pytest.mark.parametrize("name", ["../../etc", "a/b", "", ".hidden"])
def test_names_from_outside_cannot_leave_their_directory(name: str) -> None:
    with pytest.raises(StoreError):
        layout.artifact(name, "chain", "file.backup")
    with pytest.raises(StoreError):
        layout.artifact("neo4j", "chain", name)


@pytest.mark.parametrize(
    ("key", "run_id"),
    [("runs/a-b.json", "a-b"), ("runs/a.json.bak", None), ("runs/x/a.json", None), ("a.json", None)],
)
def test_only_manifests_name_runs(key: str, run_id: str | None) -> None:
    assert layout.run_id_of(key) == run_id


# --- documents -----------------------------------------------------------------------------------


def test_a_manifest_survives_the_journey() -> None:
    assert decode(encode(manifest()), RunManifest, "x") == manifest()


def test_a_manifest_reads_well() -> None:
    document = json.loads(encode(manifest()))
    assert document["formatVersion"] == 1
    assert document["artifacts"][0]["sha256"] == "0" * 64
    assert encode(manifest()).count(b"\n") > 30


def test_fields_of_a_later_release_are_ignored() -> None:
    document = json.loads(encode(manifest()))
    document["keyId"] = document["artifacts"][0]["keyId"] = "new"
    assert decode(json.dumps(document).encode(), RunManifest, "x") == manifest()


def test_a_newer_format_is_refused_even_where_it_does_not_fit() -> None:
    with pytest.raises(UnsupportedFormat, match=r"format version 2.*reads up to 1.*newer release"):
        decode(b'{"formatVersion": 2, "everything": "else"}', RunManifest, "s3://x/runs/1.json")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"[]", b'{"formatVersion": 1}', b"\xff\xfe", b'{"formatVersion"', b"null"]
)
def test_anything_else_is_damaged_and_says_where(data: bytes) -> None:
    with pytest.raises(DamagedDocument, match="runs/1 is damaged"):
        decode(data, RunManifest, "runs/1")


# --- catalogue -----------------------------------------------------------------------------------


def test_the_catalogue_is_the_committed_runs_oldest_first() -> None:
    store = MemoryStore()
    late, early = manifest("a", started=NOW.replace(hour=13)), manifest("b")
    for one in (late, early):
        assert catalogue.commit(store, one) == one
    store.put("runs/notes.txt", [b"by a person"])
    store.put("databases/neo4j/c/of-a-dead-run.backup", [b"."])
    assert catalogue.read(store) == catalogue.Catalogue((early, late))


def test_a_damaged_manifest_is_reported_beside_its_neighbours() -> None:
    store = MemoryStore()
    catalogue.commit(store, manifest("good"))
    store.put("runs/bad.json", [b'{"formatVersion": 1, "runId'])
    store.put("runs/renamed.json", [encode(manifest("other"))])
    found = catalogue.read(store)
    assert [run.run_id for run in found.runs] == ["good"]
    assert [problem.key for problem in found.problems] == ["runs/bad.json", "runs/renamed.json"]
    assert "other" in found.problems[1].reason


def test_a_newer_manifest_stops_the_reading() -> None:
    store = MemoryStore()
    store.put("runs/new.json", [b'{"formatVersion": 99}'])
    with pytest.raises(UnsupportedFormat):
        catalogue.read(store)


def test_a_run_is_found_or_not() -> None:
    store = MemoryStore()
    assert catalogue.find_run(store, "run-1") is None
    catalogue.commit(store, manifest())
    assert catalogue.find_run(store, "run-1") == manifest()


def test_committing_twice_keeps_the_first() -> None:
    store = MemoryStore()
    catalogue.commit(store, manifest())
    assert catalogue.commit(store, manifest(started=NOW.replace(hour=20))) == manifest()


class Flaky(MemoryStore):
    """Loses answers: the write happened, the caller does not know."""

    def __init__(self, failures: int, *, after: bool) -> None:
        super().__init__()
        self._failures = failures
        self._after = after

    def put_if_absent(self, key: str, data: bytes) -> None:
        self._failures -= 1
        if self._failures >= 0 and self._after:
            super().put_if_absent(key, data)
        if self._failures >= 0:
            raise Unavailable("the answer was lost")
        super().put_if_absent(key, data)


@pytest.mark.parametrize("after", [True, False])
def test_a_lost_answer_is_followed_up(after: bool) -> None:
    store = Flaky(1, after=after)
    assert catalogue.commit(store, manifest()) == manifest()
    assert catalogue.find_run(store, "run-1") == manifest()


def test_a_store_that_stays_away_fails_the_commit() -> None:
    with pytest.raises(Unavailable):
        catalogue.commit(Flaky(99, after=False), manifest())


def test_preparing_writes_the_identity_once() -> None:
    store = MemoryStore()
    first = catalogue.prepare(store, "ns", "nightly", "uid-1", NOW)
    again = catalogue.prepare(store, "ns", "nightly", "uid-2", NOW.replace(year=2027))
    assert again == first
    assert first.created_by_uid == "uid-1"


def test_another_backups_repository_is_left_alone() -> None:
    store = MemoryStore()
    catalogue.prepare(store, "ns", "nightly", "uid", NOW)
    with pytest.raises(WrongRepository, match="belongs to ns/nightly"):
        catalogue.prepare(store, "ns", "hourly", "uid", NOW)


# --- opening -------------------------------------------------------------------------------------


def test_a_volume_is_opened_below_namespace_and_name(tmp_path: Path) -> None:
    store = open_store(spec(path="/team/"), volume=tmp_path, credentials=tmp_path / "none")
    store.put("key", [b"."])
    assert (tmp_path / "team/ns/nightly/key").is_file()
    assert store.location.endswith("/team/ns/nightly")


def secret(directory: Path, **files: str) -> Path:
    directory.mkdir()
    for name, value in files.items():
        (directory / name).write_text(value)
    return directory


def test_a_bucket_is_opened_with_the_secrets_keys(tmp_path: Path) -> None:
    files = secret(tmp_path / "secret", accessKeyId="a\n", secretAccessKey="b")
    store = open_store(spec(type="s3", bucket="b"), volume=tmp_path, credentials=files)
    assert store.location == "s3://b/ns/nightly"


def test_half_a_secret_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    files = secret(tmp_path / "secret", AWS_ACCESS_KEY_ID="a", passwort="geheim")
    with pytest.raises(
        AccessDenied, match=r"AWS_SECRET_ACCESS_KEY.*it has: AWS_ACCESS_KEY_ID, pass"
    ) as caught:
        open_store(spec(type="s3", bucket="b"), volume=tmp_path, credentials=files)
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize("storage", [{"type": "gcs"}, {"type": "azure"}, {"type": "s3"}])
def test_what_cannot_be_opened_says_so(storage: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedStorage):
        open_store(spec(**storage), volume=tmp_path, credentials=tmp_path / "none")
