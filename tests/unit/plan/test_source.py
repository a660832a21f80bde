"""Which server a database is copied from, row by row."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from controller.plan.source import (
    EVERYTHING,
    Group,
    Keeper,
    SourcePlan,
    choose_sources,
    next_groups,
    with_keepers_first,
)
from controller.wire.messages import DatabaseRow, Server, TopologyAnswer

PODS = ("graph-server-0", "graph-server-1", "graph-server-2", "graph-server-3")
Hint = Literal["primary", "secondary", "unknown"]


def servers(*pods: str, hints: dict[str, Hint] | None = None) -> tuple[Server, ...]:
    hints = hints or {}
    return tuple(Server(pod=pod, namespace="ns", role_hint=hints.get(pod, "unknown")) for pod in pods or PODS)


def address(pod: str) -> str:
    return f"{pod}.graph-headless.ns.svc.cluster.local:7687"


def row(name: str, pod: str, role: str = "primary", **more: object) -> DatabaseRow:
    base = DatabaseRow(
        name=name,
        type="standard",
        address=address(pod) if pod else "",
        role=role,
        writer=False,
        requested_status="online",
        current_status="online",
        replication_lag=0,
        last_committed_tx=100,
    )
    return msgspec.structs.replace(base, **more)


def view(*rows: DatabaseRow, by: str = PODS[0]) -> dict[str, TopologyAnswer]:
    return {by: TopologyAnswer(databases=rows, neo4j_version="5.26.3", server_address=address(by))}


def choose(
    answers: dict[str, TopologyAnswer], *requested: str, unreachable: dict[str, str] | None = None
) -> SourcePlan:
    return choose_sources(requested, servers(), answers, unreachable or {})


def order(plan: SourcePlan, database: str) -> list[str]:
    return [one.pod for choice in plan.choices if choice.database == database for one in choice.candidates]


CLUSTER = (
    row("orders", PODS[0], writer=True),
    row("orders", PODS[1]),
    row("orders", PODS[2], "secondary", replication_lag=-7),
    row("orders", PODS[3], "secondary", replication_lag=-2),
    row("system", PODS[0]),
    row("system", PODS[1], writer=True),
)


def test_secondaries_by_lag_then_followers_then_the_writer() -> None:
    plan = choose(view(*CLUSTER))
    assert order(plan, "orders") == [PODS[3], PODS[2], PODS[1], PODS[0]]
    assert order(plan, "system") == [PODS[0], PODS[1]]
    assert (plan.refused, plan.skipped, plan.warnings) == ((), (), ())


def test_every_verdict_says_why() -> None:
    plan = choose(view(*CLUSTER))
    whys = {choice.database: [one.why for one in choice.candidates] for choice in plan.choices}
    assert whys["orders"] == [
        "online secondary, 2 transactions behind",
        "online secondary, 7 transactions behind",
        "online primary that is not the writer",
        "the writer",
    ]
    assert whys["system"][0] == "online primary that is not the writer; no secondary is online"


def test_a_secondary_whose_lag_is_unknown_comes_after_those_that_tell() -> None:
    rows = (
        row("db", PODS[0], "secondary", replication_lag=None),
        row("db", PODS[1], "secondary", replication_lag=-9999),
        row("db", PODS[2]),
    )
    assert order(choose(view(*rows)), "db") == [PODS[1], PODS[0], PODS[2]]


@pytest.mark.parametrize(
    "status", ["offline", "starting", "store copying", "dirty", "quarantined", "unknown"]
)
def test_a_copy_that_is_not_online_is_no_source(status: str) -> None:
    rows = (row("db", PODS[0], "secondary", current_status=status), row("db", PODS[1], writer=True))
    assert order(choose(view(*rows)), "db") == [PODS[1]]


def test_a_server_whose_agent_is_silent_is_no_source() -> None:
    plan = choose(view(*CLUSTER), unreachable={PODS[3]: "no such pod", PODS[2]: "no such pod"})
    assert order(plan, "orders") == [PODS[1], PODS[0]]


def test_an_agent_that_cannot_ask_is_still_a_source() -> None:
    answers = view(*CLUSTER) | {PODS[3]: TopologyAnswer(error="busy: a dump is running in this sidecar")}
    assert order(choose(answers), "orders")[0] == PODS[3]


def test_exactly_what_was_asked_for_is_chosen() -> None:
    plan = choose(view(*CLUSTER), "Orders")
    assert [choice.database for choice in plan.choices] == ["orders"]


def test_an_unknown_name_is_refused() -> None:
    plan = choose(view(*CLUSTER), "orders", "typo")
    assert [choice.database for choice in plan.choices] == ["orders"]
    assert [(one.database, one.reason) for one in plan.refused] == [
        ("typo", "the deployment has no database of this name (aliases are not databases)")
    ]


def test_composite_databases_are_left_out_and_refused_by_name() -> None:
    rows = (*CLUSTER, row("all", "", "", type="composite"))
    plan = choose(view(*rows))
    assert [one.database for one in plan.skipped] == ["all"]
    assert (plan.refused, plan.warnings) == ((), ())
    assert "no store of its own" in choose(view(*rows), "all").refused[0].reason


def test_a_stopped_database_is_a_warning_and_a_refusal_by_name() -> None:
    stopped = row("old", PODS[0], requested_status="offline", current_status="offline")
    plan = choose(view(*CLUSTER, stopped))
    assert [one.database for one in plan.skipped] == ["old"]
    assert plan.warnings == (
        "old was not saved: it is stopped (requested status offline); start it to have it saved",
    )
    assert "start it" in choose(view(*CLUSTER, stopped), "old").refused[0].reason


def test_a_database_that_should_be_online_and_is_not_is_refused() -> None:
    ill = row("ill", PODS[0], current_status="offline", status_message="store is corrupt")
    plan = choose(view(*CLUSTER, ill))
    assert [(one.database, one.reason) for one in plan.refused] == [
        ("ill", f"no server has it online ({PODS[0]}: offline, store is corrupt)")
    ]


def test_a_database_that_only_silent_servers_have_is_refused() -> None:
    plan = choose(view(row("db", PODS[2])), unreachable={PODS[2]: "gone"})
    assert plan.refused[0].reason == f"it is online only on {PODS[2]}, whose agent does not answer"


def test_an_unavailable_server_has_no_address_and_is_explained() -> None:
    lost = row("db", "", "unknown", current_status="unknown", status_message="Server is unavailable")
    assert (
        "a server that is unavailable: unknown, Server is unavailable" in choose(view(lost)).refused[0].reason
    )


def test_shards_are_never_half_saved() -> None:
    plan = choose(view(row("foo-g000", PODS[0], type="graph shard"), row("foo", "", "", type="sharded")))
    assert plan.choices == ()
    assert [one.database for one in plan.refused] == ["foo-g000"]
    assert "sharded property database, which is not supported" in plan.refused[0].reason
    assert [one.database for one in plan.skipped] == ["foo"]


def test_a_server_is_believed_most_about_itself() -> None:
    stale = row("db", PODS[1], writer=True, last_committed_tx=999)
    fresh = row("db", PODS[1], last_committed_tx=5)
    answers = view(stale, row("db", PODS[0], writer=True)) | view(fresh, by=PODS[1])
    assert order(choose(answers), "db") == [PODS[1], PODS[0]]


@pytest.mark.parametrize(
    ("given", "pod"),
    [
        ("graph-server-1.graph-headless.ns.svc.cluster.local:7687", "graph-server-1"),
        ("graph-server-1:7687", "graph-server-1"),
        ("graph-server-1", "graph-server-1"),
        ("graph-server-11.x:7687", ""),
        ("10.0.0.7:7687", ""),
        ("elsewhere.example.com:7687", ""),
    ],
)
def test_addresses_lead_to_pods_by_their_first_label(given: str, pod: str) -> None:
    plan = choose(view(row("db", "x", address=given)))
    assert order(plan, "db") == ([pod] if pod else [])


def test_a_chart_release_is_named_by_its_service() -> None:
    pods = ("server-1-0", "server-2-0")
    rows = (row("db", "x", address="server-2.ns.svc.cluster.local:7687"),)
    answers = {
        "server-1-0": TopologyAnswer(databases=rows, server_address="server-1.ns.svc.cluster.local:7687")
    }
    plan = choose_sources((), servers(*pods), answers, {})
    assert order(plan, "db") == ["server-2-0"]


def test_a_server_that_calls_itself_localhost_is_itself() -> None:
    rows = (row("db", "x", address="localhost:7687", writer=True),)
    answers = {"graph-0": TopologyAnswer(databases=rows, server_address="")}
    assert order(choose_sources((), servers("graph-0"), answers, {}), "db") == ["graph-0"]


def test_a_custom_address_is_found_through_its_owner() -> None:
    rows = (row("db", "x", address="10.0.0.7:7687"),)
    answers = view(*rows) | {PODS[2]: TopologyAnswer(databases=rows, server_address="10.0.0.7:7687")}
    assert order(choose(answers), "db") == [PODS[2]]


# --- where nobody can ask ------------------------------------------------------------------------

HINTS: dict[str, Hint] = {PODS[0]: "primary", PODS[1]: "primary", PODS[2]: "unknown", PODS[3]: "secondary"}


def blind(
    *requested: str, unreachable: dict[str, str] | None = None, pods: tuple[str, ...] = PODS
) -> SourcePlan:
    answers = {pod: TopologyAnswer(error="no credentials") for pod in pods if pod not in (unreachable or {})}
    return choose_sources(requested, servers(*pods, hints=HINTS), answers, unreachable or {})


def test_without_the_dbms_declared_roles_decide() -> None:
    plan = blind("orders")
    assert order(plan, "orders") == [PODS[3], PODS[2], PODS[0], PODS[1]]
    assert "no credentials" in plan.warnings[0]


def test_without_the_dbms_everything_is_what_the_server_hosts_and_doubt_is_told() -> None:
    plan = blind(unreachable={PODS[3]: "gone"})
    assert [choice.is_everything for choice in plan.choices] == [True]
    assert order(plan, EVERYTHING)[0] == PODS[2]
    assert "could not be checked" in plan.warnings[1]


def test_a_single_server_leaves_no_doubt_about_others() -> None:
    assert len(blind(pods=PODS[:1]).warnings) == 1


def test_without_any_agent_the_run_is_blocked() -> None:
    plan = blind(unreachable=dict.fromkeys(PODS, "gone"))
    assert plan.choices == ()
    assert "gone" in plan.blocked
    assert [one.database for one in blind("orders", unreachable=dict.fromkeys(PODS, "gone")).refused] == [
        "orders"
    ]


# --- groups --------------------------------------------------------------------------------------


def test_a_server_dumps_all_that_it_is_best_for_in_one_go() -> None:
    choices = choose(view(*CLUSTER, row("neo4j", PODS[3], "secondary"))).choices
    assert next_groups(choices, {}) == (Group(PODS[0], ("system",)), Group(PODS[3], ("neo4j", "orders")))


def test_what_failed_goes_to_the_next_server_and_ends_with_the_last() -> None:
    choices = choose(view(*CLUSTER), "orders").choices
    assert next_groups(choices, {"orders": {PODS[3]}}) == (Group(PODS[2], ("orders",)),)
    assert next_groups(choices, {"orders": set(PODS)}) == ()


# --- who keeps the open chain --------------------------------------------------------------------


def at(pod: str, role: str, last_tx: int, **more: object) -> DatabaseRow:
    return row("db", pod, role, last_committed_tx=last_tx, replication_lag=last_tx - 1000, **more)


@pytest.mark.parametrize(
    ("keeper", "first"),
    [
        (Keeper(PODS[1], 900), PODS[1]),  # a little behind the other secondary: no reason to break a chain
        (Keeper(PODS[1], 975), PODS[1]),
        (Keeper(PODS[1], 985), PODS[0]),  # less than half of what is new: it is stuck, or nearly
        (Keeper(PODS[1], 995), PODS[0]),  # behind its own chain
        (Keeper(PODS[2], 900), PODS[2]),  # a follower: a differential of it costs less than a FULL elsewhere
        (Keeper(PODS[3], 900), PODS[3]),  # even of the writer, which may have become it since
        (Keeper("another-pod", 900), PODS[0]),
    ],
)
def test_the_keeper_of_the_open_chain_goes_first_while_it_is_good_for_it(keeper: Keeper, first: str) -> None:
    rows = (
        at(PODS[0], "secondary", 999),
        at(PODS[1], "secondary", 990),
        at(PODS[2], "primary", 1000),
        at(PODS[3], "primary", 1000, writer=True),
    )
    plan = with_keepers_first(choose(view(*rows)), {"db": keeper})
    assert order(plan, "db")[0] == first
    assert sorted(order(plan, "db")) == sorted(PODS)
    why = plan.choices[0].candidates[0].why
    assert ("it keeps the open chain" in why) is (first == keeper.pod)


def test_a_keeper_that_is_offline_is_no_source() -> None:
    rows = (at(PODS[0], "secondary", 999), at(PODS[1], "secondary", 999, current_status="store copying"))
    assert order(with_keepers_first(choose(view(*rows)), {"db": Keeper(PODS[1], 1)}), "db") == [PODS[0]]
