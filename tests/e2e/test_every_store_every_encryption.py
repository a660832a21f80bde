"""The promise: whatever the storage and the encryption, what was saved is read back, opened and restored."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim.manifests import Sample
from tests.e2e import stores
from tests.e2e.space import Space
from tests.e2e.stores import Files, Place
from tests.e2e.world import Json
from tests.support import azurite
from tests.support.azurite import Azurite
from tests.support.control_plane import CHECKOUT, ControlPlane
from tests.unit.repository.encryption.foreign import new_identity

# Larger than a segment of either encryption; nothing is written, so that a restore can be compared.
DATABASES: list[Json] = [{"name": "system"}, {"name": "orders", "storeBytes": 3_000_000, "initialTx": 60}]
KEY_SECRET = "backup-keys"
ENCRYPTIONS = {"plain": "", "aes256": "AES256", "chacha20": "ChaCha20"}
SUFFIXES = {"plain": ".backup", "aes256": ".backup.aes256", "chacha20": ".backup.age"}


@pytest.fixture(scope="module")
def target(room: Space) -> Sample:
    return room.deploy(room.sample("shop", databases=DATABASES), standalone=True)


@pytest.fixture(scope="module")
def keys(room: Space, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Secret, and beside it what only the user has: a directory with the identity too."""
    identity, ours = new_identity()
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    stores.secret(room, KEY_SECRET, {"aes256-2026": key, "age-recipients": f"{ours.recipient}\n"})
    directory = tmp_path_factory.mktemp("keys")
    (directory / "aes256-2026").write_text(key)
    (directory / "age-identity").write_text(identity)
    return directory


@pytest.fixture(scope="module")
def azure_server(control_plane: ControlPlane) -> Iterator[Azurite]:
    if control_plane.kind != "embedded":
        pytest.skip("Azurite runs beside the tests, where pods of another machine do not reach it")
    with azurite.azurite() as server:
        yield server


@pytest.fixture(scope="module", params=["pvc", "s3", "gcs", "azure"])
def place(request: pytest.FixtureRequest, room: Space) -> Place:
    match request.param:
        case "pvc":
            return stores.claim(room)
        case "s3":
            return stores.s3(room, {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"})
        case "gcs":
            account = {"client_email": "", "private_key": "", "private_key_id": "", "disable_oauth": True}
            return stores.gcs(room, account)
        case _:
            server: Azurite = request.getfixturevalue("azure_server")
            return stores.azure(room, server, {"AZURE_STORAGE_KEY": azurite.KEY})


@pytest.fixture(scope="module")
def backups(room: Space, target: Sample, keys: Path, place: Place) -> dict[str, Json]:
    """One backup for each encryption, asked for at the same time; their statuses."""
    for name, algorithm in ENCRYPTIONS.items():
        encryption = {"enabled": bool(algorithm), "keySecret": KEY_SECRET}
        if algorithm:
            encryption["algorithm"] = algorithm
        spec = {
            "target": {"kind": "Cluster", "name": target.name},
            "storage": place.storage,
            "options": {"encryption": encryption, "verifyBackup": True},
        }
        room.backup(_name(place, name), spec)
    return {name: room.wait_phase(_name(place, name), "Completed") for name in ENCRYPTIONS}


def _name(place: Place, encryption: str) -> str:
    return f"{place.storage['type']}-{encryption}"


def opened(repository: Path, keys: Path, plain: Path) -> None:
    """As the documentation says, and with nothing of the cluster."""
    command = [sys.executable, "-m", "controller", "decrypt", "--keys", str(keys), "--output", str(plain)]
    result = subprocess.run(
        [*command, str(repository)], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def manifest_of(files: Files) -> Json:
    (key,) = (key for key in files if key.startswith("runs/"))
    manifest: Json = json.loads(files[key])
    return manifest


@pytest.mark.parametrize("encryption", ENCRYPTIONS)
def test_what_was_saved_is_opened_and_restored(
    room: Space,
    place: Place,
    backups: dict[str, Json],
    keys: Path,
    tmp_path: Path,
    encryption: str,
) -> None:
    (run,) = backups[encryption]["history"]
    assert run["outcome"] == "Succeeded", run
    assert run["verified"] is True
    files = place.fetch(_name(place, encryption))
    manifest = manifest_of(files)
    artifacts = {one["database"]: one for one in manifest["artifacts"]}
    assert sorted(artifacts) == ["orders", "system"]
    for one in artifacts.values():
        assert one["key"].endswith(SUFFIXES[encryption])
        assert hashlib.sha256(files[one["key"]]).hexdigest() == one["sha256"]

    opened(stores.write(files, tmp_path / "repository"), keys, tmp_path / "plain")
    orders = artifacts["orders"]
    plain = (tmp_path / "plain" / orders["key"].replace(SUFFIXES[encryption], ".backup")).read_bytes()
    assert hashlib.sha256(plain).hexdigest() == (orders["plainSha256"] or orders["sha256"])
    assert (plain == files[orders["key"]]) is (encryption == "plain")
    restored = room.digest_after_restore("shop-0", "orders", plain)
    live = room.digest("shop-0", "orders")
    assert (restored["lastTx"], restored["digest"]) == (live["lastTx"], live["digest"])
