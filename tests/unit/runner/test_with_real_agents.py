"""The runner, real agents and the simulated Neo4j: a cluster of three into S3."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from controller.repository import catalogue
from controller.repository.encryption.codec import Encryption
from controller.repository.store import Store
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.wire.messages import Outcome, RunResult, RunSpec, Server, StorageTarget
from hack.devcluster.neo4j_sim.image import install
from hack.devcluster.neo4j_sim.protocol import Json
from tests.support.local_agent import LocalAgent, local_agent
from tests.support.s3 import s3_server
from tests.unit.neo4j_sim.support import Cluster, headers, running

pytestmark = pytest.mark.asyncio
RUN = "0f4d2c3b-1111-2222-3333-444444444444"
DATABASES = (
    {"name": "system", "type": "system", "hosts": {"s0": "primary", "s1": "primary"}},
    {
        "name": "orders",
        "hosts": {"s0": "primary", "s1": "primary", "s2": "secondary"},
        "storeBytes": 3_000_000,
    },
    {"name": "all", "type": "composite"},
)


@contextmanager
def cluster_with_agents(
    root: Path, version: str = "5.26.3", databases: Sequence[Json] = DATABASES, count: int = 3
) -> Iterator[tuple[Cluster, dict[str, LocalAgent]]]:
    with ExitStack() as stack:
        cluster = stack.enter_context(running(root / "servers", databases, count, version))
        agents = {}
        for name in cluster.servers:
            home = root / "pods" / name
            home.mkdir(parents=True)
            install(home, cluster.version)
            address = cluster.address(name)
            env = dict(os.environ) | {
                "NEO4J_AUTH": "neo4j/neo4j",
                "NEO4J_server_default__advertised__address": address,
                "DEVCLUSTER_POD_IP": address,
                "POD_IP": address,
            }
            agents[name] = stack.enter_context(local_agent(name, home, env))
        yield cluster, agents


async def back_up(
    agents: dict[str, LocalAgent], store: Store, run_id: str = RUN, *,
    encryption: Encryption | None = None, **changes: object,
) -> RunResult:  # fmt: skip
    def now() -> datetime:
        return datetime.now(UTC)

    spec = RunSpec(
        namespace="ns",
        backup="nightly",
        backup_uid="uid",
        generation=1,
        deployment="graph",
        servers=tuple(Server(pod=name, namespace="ns") for name in agents),
        storage=StorageTarget(type="pvc"),
    )
    spec = msgspec.structs.replace(spec, **changes)
    log = Log(now)
    world = Surroundings(
        store=store,
        connect=lambda server: agents[server.pod].session(),
        log=log,
        tracker=Tracker(run_id, log.progress, time.monotonic),
        now=now,
        encryption=encryption,
    )
    return await Run(spec, run_id, world).result()


def check(result: RunResult, store: Store, cluster: Cluster, scratch: Path) -> None:
    """What is stored is what Neo4j made, from the server where it hurts least."""
    assert (result.outcome, result.error, result.warnings) == (Outcome.SUCCEEDED, "", ())
    assert (result.type, result.transport, result.neo4j_version) == ("FULL", "tls", cluster.version)
    servers = {one.name: (one.server, one.role) for one in result.databases}
    assert servers["orders"] == ("s2", "secondary")
    assert servers["system"][1] == "primary"
    (run,) = catalogue.read(store).runs
    scratch.mkdir()
    for artifact in run.artifacts:
        data = b"".join(store.get(artifact.key))
        assert (len(data), hashlib.sha256(data).hexdigest()) == (artifact.size, artifact.sha256)
        Path(scratch, artifact.key.rpartition("/")[2]).write_bytes(data)
    found = {header.name: header for header in headers(scratch)}
    assert found.keys() == {"orders", "system"}
    assert all(header.full for header in found.values())
    assert found["orders"].highest == cluster["s0"].last_tx("orders")


async def test_a_cluster_goes_to_s3(tmp_path: Path) -> None:
    with cluster_with_agents(tmp_path) as (cluster, agents), s3_server() as s3:
        place = S3Settings(
            bucket=s3.make_bucket(),
            prefix="ns/nightly",
            endpoint=s3.endpoint,
            access_key_id="a",
            secret_access_key="b",
        )
        store = S3Store(place)
        result = await back_up(agents, store)
        check(result, store, cluster, tmp_path / "restored")
        for name in agents:
            staging = tmp_path / "pods" / name / "data/backups/.staging"
            assert not staging.exists() or list(staging.iterdir()) == []
