"""FULL, DIFF, DIFF: the runner, real agents, the simulated Neo4j and a repository on disk, then a restore."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from controller.repository import catalogue, decrypt
from controller.repository.encryption.codec import Algorithm, open_encryption
from controller.repository.encryption.keys import read_keys
from controller.repository.manifest import RunManifest
from controller.repository.stores.directory import DirectoryStore
from controller.wire.messages import Outcome, Retention, RunResult
from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.store import digest
from tests.support.local_agent import LocalAgent
from tests.unit.neo4j_sim.support import Cluster
from tests.unit.runner.test_protection import SECRET
from tests.unit.runner.test_with_real_agents import back_up, cluster_with_agents

pytestmark = pytest.mark.asyncio
KINDS: list[tuple[str, Algorithm | None]] = [
    ("5.26.3", None),
    ("2025.06.1", "AES256"),
    ("2026.02.0", "ChaCha20"),
]


# One server: whose turn it is does not matter here, and cannot change while the tests run.
HERE = {"s0": "primary"}
DATABASES: list[Json] = [
    {"name": "system", "type": "system", "hosts": HERE},
    {"name": "orders", "hosts": HERE, "storeBytes": 3_000_000},
]


class Lab:
    """A cluster, its agents, and a repository whose runs are numbered."""

    def __init__(
        self, cluster: Cluster, agents: dict[str, LocalAgent], root: Path, algorithm: Algorithm | None
    ) -> None:
        self.cluster = cluster
        self.agents = agents
        self.root = root
        (root / "repository").mkdir()
        self.store = DirectoryStore(root / "repository")
        self._encryption = open_encryption(algorithm, SECRET) if algorithm else None
        self._runs = 0

    async def back_up(self, **changes: object) -> RunResult:
        self._runs += 1
        run_id = f"{self._runs:08d}-1111-2222-3333-444444444444"
        return await back_up(self.agents, self.store, run_id, encryption=self._encryption, **changes)

    def runs(self) -> tuple[RunManifest, ...]:
        return catalogue.read(self.store).runs

    def live(self) -> Json:
        return digest(self.cluster["s0"].dbms.replicas["orders"].store.frames())

    def restored(self) -> Json:
        """What ``neo4j-admin`` makes of the newest artifact of ``orders`` and its chain's folder."""
        artifact = next(one for one in self.runs()[-1].artifacts if one.database == "orders")
        folder = self.root / f"plain-{self._runs}"
        folder.mkdir()
        for run in self.runs():
            for one in run.artifacts:
                if one.chain == artifact.chain and one.database == "orders":
                    described = one if one.encryption else None
                    data = self.store.get(one.key)
                    chunks = decrypt.plain_chunks(data, read_keys(SECRET), described) if described else data
                    name = one.key.rpartition("/")[2].removesuffix(".age").removesuffix(".aes256")
                    (folder / name).write_bytes(b"".join(chunks))
        newest = artifact.key.rpartition("/")[2].removesuffix(".age").removesuffix(".aes256")
        self.admin("database", "restore", f"--from-path={folder / newest}", f"restored{self._runs}")
        found: Json = json.loads(self.admin("sim-digest", f"restored{self._runs}"))
        return {"lastTx": found["lastTx"], "digest": found["digest"]}

    def admin(self, *arguments: str) -> str:
        home = self.root / "pods/s0/var/lib/neo4j"
        root = self.root / "restoring"
        (root / "data").mkdir(parents=True, exist_ok=True)
        env = dict(os.environ) | {"CONTAINER_ROOT": str(root), "NEO4J_HOME": str(home)}
        command = [str(home / "bin/neo4j-admin"), *arguments]
        return subprocess.run(command, env=env, cwd=root, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(("version", "algorithm"), KINDS)
async def test_full_and_differentials_restore_to_what_was_there(
    tmp_path: Path, version: str, algorithm: Algorithm | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO4J_SIM_FAULTS", '{"diff_overlap": 3}')
    with cluster_with_agents(tmp_path, version, DATABASES, 1) as (cluster, agents):
        lab = Lab(cluster, agents, tmp_path, algorithm)
        for kind in ("FULL", "DIFF", "DIFF"):
            result = await lab.back_up(verify=True)
            assert result.verified_level == "Consistency"
            assert (result.outcome, result.error, result.warnings) == (Outcome.SUCCEEDED, "", ())
            assert result.type == kind
            assert lab.restored() == lab.live()
            cluster["s0"].commit(4, "orders")
        orders = [one for run in lab.runs() for one in run.artifacts if one.database == "orders"]
        assert len({one.chain for one in orders}) == 1
        reach = orders[0].highest_tx + 1 - orders[1].lowest_tx
        assert reach == (3 if version == "2026.02.0" else 0)
        empty = [one for one in lab.runs()[1].artifacts if one.database == "system"]
        assert [(one.full, one.lowest_tx, one.highest_tx) for one in empty] == [(False, 0, 0)]


async def test_a_diff_names_the_database_that_has_nothing_to_continue_and_saves_the_others(
    tmp_path: Path,
) -> None:
    with cluster_with_agents(tmp_path, databases=DATABASES, count=1) as (cluster, agents):
        lab = Lab(cluster, agents, tmp_path, None)
        await lab.back_up(databases=("orders",))
        result = await lab.back_up(type="DIFF")
        assert result.outcome is Outcome.PARTIALLY_SUCCEEDED
        assert {one.name: one.type for one in result.databases if not one.error} == {"orders": "DIFF"}
        (missing,) = (one for one in result.databases if one.error)
        assert missing.name == "system"
        assert "set options.backupType to AUTO or FULL" in missing.error


async def test_a_backup_that_was_made_anew_goes_on_where_it_was(tmp_path: Path) -> None:
    """The resource was lost with its status, and applied again: another uid, the same name and storage."""
    with cluster_with_agents(tmp_path, databases=DATABASES, count=1) as (cluster, agents):
        lab = Lab(cluster, agents, tmp_path, None)
        first = await lab.back_up(backup_uid="before")
        cluster["s0"].commit(4, "orders")
        second = await lab.back_up(backup_uid="after")
        assert second.type == "DIFF"
        assert [(one.run_id, one.type, one.size) for one in second.earlier] == [
            (first.run_id, "FULL", first.size)
        ]
        assert lab.restored() == lab.live()
        keep_one = Retention(max_count=1)
        third = await lab.back_up(backup_uid="after", type="FULL", retention=keep_one)
        assert third.pruned == 4, "both databases of both runs that another uid made"
        assert [run.run_id for run in lab.runs()] == [third.run_id]
