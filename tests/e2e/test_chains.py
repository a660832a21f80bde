"""The promise: run again, a backup is differential, encrypted or not, and the chain restores."""

from __future__ import annotations

import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from controller.repository.encryption import age, bech32
from hack.devcluster.neo4j_sim.manifests import Sample
from tests.e2e.space import S3_PORT, Space
from tests.e2e.world import Json, eventually

DATABASES: list[Json] = [{"name": "system"}, {"name": "neo4j", "storeBytes": 3_000_000, "initialTx": 20}]


@pytest.fixture(scope="module")
def reporting(room: Space) -> Sample:
    room.start_s3()
    room.s3("create-bucket", "chains")
    room.s3_credentials()
    return room.deploy(room.sample("reporting", databases=DATABASES), standalone=True)


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_full_and_a_differential_backup_restore_to_what_is_there(
    room: Space, reporting: Sample, tmp_path: Path, encrypted: bool
) -> None:
    name = "encrypted" if encrypted else "plain"
    options: Json = {"verifyBackup": True}
    if encrypted:
        options["encryption"] = {"enabled": True, "keySecret": _keys(room, tmp_path), "algorithm": "ChaCha20"}
    endpoint = f"http://s3-0.s3.{room.name}.svc.cluster.local:{S3_PORT}"
    target = {"kind": "Cluster", "name": "reporting"}
    spec = {"target": target, "storage": room.s3_storage(endpoint, "chains"), "options": options}
    room.backup(name, spec)
    first = room.wait_phase(name, "Completed")["history"][0]
    write_into(room, reporting)
    live = room.digest("reporting-0", "neo4j")
    second = run_again(room, name, 2)
    assert [first["type"], second["type"]] == ["FULL", "DIFF"]
    assert [first["outcome"], second["outcome"]] == ["Succeeded", "Succeeded"], second
    assert [first["verificationLevel"], second["verificationLevel"]] == ["Consistency", "Consistency"]
    verified = room.condition(name, "Verified")
    assert (verified["status"], verified["reason"]) == ("True", "Consistency")
    chain = [item for run in (first, second) for item in run["artifacts"] if item["database"] == "neo4j"]
    assert len({Path(item["path"]).parent for item in chain}) == 1
    files = {}
    for item in chain:
        path = tmp_path / Path(item["path"]).name
        path.write_bytes(room.s3_object("chains", f"backups/{room.name}/{name}/{item['path']}"))
        plain = _decrypted(path, tmp_path / "identity.txt") if encrypted else path
        files[plain.name] = plain.read_bytes()
    restored = room.digest_after_restoring("reporting-0", "neo4j", files)
    assert (restored["lastTx"], restored["digest"]) == (live["lastTx"], live["digest"])


def write_into(room: Space, sample: Sample) -> None:
    login = ("-u", "neo4j", "-p", sample.password, "-d", "neo4j")
    room.run("exec", "reporting-0", "-c", "neo4j", "--", "cypher-shell", *login, "CALL sim.commit(5);")


def run_again(room: Space, name: str, number: int) -> Json:
    """The newest run once there are ``number`` of them."""
    room.run("annotate", "neo4jbackup", name, f"backup.neo4j.com/run-now={number}", "--overwrite")
    eventually(lambda: len(room.status(name)["history"]) == number, f"run {number}")
    newest: Json = room.wait_phase(name, "Completed")["history"][0]
    return newest


def _keys(room: Space, scratch: Path) -> str:
    """A Secret with a recipient alone: what decrypts stays outside of the cluster."""
    key = secrets.token_bytes(32)
    (scratch / "identity.txt").write_text(bech32.encode("age-secret-key-", key).upper() + "\n")
    data = {"age-recipients": str(age.Identity(key).recipient)}
    room.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": data})
    return "keys"


def _decrypted(path: Path, identity: Path) -> Path:
    plain = path.with_suffix("")
    command = [sys.executable, "-m", "controller", "decrypt", "--keys", str(identity), "--output", str(plain)]
    subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=120)
    return plain
