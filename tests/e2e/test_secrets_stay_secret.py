"""The promise: nothing secret in a command line, a log, a status, an event, a manifest, an object or a file.

The secrets are planted, whole backups are made with them, one that fails among them, and all that can be
looked at is searched for each of them in every form.
"""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import parse_qs

import pytest

from tests.e2e import installation, stores
from tests.e2e.space import Space
from tests.e2e.stores import Place
from tests.e2e.world import Json, eventually
from tests.support import azurite
from tests.support.control_plane import ControlPlane
from tests.support.leaks import PRIVATE_KEY_MARKS, Planted, Processes, watched
from tests.unit.repository.encryption.foreign import new_identity

DATABASES: list[Json] = [{"name": "system"}, {"name": "orders", "storeBytes": 1_500_000, "initialTx": 20}]
PASSWORD = "password"
_MOUNTED = {"storage-credentials", "encryption-keys"}
_RUNNER, _OPERATOR, _DUMP = b"\0runner\0", b"\0operator\0", b"\0database\0backup\0"


def _word() -> str:
    """Characters that every encoding treats in its own way."""
    return f'{secrets.token_hex(6)}+/=&%"{secrets.token_hex(6)}'


@dataclass(frozen=True)
class Story:
    """What was planted, and what was to be seen."""

    planted: Planted
    processes: Processes
    places: dict[str, Place]
    statuses: dict[str, Json]


@pytest.fixture(scope="module")
def story(room: Space, control_plane: ControlPlane) -> Iterator[Story]:
    identity, ours = new_identity()
    aes = secrets.token_bytes(32)
    words = {"s3 key": _word(), "gcs key": _word(), PASSWORD: secrets.token_hex(12)}
    keys = {"aes256-2026": base64.b64encode(aes).decode(), "age-recipients": str(ours.recipient)}
    stores.secret(room, "keys", keys | {"age-identity": identity})
    account = {"client_email": "a@b", "private_key": words["gcs key"], "private_key_id": "x"}
    places = {
        "s3": stores.s3(room, {"AWS_ACCESS_KEY_ID": "AKIAPLANTED", "AWS_SECRET_ACCESS_KEY": words["s3 key"]}),
        "gcs": stores.gcs(room, account | {"disable_oauth": True}),
    }
    values: dict[str, str | bytes] = {**words, "age identity": identity, "aes text": keys["aes256-2026"]}
    values["aes key"] = aes
    with _azure(room, control_plane, places, values), watched() as processes:
        sample = room.sample("vault", databases=DATABASES, password=words[PASSWORD])
        room.deploy(sample, standalone=True)
        statuses = dict(_backups(room, places))
        yield Story(Planted(values), processes, places, statuses)


@contextmanager
def _azure(
    room: Space, plane: ControlPlane, places: dict[str, Place], values: dict[str, str | bytes]
) -> Iterator[None]:
    """With a SAS, where pods reach this machine."""
    if plane.kind != "embedded":
        yield
        return
    with azurite.azurite() as server:
        token = azurite.sas()
        values["sas"] = parse_qs(token)["sig"][0]
        places["azure"] = stores.azure(room, server, {"AZURE_STORAGE_SAS_TOKEN": token})
        yield


def _backups(room: Space, places: dict[str, Place]) -> Iterator[tuple[str, Json]]:
    """One backup into each store, and one whose store says no."""
    algorithms = {"s3": "AES256", "gcs": "ChaCha20", "azure": "AES256"}
    refused = places["s3"].storage | {"bucket": "no-such-bucket"}
    storages = {name: place.storage for name, place in places.items()} | {"refused": refused}
    for name, storage in storages.items():
        encryption = {"enabled": True, "keySecret": "keys", "algorithm": algorithms.get(name, "AES256")}
        spec = {
            "target": {"kind": "Cluster", "name": "vault"},
            "storage": storage,
            "options": {"encryption": encryption, "verifyBackup": True},
        }
        room.backup(name, spec)
    for name in places:
        yield name, room.wait_phase(name, "Completed")
    said = eventually(lambda: _mentions(room, "refused", "no-such-bucket"), "the refusal is reported")
    yield "refused", said


