"""Keys are changed while backups made with the old ones are kept: whole runs, and what opens which."""

from __future__ import annotations

import base64

import pytest

from controller.repository import catalogue, decrypt
from controller.repository.encryption import age, bech32
from controller.repository.encryption.codec import open_encryption
from controller.repository.encryption.errors import WrongKey
from controller.repository.encryption.keys import read_keys
from controller.repository.manifest import RunManifest
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.wire.messages import Outcome
from tests.unit.runner.fakes import QUICK
from tests.unit.runner.test_protection import world_with
from tests.unit.runner.test_run import NOW, ORDERS, SYSTEM, World

pytestmark = pytest.mark.asyncio
Secret = dict[str, bytes]
OLD, NEW = bytes(range(1, 33)), bytes(range(101, 133))


def aes(key: bytes) -> bytes:
    return base64.b64encode(key)


def identity(key: bytes) -> bytes:
    return bech32.encode("age-secret-key-", key).upper().encode()


def recipient(key: bytes) -> bytes:
    return str(age.Identity(key).recipient).encode()


async def run(world: World, run_id: str, secret: Secret) -> RunManifest:
    algorithm = world.spec.encryption
    assert algorithm
    surroundings = Surroundings(
        store=world.store,
        connect=lambda server: world.agents[server.pod],
        log=Log(lambda: NOW, world.log),
        tracker=Tracker(run_id, world.said.append, lambda: 0.0),
        now=lambda: NOW,
        encryption=open_encryption(algorithm, secret),
        persistence=QUICK,
    )
    result = await Run(world.spec, run_id, surroundings).result()
    assert (result.outcome, result.error) == (Outcome.SUCCEEDED, "")
    found = catalogue.find_run(world.store, run_id)
    assert found is not None
    return found


def opened(world: World, manifest: RunManifest, secret: Secret) -> dict[str, bytes]:
    """What the manifest describes, through the decryption of the documented program."""
    keys = read_keys(secret)
    return {
        one.database: b"".join(decrypt.plain_chunks(world.store.get(one.key), keys, one))
        for one in manifest.artifacts
    }


EVERYTHING = {"system": SYSTEM, "orders": ORDERS}


async def test_an_aes_key_is_changed_and_old_backups_still_open() -> None:
    world = world_with(encryption="AES256")
    first = await run(world, "run-1", {"aes256-2025": aes(OLD)})
    both = {"aes256-2025": aes(OLD), "aes256-2026": aes(NEW), "active": b"2026\n"}
    second = await run(world, "run-2", both)
    only_new = {"aes256-2026": aes(NEW)}
    third = await run(world, "run-3", only_new)

    for manifest in (first, second, third):
        assert opened(world, manifest, both) == EVERYTHING
    assert opened(world, second, only_new) == opened(world, third, only_new) == EVERYTHING
    with pytest.raises(WrongKey, match="keys tried: aes256-2026/"):
        opened(world, first, only_new)


async def test_the_manifest_says_which_key_opens_what() -> None:
    world = world_with(encryption="AES256")
    first = await run(world, "run-1", {"aes256-2025": aes(OLD)})
    second = await run(world, "run-2", {"aes256-2025": aes(OLD), "aes256-2026": aes(NEW), "active": b"2026"})
    again = await run(world, "run-3", {"aes256-2026": aes(NEW)})
    (old,), (new,) = ({one.key_ids for one in each.artifacts} for each in (first, second))
    assert old[0].startswith("aes256-2025/")
    assert new[0].startswith("aes256-2026/")
    assert {one.key_ids for one in again.artifacts} == {new}


async def test_a_key_under_the_name_of_another_is_told_from_it() -> None:
    """Somebody overwrites a key instead of adding one: the name is the same, the fingerprint is not."""
    world = world_with(encryption="AES256")
    first = await run(world, "run-1", {"aes256-2025": aes(OLD)})
    second = await run(world, "run-2", {"aes256-2025": aes(NEW)})
    assert {one.key_ids for one in first.artifacts}.isdisjoint({one.key_ids for one in second.artifacts})
    with pytest.raises(WrongKey):
        opened(world, first, {"aes256-2025": aes(NEW)})


async def test_recipients_are_replaced_and_old_backups_open_with_the_old_identity() -> None:
    world = world_with(encryption="ChaCha20")
    first = await run(world, "run-1", {"age-recipients": recipient(OLD)})
    second = await run(world, "run-2", {"age-recipients": recipient(OLD) + b"\n" + recipient(NEW)})
    third = await run(world, "run-3", {"age-recipients": recipient(NEW)})
    old, new = {"age-identity": identity(OLD)}, {"age-identity": identity(NEW)}
    assert opened(world, first, old) == opened(world, second, old) == EVERYTHING
    assert opened(world, second, new) == opened(world, third, new) == EVERYTHING
    with pytest.raises(WrongKey, match="no age identity fits"):
        opened(world, first, new)
    assert {one.key_ids for one in second.artifacts} == {(recipient(OLD).decode(), recipient(NEW).decode())}
