"""Whole runs with encryption, verification and retention, on every store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import msgspec
import pytest

from controller.repository import catalogue, decrypt, intents, layout
from controller.repository.encryption import age, bech32
from controller.repository.encryption.codec import open_encryption
from controller.repository.encryption.errors import KeyUnusable
from controller.repository.encryption.keys import read_keys
from controller.repository.errors import Unavailable
from controller.repository.manifest import RunManifest, StoredArtifact
from controller.repository.opening import open_encryption as encryption_of
from controller.repository.store import Store
from controller.repository.stores.directory import DirectoryStore
from controller.repository.stores.memory import MemoryStore
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.wire.messages import Outcome, Retention, RunResult
from hack.images.gcs_server import gcs_server
from tests.support.azurite import azurite
from tests.support.s3 import s3_server
from tests.unit.repository.conftest import azure_store, gcs_store, s3_store
from tests.unit.runner.fakes import QUICK
from tests.unit.runner.test_run import NOW, ORDERS, SYSTEM, World

pytestmark = pytest.mark.asyncio
SECRET_KEY = bytes(range(1, 33))
IDENTITY = bech32.encode("age-secret-key-", SECRET_KEY).upper()
SECRET = {
    "key": SECRET_KEY.hex().encode(),
    "age-recipients": str(age.Identity(SECRET_KEY).recipient).encode(),
    "age-identity": IDENTITY.encode(),
}


async def run(world: World, store: Store | None = None, run_id: str = "run-1") -> RunResult:
    algorithm = world.spec.encryption
    surroundings = Surroundings(
        store=store or world.store,
        connect=lambda server: world.agents[server.pod],
        log=Log(lambda: NOW, world.log),
        tracker=Tracker(run_id, world.said.append, lambda: 0.0),
        now=lambda: NOW,
        encryption=open_encryption(algorithm, SECRET) if algorithm else None,
        persistence=QUICK,
    )
    return await Run(world.spec, run_id, surroundings).result()


def world_with(**changes: object) -> World:
    world = World()
    world.spec = msgspec.structs.replace(world.spec, **changes)
    return world


def manifest(store: Store) -> RunManifest:
    return catalogue.read(store).runs[-1]


def plain(store: Store, artifact: StoredArtifact) -> bytes:
    described = artifact if artifact.encryption else None
    if described is None:
        return b"".join(store.get(artifact.key))
    return b"".join(decrypt.plain_chunks(store.get(artifact.key), read_keys(SECRET), described))


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Store]]:
    with ExitStack() as servers:

        def make(kind: str) -> Store:
            match kind:
                case "s3":
                    s3 = servers.enter_context(s3_server())
                    return s3_store(s3, s3.make_bucket())
                case "gcs":
                    gcs = servers.enter_context(gcs_server())
                    return gcs_store(gcs, gcs.make_bucket())
                case "azure":
                    azure = servers.enter_context(azurite())
                    return azure_store(azure, azure.make_container())
                case "directory":
                    return DirectoryStore(Path(tmp_path_factory.mktemp("volume")), "some/where")
            return MemoryStore()

        yield make


@pytest.mark.parametrize("kind", ["memory", "directory", "s3", "gcs", "azure"])
async def test_a_backup_arrives_on_every_store_plain_and_encrypted(
    kind: str, stores: Callable[[str], Store]
) -> None:
    store = stores(kind)
    for number, algorithm in enumerate(("", "AES256", "ChaCha20")):
        world = world_with(encryption=algorithm, verify=True)
        result = await run(world, store, f"run-{number}")
        assert (result.outcome, result.verified, result.error) == (Outcome.SUCCEEDED, True, "")
        saved = catalogue.find_run(store, f"run-{number}")
        assert saved is not None
        assert {one.database: plain(store, one) for one in saved.artifacts} == {
            "system": SYSTEM,
            "orders": ORDERS,
        }
        assert {one.encryption for one in saved.artifacts} == {algorithm}
        assert all(one.verified for one in saved.artifacts)


@pytest.mark.parametrize(("algorithm", "suffix"), [("AES256", ".aes256"), ("ChaCha20", ".age")])
async def test_the_manifest_tells_plain_from_stored_and_which_key_opens_it(
    algorithm: str, suffix: str
) -> None:
    world = world_with(encryption=algorithm)
    await run(world)
    artifact = next(one for one in manifest(world.store).artifacts if one.database == "orders")
    stored = b"".join(world.store.get(artifact.key))
    assert artifact.key.endswith(f".backup{suffix}")
    assert (artifact.size, artifact.sha256) == (len(stored), hashlib.sha256(stored).hexdigest())
    assert (artifact.plain_size, artifact.plain_sha256) == (len(ORDERS), hashlib.sha256(ORDERS).hexdigest())
    assert ORDERS[:100] not in stored
    assert artifact.key_ids == open_encryption(algorithm, SECRET).key_ids  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["AES256", "ChaCha20"])
async def test_no_secret_is_in_the_log_the_result_or_the_repository(algorithm: str) -> None:
    world = world_with(encryption=algorithm, verify=True)
    result = await run(world)
    written = b"".join(b"".join(world.store.get(info.key)) for info in world.store.list(""))
    shown = written + world.log.getvalue().encode() + msgspec.json.encode(result)
    for secret in (IDENTITY.encode(), SECRET["key"], SECRET_KEY):
        assert secret not in shown


async def test_a_run_that_should_encrypt_never_falls_back_to_plain(tmp_path: Path) -> None:
    spec = world_with(encryption="AES256").spec
    with pytest.raises(KeyUnusable):
        encryption_of(spec, tmp_path / "not mounted")
    assert encryption_of(world_with().spec, tmp_path) is None


# --- verification -------------------------------------------------------------------------------------


class Rotten(MemoryStore):
    """Loses a bit of every object whose key has ``name`` in it."""

    def __init__(self, name: str, *, gone: bool = False) -> None:
        super().__init__()
        self._name = name
        self._gone = gone

    def get(self, key: str) -> Iterator[bytes]:
        data = bytearray(b"".join(super().get(key)))
        if self._name in key and key.startswith("databases"):
            if self._gone:
                self.delete(key)
                return super().get(key)
            data[len(data) // 2] ^= 4
        return iter([bytes(data)])


@pytest.mark.parametrize("gone", [False, True])
async def test_an_artifact_that_fails_verification_is_no_part_of_the_backup(gone: bool) -> None:
    world, store = world_with(verify=True), Rotten("orders", gone=gone)
    result = await run(world, store)
    assert (result.outcome, result.verified) == (Outcome.PARTIALLY_SUCCEEDED, False)
    assert result.error_reason == "VerificationFailed"
    assert "orders: verification failed" in result.error
    saved = manifest(store)
    assert [one.database for one in saved.artifacts] == ["system"]
    assert saved.verification is not None
    assert (saved.verification.level, saved.verification.failed) == ("StoredObjects", ("orders",))


async def test_a_backup_of_which_nothing_stands_the_check_has_failed() -> None:
    world, store = world_with(verify=True), Rotten("databases")
    result = await run(world, store)
    assert (result.outcome, result.verified, result.error_reason) == (
        Outcome.FAILED,
        False,
        "VerificationFailed",
    )
    assert catalogue.read(store).runs == ()


def checking(world: World, **levels: str) -> None:
    """The agents' own verification of each database: a level, or what is wrong."""
    for agent in world.agents.values():
        agent.checked = dict(levels)


