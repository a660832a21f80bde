"""The kinds of other operators: both layouts, and nothing that a strange field could break."""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec
import pytest

from controller.api.model import JsonObject
from controller.api.targets import (
    Foreign,
    NamedSet,
    Neo4jDatabase,
    Neo4jEnterpriseCluster,
    Neo4jEnterpriseStandalone,
    read_cluster,
    read_database,
    read_standalone,
)

F = TypeVar("F", bound=Foreign)


def decode(type_: type[F], spec: object = None, status: object = None) -> F:
    body = {"metadata": {"name": "prod", "namespace": "n", "uid": "u"}, "spec": spec, "status": status}
    return msgspec.json.decode(json.dumps(body), type=type_)


def test_the_present_layout_has_one_stateful_set_of_servers() -> None:
    spec = {
        "image": {"repo": "neo4j", "tag": "5.26.0-enterprise"},
        "topology": {"servers": 4},
        "auth": {"adminSecret": "secret"},
    }
    found = read_cluster(decode(Neo4jEnterpriseCluster, spec, {"phase": "Ready", "version": "5.26.0"}))
    assert found.stateful_sets == (NamedSet("prod-server", 4, "unknown"),)
    assert (found.kind, found.namespace, found.name, found.uid) == (
        "Neo4jEnterpriseCluster",
        "n",
        "prod",
        "u",
    )
    assert (found.image, found.admin_secret) == ("neo4j:5.26.0-enterprise", "secret")
    assert (found.phase, found.version) == ("Ready", "5.26.0")


def test_the_early_layout_has_a_stateful_set_for_each_role() -> None:
    spec = {"topology": {"primaries": 3, "secondaries": 1}}
    assert read_cluster(decode(Neo4jEnterpriseCluster, spec)).stateful_sets == (
        NamedSet("prod-primary", 3, "primary"),
        NamedSet("prod-secondary", 1, "secondary"),
    )


def test_an_early_cluster_without_secondaries_has_no_set_of_them() -> None:
    spec = {"topology": {"primaries": 1, "secondaries": 0}}
    assert read_cluster(decode(Neo4jEnterpriseCluster, spec)).stateful_sets == (
        NamedSet("prod-primary", 1, "primary"),
    )


def test_a_standalone_is_one_server_of_its_own_name() -> None:
    found = read_standalone(decode(Neo4jEnterpriseStandalone, {}))
    assert found.stateful_sets == (NamedSet("prod", 1, "primary"),)
    assert found.admin_secret == "neo4j-admin-secret"


@pytest.mark.parametrize(
    ("spec", "database", "cluster"),
    [
        ({"name": "orders", "clusterRef": "prod"}, "orders", "prod"),
        ({"clusterRef": "prod"}, "prod", "prod"),
        ({}, "prod", ""),
    ],
)
def test_a_database_names_its_cluster(spec: JsonObject, database: str, cluster: str) -> None:
    found = read_database(decode(Neo4jDatabase, spec))
    assert (found.database, found.cluster_ref) == (database, cluster)


@pytest.mark.parametrize(
    "spec",
    [
        None,
        [],
        "text",
        {"topology": "three"},
        {"topology": {"servers": "3"}},
        {"topology": {"servers": True}},
        {"image": 7, "auth": []},
    ],
)
def test_a_field_of_another_type_counts_as_absent(spec: object) -> None:
    found = read_cluster(decode(Neo4jEnterpriseCluster, spec, status=7))
    assert found.stateful_sets == ()
    assert (found.image, found.phase) == ("", "")
