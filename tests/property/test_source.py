"""The choice of sources, over any topology."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from controller.plan.source import EVERYTHING, SourcePlan, choose_sources, next_groups
from controller.wire.messages import DatabaseRow, Server, TopologyAnswer

PODS = [f"graph-server-{index}" for index in range(4)]
NAMES = ["system", "neo4j", "orders"]

rows = st.builds(
    DatabaseRow,
    name=st.sampled_from(NAMES),
    type=st.sampled_from(["standard", "system", "composite", "graph shard"]),
    address=st.sampled_from(["", "10.1.2.3:7687", "localhost:7687", *(f"{pod}.x:7687" for pod in PODS)]),
    role=st.sampled_from(["primary", "secondary", "unknown", ""]),
    writer=st.booleans(),
    requested_status=st.sampled_from(["online", "offline"]),
    current_status=st.sampled_from(["online", "online", "offline", "dirty"]),
    last_committed_tx=st.none() | st.integers(0, 9),
    replication_lag=st.none() | st.integers(-9, 0),
)
answers = st.builds(
    TopologyAnswer,
    databases=st.lists(rows, max_size=8).map(tuple),
    server_address=st.sampled_from(["", "localhost:7687", *(f"{pod}.x:7687" for pod in PODS)]),
    error=st.sampled_from(["", "", "busy"]),
)
server = st.builds(
    Server, pod=st.sampled_from(PODS), namespace=st.just("ns"),
    role_hint=st.sampled_from(["primary", "secondary", "unknown"]),
)  # fmt: skip
topologies = st.tuples(
    st.lists(st.sampled_from([*NAMES, "typo"]), max_size=3, unique=True),
    st.lists(server, max_size=4, unique_by=lambda one: one.pod),
    st.dictionaries(st.sampled_from(PODS), answers, max_size=4),
    st.dictionaries(st.sampled_from(PODS), st.just("gone"), max_size=3),
)
Topology = tuple[list[str], list[Server], dict[str, TopologyAnswer], dict[str, str]]


def choose(topology: Topology) -> SourcePlan:
    return choose_sources(*topology)


@given(topologies, st.randoms())
def test_the_order_of_the_inputs_changes_nothing(topology: Topology, random: Random) -> None:
    requested, servers, views, unreachable = topology
    shuffled = {}
    for pod in random.sample(sorted(views), len(views)):
        found = list(views[pod].databases)
        random.shuffle(found)
        answer = views[pod]
        shuffled[pod] = TopologyAnswer(
            databases=tuple(found), server_address=answer.server_address, error=answer.error
        )
    again = (
        random.sample(requested, len(requested)),
        random.sample(servers, len(servers)),
        shuffled,
        dict(reversed(unreachable.items())),
    )
    assert choose(again) == choose(topology)


@given(topologies)
def test_nothing_asked_for_is_dropped_in_silence(topology: Topology) -> None:
    requested, servers, views, unreachable = topology
    plan = choose(topology)
    told = {choice.database for choice in plan.choices} | {one.database for one in plan.refused}
    told |= {one.database for one in plan.skipped}
    assert set(requested) <= told
    asked = {one.pod for one in servers} - set(unreachable)
    looks = [view for pod, view in views.items() if pod in asked and not view.error]
    if looks and not requested:
        assert told == {row.name for view in looks for row in view.databases}


@given(topologies)
def test_candidates_are_reachable_each_once_secondaries_first_writers_last(
    topology: Topology,
) -> None:
    _, servers, _, unreachable = topology
    ranks = {"secondary": 0, "primary": 1, "unknown": 2, "writer": 3}
    plan = choose(topology)
    for choice in plan.choices:
        pods = [one.pod for one in choice.candidates]
        assert pods
        assert len(set(pods)) == len(pods)
        assert set(pods) <= {one.pod for one in servers} - set(unreachable)
        if not plan.warnings or "could not be asked" not in plan.warnings[0]:
            order = [ranks[one.role] for one in choice.candidates]
            assert order == sorted(order)


@given(topologies)
def test_rounds_try_every_candidate_once_and_end(topology: Topology) -> None:
    choices = choose(topology).choices
    tried: dict[str, set[str]] = {}
    while groups := next_groups(choices, tried):
        assert len({group.pod for group in groups}) == len(groups)
        for group in groups:
            for name in group.databases:
                assert group.pod not in tried.setdefault(name, set())
                tried[name].add(group.pod)
    assert tried == {choice.database: {one.pod for one in choice.candidates} for choice in choices}
    assert EVERYTHING not in NAMES
