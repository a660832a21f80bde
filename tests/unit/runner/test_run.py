"""Whole runs against agents in this process: what ends up in the repository, and what is reported."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio
import msgspec
import pytest

from controller.repository import catalogue
from controller.repository.errors import AccessDenied, NoSuchBucket
from controller.repository.stores.memory import MemoryStore
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.wire.messages import (
    BackupType,
    DatabaseRow,
    Outcome,
    Progress,
    RunResult,
    RunSpec,
    RunState,
    Server,
    StorageTarget,
    TopologyAnswer,
)
from tests.unit.runner.fakes import QUICK, FakeAgent, Weather

pytestmark = pytest.mark.asyncio
NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
RUN = "0f4d2c3b-1111-2222-3333-444444444444"
SYSTEM, ORDERS = random.Random(1).randbytes(10_000), random.Random(2).randbytes(900_000)


def row(name: str, pod: str, role: str, *, writer: bool = False, **more: object) -> DatabaseRow:
    made = DatabaseRow(
        name=name,
        type="system" if name == "system" else "standard",
        address=f"{pod}.graph:7687",
        role=role,
        writer=writer,
        requested_status="online",
        current_status="online",
        replication_lag=0,
    )
    return msgspec.structs.replace(made, **more)


ROWS = (
    row("system", "graph-0", "primary", writer=True),
    row("system", "graph-1", "primary"),
    row("orders", "graph-0", "primary", writer=True),
    row("orders", "graph-1", "primary"),
    row("orders", "graph-2", "secondary"),
)


@dataclass
class World:
    """A deployment of three servers and a repository."""

    store: MemoryStore = field(default_factory=MemoryStore)
    rows: tuple[DatabaseRow, ...] = ROWS
    spec: RunSpec = field(
        default_factory=lambda: RunSpec(
            namespace="ns",
            backup="nightly",
            backup_uid="uid",
            generation=1,
            deployment="graph",
            servers=tuple(Server(pod=f"graph-{number}", namespace="ns") for number in range(3)),
            storage=StorageTarget(type="pvc"),
        )
    )
    said: list[Progress] = field(default_factory=list)
    log: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        answer = TopologyAnswer(
            databases=self.rows, neo4j_version="5.26.3", server_address="graph-0.graph:7687"
        )
        stores = {"system": SYSTEM, "orders": ORDERS}
        self.agents = {
            f"graph-{number}": FakeAgent(f"graph-{number}", stores=dict(stores), answer=answer)
            for number in range(3)
        }

    def runner(self, run_id: str = RUN) -> Run:
        world = Surroundings(
            store=self.store,
            connect=lambda server: self.agents[server.pod],
            log=Log(lambda: NOW, self.log),
            tracker=Tracker(run_id, self.said.append, lambda: 0.0),
            now=lambda: NOW,
            persistence=QUICK,
        )
        return Run(self.spec, run_id, world)

    async def run(self, run_id: str = RUN) -> RunResult:
        return await self.runner(run_id).result()

    def keys(self) -> list[str]:
        return sorted(info.key for info in self.store.list(""))

    def databases(self) -> dict[str, bytes]:
        """What a restore would find: the artifacts of the committed run."""
        run = catalogue.read(self.store).runs[-1]
        return {one.database: b"".join(self.store.get(one.key)) for one in run.artifacts}


async def test_a_cluster_is_saved_whole_from_where_it_hurts_least() -> None:
    world = World()
    result = await world.run()
    assert result.outcome is Outcome.SUCCEEDED
    assert {one.name: (one.server, one.role) for one in result.databases} == {
        "orders": ("graph-2", "secondary"),
        "system": ("graph-1", "primary"),
    }
    assert world.databases() == {"system": SYSTEM, "orders": ORDERS}
    assert (result.type, result.neo4j_version, result.size) == ("FULL", "5.26.3", len(SYSTEM) + len(ORDERS))
    assert [request.databases for request in world.agents["graph-2"].requests] == [("orders",)]


async def test_the_repository_looks_as_documented() -> None:
    world = World()
    result = await world.run()
    chain = "2026-03-01T12-00-00-0f4d2c3b"
    assert world.keys() == [
        f"databases/orders/{chain}/orders-2026-03-01T12-00-00.backup",
        f"databases/system/{chain}/system-2026-03-01T12-00-00.backup",
        "probe.json",
        "repository.json",
        f"runs/{RUN}.json",
    ]
    assert result.manifest == f"runs/{RUN}.json"


async def test_staging_is_released_and_progress_is_seen() -> None:
    world = World()
    await world.run()
    for name in ("graph-1", "graph-2"):
        agent = world.agents[name]
        assert agent.released == [RUN]
    phases = [line.phase for line in world.said]
    assert phases[0] == "Resolving"
    assert phases[-2:] == ["Committing", "Pruning"]
    assert {"Dumping", "Uploading"} <= set(phases)
    assert world.said[-1].databases_done == world.said[-1].databases_total == 2


async def test_a_database_that_fails_on_one_server_is_taken_from_the_next() -> None:
    world = World()
    world.agents["graph-2"].stores.pop("orders")
    world.agents["graph-2"].broken["orders"] = "store copy failed"
    result = await world.run()
    assert result.outcome is Outcome.SUCCEEDED
    assert {one.name: one.server for one in result.databases} == {"orders": "graph-1", "system": "graph-1"}


async def test_a_transfer_that_fails_is_taken_from_the_next_server_too() -> None:
    world = World()
    world.agents["graph-2"].weather = Weather(status=404)
    result = await world.run()
    assert {one.name: one.server for one in result.databases}["orders"] == "graph-1"
    assert world.databases()["orders"] == ORDERS


async def test_a_database_that_fails_everywhere_is_missing_with_every_reason() -> None:
    world = World()
    for agent in world.agents.values():
        agent.stores.pop("orders")
        agent.broken["orders"] = "store copy failed"
    result = await world.run()
    assert result.outcome is Outcome.PARTIALLY_SUCCEEDED
    assert result.error_reason == "DatabasesMissing"
    assert world.databases() == {"system": SYSTEM}
    error = next(one.error for one in result.databases if one.name == "orders")
    assert [f"graph-{number}: store copy failed" in error for number in range(3)] == [True] * 3


async def test_an_agent_that_ends_well_without_an_artifact_is_not_believed() -> None:
    world = World()
    for agent in world.agents.values():
        agent.stores.pop("orders")
    result = await world.run()
    assert result.outcome is Outcome.PARTIALLY_SUCCEEDED
    assert "the dump left no artifact of it" in result.error


async def test_an_artifact_that_the_agent_calls_failed_is_not_saved() -> None:
    world = World()
    for agent in world.agents.values():
        agent.broken["orders"] = "inspect found it damaged"
    result = await world.run()
    assert world.databases() == {"system": SYSTEM}
    assert "inspect found it damaged" in result.error


async def test_nothing_saved_commits_nothing() -> None:
    world = World()
    for agent in world.agents.values():
        agent.stores.clear()
        agent.error = "heap exhausted"
    result = await world.run()
    assert (result.outcome, result.error_reason, result.manifest) == (Outcome.FAILED, "BackupFailed", "")
    assert "heap exhausted" in result.error
    assert catalogue.read(world.store).runs == ()


async def test_a_full_volume_has_a_word_of_its_own() -> None:
    world = World()
    for agent in world.agents.values():
        agent.stores.clear()
        agent.error = "No space left on device"
    result = await world.run()
    assert (result.outcome, result.error_reason) == (Outcome.FAILED, "DataVolumeFull")


async def test_warnings_reach_the_outcome() -> None:
    world = World()
    world.agents["graph-2"].warnings = ("metadata was left out",)
    result = await world.run()
    assert result.outcome is Outcome.SUCCEEDED_WITH_WARNINGS
    assert result.warnings == ("graph-2: metadata was left out",)


async def test_an_exit_code_that_complains_over_whole_artifacts_is_a_warning() -> None:
    world = World()
    world.agents["graph-2"].error = "exit code 1"
    result = await world.run()
    assert result.outcome is Outcome.SUCCEEDED_WITH_WARNINGS
    assert result.warnings == ("graph-2: exit code 1",)


async def test_a_differential_without_a_parent_says_what_to_ask_for() -> None:
    world = World()
    world.spec = msgspec.structs.replace(world.spec, type="DIFF")
    result = await world.run()
    assert (result.outcome, result.error_reason) == (Outcome.FAILED, "NoParentBackup")
    assert "AUTO or FULL" in result.error
    assert all(not agent.requests for agent in world.agents.values())


async def test_auto_names_the_newest_artifact_as_the_parent_once_there_is_one() -> None:
    world = World()
    await world.run()
    await world.run("1f4d2c3b-1111-2222-3333-444444444444")
    first, second = world.agents["graph-2"].requests
    assert (first.type, first.chain, first.parents) == ("AUTO", "ns.nightly", ())
    assert [(one.database, one.highest_tx) for one in second.parents] == [("orders", 9)]


@pytest.mark.parametrize("type_", ["AUTO", "FULL"])
async def test_an_agent_hears_what_each_database_took_last_time(type_: BackupType) -> None:
    world = World()
    world.spec = msgspec.structs.replace(world.spec, type=type_)
    await world.run()
    await world.run("1f4d2c3b-1111-2222-3333-444444444444")
    first, second = world.agents["graph-2"].requests
    assert first.last_fulls == ()
    assert [(one.database, one.size) for one in second.last_fulls] == [("orders", len(ORDERS))]


async def test_only_what_was_committed_continues_a_chain() -> None:
    world = World()
    await world.run()
    assert world.agents["graph-2"].committed == ["orders-2026-03-01T12-00-00.backup"]


SECOND = "1f4d2c3b-1111-2222-3333-444444444444"


async def test_a_chain_stays_with_its_server_although_another_has_less_lag() -> None:
    world = World()
    world.agents["graph-2"].lost = "rebooting"
    await world.run()
    world.agents["graph-2"].lost = ""
    result = await world.run(SECOND)
    assert {one.name: one.server for one in result.databases}["orders"] == "graph-1"
    world.spec = msgspec.structs.replace(world.spec, max_chain_length=1)
    result = await world.run("2f4d2c3b-1111-2222-3333-444444444444")
    assert {one.name: one.server for one in result.databases}["orders"] == "graph-2"


async def test_every_agent_is_told_which_chains_go_on_there() -> None:
    world = World()
    await world.run()
    told = {name: agent.chains for name, agent in world.agents.items()}
    assert told == {
        "graph-0": [("ns.nightly", ())],
        "graph-1": [("ns.nightly", ("system",))],
        "graph-2": [("ns.nightly", ("orders",))],
    }


async def test_full_backups_leave_no_chain_on_a_server() -> None:
    world = World()
    world.spec = msgspec.structs.replace(world.spec, type="FULL")
    await world.run()
    assert [agent.chains for agent in world.agents.values()] == [[("ns.nightly", ())]] * 3


async def test_a_run_that_is_not_committed_says_nothing_about_chains() -> None:
    world = World(store=FullLater())
    await world.run()
    assert {key for agent in world.agents.values() for key, _ in agent.chains} == {""}


async def test_a_chain_of_which_the_repository_lost_a_part_is_not_made_longer() -> None:
    world = World()
    await world.run()
    (artifact,) = (one for one in catalogue.read(world.store).runs[0].artifacts if one.database == "orders")
    world.store.delete(artifact.key)
    await world.run(SECOND)
    request = world.agents["graph-2"].requests[-1]
    assert request.parents == ()
    assert request.broken == {"orders": f"{artifact.key} is not in the repository any more as it was stored"}


async def test_a_pod_that_finds_the_run_committed_releases_what_its_predecessor_left() -> None:
    world = World()
    await world.run()
    for agent in world.agents.values():
        agent.released.clear()
        agent.committed.clear()
    await world.run()
    assert world.agents["graph-2"].released == [RUN]
    assert world.agents["graph-2"].committed == ["orders-2026-03-01T12-00-00.backup"]


async def test_an_unknown_database_leaves_a_partial_run_that_says_so() -> None:
    world = World()
    world.spec = msgspec.structs.replace(world.spec, databases=("orders", "typo"))
    result = await world.run()
    assert result.outcome is Outcome.PARTIALLY_SUCCEEDED
    assert "no database of this name" in result.error
    assert list(world.databases()) == ["orders"]


async def test_a_transport_through_exec_is_told() -> None:
    world = World()
    world.agents["graph-2"].weather = Weather(unreachable=True)
    assert (await world.run()).transport == "exec"


async def test_without_any_agent_the_reason_is_theirs() -> None:
    world = World()
    for agent in world.agents.values():
        agent.lost = "no such container"
    result = await world.run()
    assert (result.outcome, result.error_reason) == (Outcome.FAILED, "AgentUnreachable")
    assert "graph-0: no such container" in result.error


async def test_where_the_dbms_cannot_be_asked_a_server_gives_all_it_has() -> None:
    world = World(rows=())
    for agent in world.agents.values():
        agent.answer = TopologyAnswer(error="no credentials")
    result = await world.run()
    assert result.outcome is Outcome.SUCCEEDED_WITH_WARNINGS
    assert world.databases() == {"system": SYSTEM, "orders": ORDERS}
    assert world.agents["graph-0"].requests[0].databases == ()


async def test_shards_are_not_half_saved_where_the_dbms_cannot_be_asked() -> None:
    world = World(rows=())
    for agent in world.agents.values():
        agent.answer = TopologyAnswer(error="no credentials")
        agent.version = "2025.12.0"
        agent.stores |= {"shop-g000": ORDERS, "shop-p000": ORDERS}
    result = await world.run()
    assert result.outcome is Outcome.PARTIALLY_SUCCEEDED
    assert sorted(world.databases()) == ["orders", "system"]
    assert {one.name for one in result.databases if "sharded property database" in one.error} == {
        "shop-g000",
        "shop-p000",
    }


async def test_where_a_server_has_nothing_the_next_is_asked_for_all() -> None:
    world = World(rows=())
    for agent in world.agents.values():
        agent.answer = TopologyAnswer(error="no credentials")
    world.agents["graph-0"].lost = ""
    world.agents["graph-0"].stores.clear()
    result = await world.run()
    assert result.error == ""
    assert world.databases() == {"system": SYSTEM, "orders": ORDERS}


# --- the repository comes first ------------------------------------------------------------------


class Refusing(MemoryStore):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        raise self._error


@pytest.mark.parametrize("error", [NoSuchBucket("bucket 'b' does not exist"), AccessDenied("no")])
async def test_a_repository_that_refuses_ends_the_run_before_any_dump(error: AccessDenied) -> None:
    world = World(store=Refusing(error))
    result = await world.run()
    assert (result.outcome, result.error_reason, result.error) == (Outcome.FAILED, error.reason, str(error))
    assert all(not agent.requests for agent in world.agents.values())


class FullLater(MemoryStore):
    """Denies artifacts, as a bucket whose policy changed meanwhile."""

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        if key.startswith("databases/"):
            raise AccessDenied("not any more")
        super().put(key, chunks)


async def test_a_repository_that_refuses_later_fails_the_run_and_frees_the_staging() -> None:
    world = World(store=FullLater())
    result = await world.run()
    assert (result.outcome, result.error_reason) == (Outcome.FAILED, "AccessDenied")
    assert world.agents["graph-2"].released
    assert catalogue.read(world.store).runs == ()


async def test_a_run_that_is_committed_is_reported_and_not_repeated() -> None:
    world = World()
    first = await world.run()
    for agent in world.agents.values():
        agent.requests.clear()
    assert await world.run() == first
    assert all(not agent.requests for agent in world.agents.values())


async def test_another_run_is_another_chain() -> None:
    world = World()
    await world.run()
    await world.run("99999999-1111-2222-3333-444444444444")
    chains = {artifact.chain for run in catalogue.read(world.store).runs for artifact in run.artifacts}
    assert len(chains) == 2


# --- the same run again --------------------------------------------------------------------------


async def test_a_replaced_runner_joins_the_dump_that_is_going_on() -> None:
    world = World()
    with anyio.CancelScope() as scope:
        world.agents["graph-2"].dumping = scope.cancel
        await world.run()
    world.agents["graph-2"].dumping = lambda: None
    assert (await world.run()).outcome is Outcome.SUCCEEDED
    first, second = world.agents["graph-2"].requests
    assert first == second
    assert first.run_id.startswith(RUN)


async def test_what_an_earlier_pod_left_failed_is_dumped_anew() -> None:
    world = World()
    agent = world.agents["graph-2"]
    agent.submit_states = [RunState.FAILED, RunState.QUEUED]
    assert (await world.run()).outcome is Outcome.SUCCEEDED
    assert len(agent.requests) == 2
    assert agent.released == [agent.requests[0].run_id, RUN]


async def test_a_run_that_is_cancelled_releases_its_staging_and_commits_nothing() -> None:
    world = World()
    with anyio.CancelScope() as scope:
        world.agents["graph-1"].dumping = scope.cancel
        await world.run()
    assert scope.cancelled_caught
    assert world.agents["graph-1"].released
    assert catalogue.read(world.store).runs == ()


async def test_the_log_tells_the_story() -> None:
    world = World()
    await world.run()
    text = world.log.getvalue()
    assert 'event=source database=orders server=graph-2 role=secondary why="online secondary' in text
    assert "event=stored key=databases/orders/" in text