async def test_how_far_a_backup_was_verified_is_as_far_as_its_weakest_artifact() -> None:
    world = world_with(verify=True)
    checking(world, system="Consistency", orders="Consistency")
    result = await run(world)
    assert (result.verified, result.verified_level, result.verified_at) == (True, "Consistency", NOW)
    checking(world, system="Consistency", orders="Chain")
    assert (await run(world, run_id="run-2")).verified_level == "Chain"
    checking(world, system="Consistency")
    assert (await run(world, run_id="run-3")).verified_level == "StoredObjects"


async def test_what_an_agent_finds_unsound_everywhere_is_no_backup() -> None:
    world = world_with(verify=True)
    for agent in world.agents.values():
        agent.unsound["orders"] = "verification failed: inconsistent"
    result = await run(world)
    assert (result.outcome, result.verified) == (Outcome.PARTIALLY_SUCCEEDED, False)
    assert result.error_reason == "VerificationFailed"
    assert [one.database for one in manifest(world.store).artifacts] == ["system"]
    assert manifest(world.store).verification.failed == ("orders",)  # type: ignore[union-attr]


async def test_an_unsound_copy_is_told_although_another_servers_is_good() -> None:
    world = world_with(verify=True)
    world.agents["graph-2"].unsound["orders"] = "verification failed: inconsistent"
    result = await run(world)
    assert (result.outcome, result.verified) == (Outcome.SUCCEEDED_WITH_WARNINGS, True)
    assert {one.name: one.server for one in result.databases}["orders"] == "graph-1"
    assert result.warnings == (
        "orders is from graph-1, for that of graph-2: verification failed: inconsistent",
    )


