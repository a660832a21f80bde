"""Several servers: roles, replication, failover, administration, and what ``SHOW`` says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hack.devcluster.neo4j_sim.protocol import Json
from hack.devcluster.neo4j_sim.store import digest
from tests.unit.neo4j_sim.support import Cluster, eventually, running

THREE = {"s0": "primary", "s1": "primary", "s2": "primary"}
DATABASES: list[Json] = [
    {"name": "system", "hosts": THREE},
    {"name": "orders", "hosts": THREE | {"s3": "secondary"}, "writer": "s1", "lag": {"s3": 2}},
    {"name": "fabric", "type": "composite", "constituents": ["orders"]},
]


def _digest(cluster: Cluster, server: str, database: str) -> Json:
    return digest(cluster[server].dbms.replicas[database].store.frames())


def test_roles_rows_and_lag(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster["s0"].commit(5, "orders")
        eventually(lambda: cluster["s3"].last_tx("orders") == 13)
        eventually(lambda: cluster["s2"].last_tx("orders") == 15)
        columns = "name, address, role, writer, lastCommittedTxn, replicationLag"

        def rows() -> set[tuple[object, ...]]:
            return {row for row in cluster["s2"].rows(columns) if row[0] == "orders"}

        expected = {
            ("orders", f"{cluster.address('s0')}:7687", "primary", False, 15, 0),
            ("orders", f"{cluster.address('s1')}:7687", "primary", True, 15, 0),
            ("orders", f"{cluster.address('s2')}:7687", "primary", False, 15, 0),
            ("orders", f"{cluster.address('s3')}:7687", "secondary", False, 13, -2),
        }
        eventually(lambda: rows() == expected)
        assert cluster["s0"].rows("name, type, role")[0] == ("fabric", "composite", None)


def test_copies_are_equal(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster["s3"].run("CREATE (:Order {id: 1})", "orders")
        cluster["s0"].commit(3, "orders")
        eventually(lambda: cluster["s2"].last_tx("orders") == 14)
        assert _digest(cluster, "s2", "orders") == _digest(cluster, "s1", "orders")


def test_a_direct_connection_does_not_write_on_a_follower(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        refusal = cluster["s0"].refused("CREATE ()", "orders", routed=False)
        assert "Writes must pass through the leader" in refusal


def test_a_server_that_is_gone(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster.stop("s1")
        server = cluster["s0"]
        gone = ("orders", None, "unknown", "unknown", "Server is unavailable")
        columns = "name, address, role, currentStatus, statusMessage"
        eventually(lambda: gone in server.rows(columns))
        server.commit(4, "orders")
        assert server.last_tx("orders") == 14
        health = {row[0]: row[1] for row in server.run("SHOW SERVERS YIELD address, health")["rows"]}
        assert health[f"{cluster.address('s1')}:7687"] == "Unavailable"


def test_a_server_that_comes_back_catches_up(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster.stop("s2")
        cluster["s0"].commit(5, "orders")
        cluster["s0"].run("CREATE DATABASE fresh TOPOLOGY 3 PRIMARIES")
        cluster.start("s2")
        eventually(lambda: cluster["s2"].last_tx("orders") == 15)
        eventually(lambda: "fresh" in cluster["s2"].dbms.replicas)


def test_without_a_majority_nothing_is_written(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster.stop("s1")
        cluster.stop("s2")
        eventually(lambda: not any(row[0] for row in cluster["s0"].rows("writer")))
        assert "No write server" in cluster["s0"].refused("CREATE ()", "orders")


def test_administration_reaches_every_server(tmp_path: Path) -> None:
    with running(tmp_path, DATABASES, count=4) as cluster:
        cluster["s3"].run("CREATE DATABASE extra TOPOLOGY 2 PRIMARIES 1 SECONDARY")
        eventually(lambda: sum("extra" in server.dbms.replicas for server in cluster.servers.values()) == 3)
        cluster["s1"].run("STOP DATABASE extra")
        eventually(
            lambda: (
                {row[1] for row in cluster["s3"].rows("name, currentStatus") if row[0] == "extra"}
                == {"offline"}
            )
        )
        cluster["s2"].run("DROP DATABASE extra")
        eventually(lambda: not any("extra" in server.dbms.replicas for server in cluster.servers.values()))


def test_state_survives_a_restart(tmp_path: Path) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}]) as cluster:
        cluster["s0"].run("CREATE DATABASE extra")
        cluster["s0"].commit(3, "extra")
        before = _digest(cluster, "s0", "extra")
        cluster.stop("s0")
        cluster.start("s0")
        assert _digest(cluster, "s0", "extra") == before


def test_growth(tmp_path: Path) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j", "txPerSecond": 50}]) as cluster:
        eventually(lambda: cluster["s0"].last_tx("neo4j") > 12)


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SHOW DATABASES YIELD name, type WHERE type = 'system'", [["system", "system"]]),
        ("SHOW DATABASES YIELD name AS n ORDER BY name DESC", [["system"], ["neo4j"]]),
        (
            "SHOW DATABASES YIELD * WHERE name IN ['neo4j'] AND writer RETURN name, role",
            [["neo4j", "primary"]],
        ),
        ("SHOW DATABASE neo4j YIELD name", [["neo4j"]]),
        ("SHOW DATABASES YIELD name WHERE NOT name = 'neo4j'", [["system"]]),
        ("SHOW DATABASES YIELD name WHERE name <> 'neo4j';", [["system"]]),
        ("CYPHER 25 RETURN 1 AS x", [[1]]),
        ("CALL dbms.components() YIELD versions, edition", [[["5.26.3"], "enterprise"]]),
        ("STOP DATABASE nobody IF EXISTS", []),
        ("CREATE DATABASE neo4j IF NOT EXISTS", []),
    ],
)
def test_statements(tmp_path: Path, statement: str, rows: list[object]) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}]) as cluster:
        assert cluster["s0"].run(statement)["rows"] == rows


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("SHOW DATABASES YIELD nonsense", "Variable `nonsense` not defined"),
        ("SHOW DATABASES YIELD defaultLanguage", "not defined"),
        ("SELECT 1", "Invalid input"),
        ("CREATE DATABASE neo4j", "Database already exists"),
        ("DROP DATABASE nobody", "does not exist"),
        ("STOP DATABASE system", "not permitted"),
        ("CREATE DATABASE big TOPOLOGY 2 PRIMARIES", "not enough servers"),
        ("CREATE DATABASE copy OPTIONS {existingData: 'use', seedURI: 's3://b/o.backup'}", "seedURI"),
    ],
)
def test_refused_statements(tmp_path: Path, statement: str, message: str) -> None:
    with running(tmp_path, [{"name": "system"}, {"name": "neo4j"}]) as cluster:
        assert message in cluster["s0"].refused(statement)


def test_columns_of_show_databases_by_version(tmp_path: Path) -> None:
    with running(tmp_path, [{"name": "system"}], version="2025.06.0") as cluster:
        found = cluster["s0"].run("SHOW DATABASES YIELD *")["columns"]
        assert found[:3] == ["name", "type", "aliases"]
        assert found[-1] == "defaultLanguage"
        assert "lastCommittedTxn" not in cluster["s0"].run("SHOW DATABASES")["columns"]
