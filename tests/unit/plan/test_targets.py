"""Which deployment and which databases a backup is about: found, waited for, listed, or refused."""

from __future__ import annotations

from typing import Any

from controller.api.backup import BackupSpec
from controller.plan.targets import Missing, Target, refusal, resolve
from tests.property.plan.world import NAMESPACE, World

S3 = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}}


def found(world: World) -> Target | Missing:
    observed = world.observe()
    assert isinstance(observed.spec, BackupSpec)
    result = resolve(observed, observed.spec.target)
    assert isinstance(result, Target | Missing)
    return result


def world_of(**target: Any) -> World:
    return World(spec={"target": target, "storage": S3})


def test_a_cluster_is_found_with_its_stateful_set_and_means_all_databases() -> None:
    world = world_of(kind="Cluster", name="graph")
    world.cluster("graph", servers=3)
    world.cluster("other", servers=1)
    target = found(world)
    assert isinstance(target, Target)
    assert (target.kind, target.databases) == ("Neo4jEnterpriseCluster", ())
    assert target.pod_names == ("graph-server-0", "graph-server-1", "graph-server-2")


def test_the_early_layout_has_a_stateful_set_for_each_role() -> None:
    world = world_of(kind="Cluster", name="graph")
    world.put(
        "neo4jenterpriseclusters",
        {"metadata": {"name": "graph"}, "spec": {"topology": {"primaries": 1, "secondaries": 2}}},
    )
    world.servers("graph-primary", 1)
    world.servers("graph-secondary", 2)
    target = found(world)
    assert isinstance(target, Target)
    assert target.pod_names == ("graph-primary-0", "graph-secondary-0", "graph-secondary-1")
    assert target.roles["graph-secondary"] == "secondary"


def test_a_helm_release_is_found_by_its_label_over_all_its_servers() -> None:
    world = world_of(kind="Cluster", name="release")
    for index in (1, 2):
        world.servers(f"server-{index}", 1, labels={"helm.neo4j.com/neo4j.name": "release"})
    target = found(world)
    assert isinstance(target, Target)
    assert target.pod_names == ("server-1-0", "server-2-0")


def test_a_missing_target_is_waited_for_by_name() -> None:
    missing = found(world_of(kind="Cluster", name="graph"))
    assert isinstance(missing, Missing)
    assert "waiting for" in missing.message
    assert "named graph" in missing.message


def test_a_target_scaled_to_zero_is_waited_for() -> None:
    world = world_of(kind="Cluster", name="graph")
    world.cluster("graph", servers=1)
    world.stored["statefulsets", NAMESPACE, "graph-server"]["spec"]["replicas"] = 0
    missing = found(world)
    assert isinstance(missing, Missing)
    assert missing.reason == "NoReplicas"


def test_a_stateful_set_of_another_cluster_with_a_similar_name_is_left_alone() -> None:
    world = world_of(kind="Cluster", name="products")
    world.cluster("products", servers=1)
    world.cluster("productsales", servers=1)
    target = found(world)
    assert isinstance(target, Target)
    assert [item.name for item in target.stateful_sets] == ["products-server"]


def test_the_owner_says_more_than_the_name() -> None:
    world = world_of(kind="Cluster", name="graph")
    world.cluster("graph", servers=1)
    owner = {"kind": "Neo4jEnterpriseCluster", "name": "graph", "uid": "an older one", "controller": True}
    world.stored["statefulsets", NAMESPACE, "graph-server"]["metadata"]["ownerReferences"] = [owner]
    assert isinstance(found(world), Missing)


def test_a_database_resource_names_its_deployment_and_its_name_inside_neo4j() -> None:
    world = world_of(kind="Database", name="orders-db")
    world.cluster("graph", servers=1)
    world.cluster("second", servers=1)
    world.put(
        "neo4jdatabases",
        {"metadata": {"name": "orders-db"}, "spec": {"name": "orders", "clusterRef": "second"}},
    )
    target = found(world)
    assert isinstance(target, Target)
    assert (target.name, target.databases) == ("second", ("orders",))


def test_a_database_of_the_only_deployment_needs_no_more_words() -> None:
    world = world_of(kind="Database", name="orders")
    world.cluster("graph", servers=1)
    target = found(world)
    assert isinstance(target, Target)
    assert (target.name, target.databases) == ("graph", ("orders",))


def test_several_candidates_are_listed_and_not_guessed() -> None:
    world = world_of(kind="Database", name="orders")
    world.cluster("graph", servers=1)
    world.cluster("second", servers=1)
    world.servers("s", 1, labels={"helm.neo4j.com/neo4j.name": "release"})
    missing = found(world)
    assert isinstance(missing, Missing)
    assert missing.reason == "TargetAmbiguous"
    assert "graph, release, second" in missing.message
    assert "spec.target.clusterRef" in missing.message


def test_cluster_ref_decides_between_candidates() -> None:
    world = world_of(kind="Database", name="orders", clusterRef="second")
    world.cluster("graph", servers=1)
    world.cluster("second", servers=1)
    target = found(world)
    assert isinstance(target, Target)
    assert target.name == "second"


def test_another_namespace_is_backed_up_only_with_its_consent() -> None:
    world = world_of(kind="Cluster", name="graph", namespace="elsewhere")
    world.cluster("graph", servers=1, namespace="elsewhere", allow="a, b")
    target = found(world)
    assert isinstance(target, Target)
    assert refusal(target, "b") == ""
    assert refusal(target, "elsewhere") == ""
    assert "backup.neo4j.com/allow-from=prod" in refusal(target, NAMESPACE)


def test_consent_of_one_server_of_a_release_is_not_consent_of_all() -> None:
    world = world_of(kind="Cluster", name="release", namespace="elsewhere")
    helm = {"helm.neo4j.com/neo4j.name": "release"}
    allowing = {"backup.neo4j.com/allow-from": "*"}
    world.servers("one", 1, namespace="elsewhere", labels=helm, annotations=allowing)
    world.servers("two", 1, namespace="elsewhere", labels=helm)
    target = found(world)
    assert isinstance(target, Target)
    assert refusal(target, NAMESPACE)