def _mentions(room: Space, name: str, text: str) -> Json | None:
    status = room.status(name)
    return status if text in json.dumps(status) else None


def on_this_machine(plane: ControlPlane) -> None:
    if plane.kind != "embedded":
        pytest.skip("the pods' processes and files are on another machine")


def test_the_backups_used_them(story: Story) -> None:
    """Else nothing below would mean anything."""
    for name in story.places:
        assert story.statuses[name]["history"][0]["outcome"] == "Succeeded"


def test_no_command_line_shows_one(story: Story, control_plane: ControlPlane) -> None:
    on_this_machine(control_plane)
    seen = b"\n".join(command for command, _ in story.processes.seen)
    assert all(program in seen for program in (_RUNNER, _OPERATOR, _DUMP))
    assert story.planted.found_in(seen) == []
    assert not any(mark in seen for mark in PRIVATE_KEY_MARKS)


def test_only_neo4j_and_its_sidecar_have_the_password_in_their_environment(
    story: Story, control_plane: ControlPlane
) -> None:
    on_this_machine(control_plane)
    without = 0
    for command, environment in story.processes.seen:
        assert story.planted.found_in(environment, but=[PASSWORD]) == [], command
        if any(program in command for program in (_RUNNER, _OPERATOR, _DUMP)):
            without += 1
            assert story.planted.found_in(environment) == [], command
    assert without > len(story.places)
    # The look can see: Neo4j's own container has it, as its image asks.
    assert any(story.planted.found_in(environment) for _, environment in story.processes.seen)


def test_no_log_tells_one(room: Space, story: Story) -> None:
    lines = 0
    for namespace in (room.name, installation.NAMESPACE):
        for pod in room.kubectl.get("-n", namespace, "pods")["items"]:
            name = pod["metadata"]["name"]
            log = room.kubectl("-n", namespace, "logs", name, "--all-containers")
            lines += log.count("\n")
            assert story.planted.found_in(log.encode()) == [], name
            assert not any(mark in log.encode() for mark in PRIVATE_KEY_MARKS), name
    assert lines > 20


def test_no_object_but_a_secret_holds_one(room: Space, story: Story) -> None:
    """Status and Events among them, with what the server keeps of who wrote which field."""
    kinds = room.kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
    assert {"events", "pods", "neo4jbackups.neo4j.neo4j.com"} <= set(kinds)
    for namespace in (room.name, installation.NAMESPACE):
        every = ",".join(sorted(set(kinds) - {"secrets"}))
        found = room.kubectl("-n", namespace, "get", every, "-o", "json", "--show-managed-fields")
        assert '"kind": "Neo4jBackup"' in found or namespace != room.name
        assert story.planted.found_in(found.encode()) == []
    assert story.planted.found_in(room.kubectl("-n", room.name, "get", "secrets", "-o", "json").encode())


def test_no_object_of_a_repository_holds_one(story: Story) -> None:
    for name, place in story.places.items():
        files = place.fetch(name)
        assert any(key.startswith("runs/") for key in files)
        for key, data in files.items():
            assert story.planted.found_in(data) == [], key


def test_no_file_is_left_with_one(story: Story, control_plane: ControlPlane) -> None:
    """On the node, in the volumes and beside them, but for the Secrets that are mounted."""
    on_this_machine(control_plane)
    looked = 0
    for path in control_plane.kubeconfig.parent.rglob("*"):
        with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
            if _MOUNTED & set(path.parts) or not path.is_file() or path.is_symlink():
                continue
            data = path.read_bytes()
            looked += 1
            assert story.planted.found_in(data) == [], path
    assert looked > 20
