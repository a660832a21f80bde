"""Worlds to plan in: what a user may ask for, around what may be there."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from controller.wire.messages import Outcome
from tests.property.plan.world import NAMESPACE, World

OTHER = "elsewhere"


def storages() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"type": "pvc", "pvc": {"name": "store", "size": "1Gi"}},
            {"type": "pvc", "pvc": {"size": "1Gi"}},
            {"type": "pvc", "pvc": {"name": "nobody-made-it"}},
            {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "r"}},
            {"type": "gcs", "bucket": "b"},
        ]
    )


def targets() -> st.SearchStrategy[dict[str, Any]]:
    return st.sampled_from(
        [
            {"kind": "Cluster", "name": "graph"},
            {"kind": "Cluster", "name": "release"},
            {"kind": "Cluster", "name": "far", "namespace": OTHER},
            {"kind": "Database", "name": "orders"},
            {"kind": "Database", "name": "orders", "clusterRef": "graph"},
            {"kind": "Cluster", "name": "missing"},
        ]
    )


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    spec: dict[str, Any] = {"target": draw(targets()), "storage": draw(storages())}
    if draw(st.booleans()):
        spec["schedule"] = "0 2 * * *"
        spec["suspend"] = draw(st.booleans())
    if draw(st.integers(0, 9)) == 0:
        spec["options"] = {"encryption": {"enabled": True, "keySecret": "k"}}
    if draw(st.integers(0, 9)) == 0:
        spec["storage"] = {"type": "s3"}
    return spec


@st.composite
def worlds(draw: st.DrawFn) -> World:
    world = World(spec=draw(specs()))
    if draw(st.booleans()):
        world.annotations["backup.neo4j.com/run-now"] = draw(st.sampled_from(["1", "2025-01-01", "x" * 80]))
    if draw(st.integers(0, 4)):
        world.cluster("graph", servers=draw(st.integers(1, 4)))
    if draw(st.booleans()):
        world.servers("release", 1, labels={"helm.neo4j.com/neo4j.name": "release"})
    if draw(st.booleans()):
        world.cluster("far", servers=2, namespace=OTHER, allow=draw(st.sampled_from(["", NAMESPACE, "*"])))
    world.outcome = draw(
        st.sampled_from([Outcome.SUCCEEDED, Outcome.FAILED, Outcome.SUCCEEDED_WITH_WARNINGS])
    )
    return world


@st.composite
def lived_in(draw: st.DrawFn) -> World:
    """A world in the middle of things: some rounds are over, and the user may have changed her mind."""
    world = draw(worlds())
    for _ in range(draw(st.integers(0, 8))):
        world.round()
        if draw(st.booleans()):
            world.tick()
        if draw(st.integers(0, 4)) == 0:
            world.fire()
        if draw(st.integers(0, 5)) == 0:
            world.spec, world.generation = draw(specs()), world.generation + 1
    world.deleting = draw(st.integers(0, 7)) == 0
    return world