async def test_verification_is_seen_and_said_only_when_asked_for() -> None:
    world = world_with(verify=True)
    await run(world)
    assert "Verifying" in {line.phase for line in world.said}
    world = world_with()
    result = await run(world)
    assert result.verified is None
    assert manifest(world.store).verification is None
    assert "Verifying" not in {line.phase for line in world.said}


# --- retention ----------------------------------------------------------------------------------------


async def runs(world: World, store: Store, count: int) -> RunResult:
    for number in range(count):
        result = await run(world, store, f"run-{number}")
    return result


def left(store: Store) -> list[str]:
    return [one.run_id for one in catalogue.read(store).runs]


async def test_retention_is_carried_out_after_the_commit() -> None:
    world = world_with(retention=Retention(max_count=2))
    result = await runs(world, world.store, 4)
    assert (result.outcome, result.pruned) == (Outcome.SUCCEEDED, 2)
    assert left(world.store) == ["run-2", "run-3"]
    databases = {info.key for info in world.store.list(layout.DATABASES)}
    assert databases == {one.key for item in catalogue.read(world.store).runs for one in item.artifacts}
    assert not list(world.store.list(layout.INTENTS))
    assert world.said[-1].phase == "Pruning"


async def test_archive_moves_instead() -> None:
    world = world_with(retention=Retention(max_count=1, archive=True), encryption="AES256")
    await runs(world, world.store, 2)
    assert left(world.store) == ["run-1"]
    archived = [info.key for info in world.store.list("archive/databases")]
    assert len(archived) == 2
    assert [info.key for info in world.store.list("archive/runs")] == ["archive/runs/run-0.json"]


async def test_without_a_policy_nothing_goes() -> None:
    world = world_with()
    await runs(world, world.store, 3)
    assert len(left(world.store)) == 3


class Undeletable(MemoryStore):
    def delete(self, key: str) -> None:
        if key.startswith("runs/"):
            raise Unavailable("the store is read-only today")
        super().delete(key)


async def test_a_retention_that_fails_is_a_warning_and_no_failure() -> None:
    world, store = world_with(retention=Retention(max_count=1)), Undeletable()
    result = await runs(world, store, 2)
    assert result.outcome is Outcome.SUCCEEDED_WITH_WARNINGS
    assert "retention was not carried out completely: the store is read-only today" in result.warnings
    assert len(left(store)) == 2


async def test_a_damaged_manifest_blocks_retention_and_says_so() -> None:
    world = world_with(retention=Retention(max_count=1))
    await run(world, None, "run-0")
    world.store.put("runs/strange.json", [b"{"])
    result = await run(world, None, "run-1")
    assert any("runs/strange.json is damaged" in warning for warning in result.warnings)
    assert left(world.store) == ["run-0", "run-1"]


class Uncommittable(MemoryStore):
    """Takes no manifest of ``run-0``."""

    def put_if_absent(self, key: str, data: bytes) -> None:
        if key == "runs/run-0.json":
            raise Unavailable("out of order")
        super().put_if_absent(key, data)


async def test_what_a_failed_run_stored_is_noted_and_swept_after_the_grace() -> None:
    world, store = world_with(), Uncommittable()
    assert (await run(world, store, "run-0")).outcome is Outcome.FAILED
    assert len(list(store.list(layout.DATABASES))) == 2
    assert (await run(world, store, "run-1")).outcome is Outcome.SUCCEEDED
    assert len(list(store.list(layout.DATABASES))) == 4  # it may still be going on
    intents.sweep(store, catalogue.read(store), NOW + intents.GRACE)
    assert len(list(store.list(layout.DATABASES))) == 2
    assert not list(store.list(layout.INTENTS))
