"""Laws that hold for every plan, over generated worlds (see :mod:`tests.property.plan.world`)."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.api.status import Phase
from controller.plan.changes import Change, Create, Delete, EmitEvent, PatchSidecar
from controller.plan.kinds import CLAIMS, JOBS
from controller.plan.observed import Unknown
from controller.plan.plan import Plan, plan
from controller.resources import names
from tests.property.plan.strategies import lived_in, worlds
from tests.property.plan.world import COLLECTIONS, SINGLES, World, blinded, shuffled

relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
AT_REST = {Phase.COMPLETED, Phase.FAILED, Phase.SCHEDULED, Phase.SUSPENDED}


def dangerous(planned: Plan) -> list[Change]:
    """What restarts servers, starts work, or takes something away."""
    return [
        change
        for change in planned.changes
        if isinstance(change, Delete | PatchSidecar)
        or (isinstance(change, Create) and change.resource == JOBS)
    ]


@given(lived_in())
@relaxed
def test_planning_again_after_acting_changes_nothing(world: World) -> None:
    for _ in range(8):
        planned = world.round()
        if world.deleting and not world.finalizers:
            break
    planned = world.round()
    assert [change for change in planned.changes if not isinstance(change, EmitEvent)] == []
    assert planned.status is None or planned.status == world.status


@given(worlds())
@relaxed
def test_every_world_comes_to_rest_and_says_what_it_waits_for(world: World) -> None:
    planned = world.run_to_rest()
    assert planned.reason
    status = world.status
    assert status.phase in AT_REST or (status.phase is Phase.PENDING and planned.requeue_after)
    ready = status.condition_set.get("Ready")
    assert ready is not None
    assert ready.status != "Unknown"


@given(worlds(), st.lists(st.tuples(st.integers(0, 6), st.booleans(), st.booleans()), max_size=12))
@relaxed
def test_a_crash_anywhere_changes_nothing_in_the_end(
    world: World, crashes: list[tuple[int, bool, bool]]
) -> None:
    for changes, writes, passes in crashes:
        world.round(crash_after=changes, write_status=writes)
        if passes:
            world.tick()
    world.run_to_rest()
    # However often it was interrupted: one run for what was asked, never two.
    assert len(world.made_jobs) == len(set(world.made_jobs)) <= 1


@given(lived_in(), st.lists(st.integers(), min_size=1, max_size=7))
@relaxed
def test_the_order_of_what_was_seen_does_not_matter(world: World, order: list[int]) -> None:
    observed = world.observe()
    assert plan(shuffled(observed, order), world.now) == plan(observed, world.now)


@given(lived_in(), st.sampled_from([*COLLECTIONS, *SINGLES]))
@relaxed
def test_what_we_could_not_see_never_adds_a_dangerous_step(world: World, part: str) -> None:
    observed = world.observe()
    blind = blinded(observed, part)
    allowed = dangerous(plan(observed, world.now))
    assert all(change in allowed for change in dangerous(plan(blind, world.now)))


@given(lived_in(), st.sampled_from([*COLLECTIONS, *SINGLES]))
@relaxed
def test_what_we_could_not_see_settles_no_run(world: World, part: str) -> None:
    if part == "runs" and not world.deleting:
        planned = plan(replace(world.observe(), runs=Unknown("no")), world.now)
        assert planned.status is not None
        assert planned.status.history == world.status.history
        assert planned.status.answered == world.status.answered


@given(lived_in())
@relaxed
def test_labels_and_annotations_of_others_do_not_matter(world: World) -> None:
    before = plan(world.observe(), world.now)
    for plural in ("pods", "jobs", "statefulsets", "roles", "persistentvolumeclaims", "cronjobs"):
        for content in world.all(plural):
            content["metadata"].setdefault("labels", {})["foreign"] = "x"
            content["metadata"].setdefault("annotations", {})["foreign"] = "y"
    assert plan(world.observe(), world.now) == before


@given(lived_in())
@relaxed
def test_no_claim_and_no_finished_run_without_a_record_is_ever_deleted(world: World) -> None:
    recorded = {entry.run_id for entry in world.status.history if entry.status != "Running"}
    for change in plan(world.observe(), world.now).changes:
        if isinstance(change, Delete):
            assert change.resource != CLAIMS
            assert change.uid
            assert change.resource != JOBS or world.deleting or change.uid in recorded


@given(lived_in())
@relaxed
def test_one_stateful_set_at_a_time(world: World) -> None:
    patches = [item for item in plan(world.observe(), world.now).changes if isinstance(item, PatchSidecar)]
    assert len(patches) <= 1


@given(lived_in())
@relaxed
def test_history_is_bounded_newest_first_and_settled_entries_stay(world: World) -> None:
    settled = {entry.run_id: entry for entry in world.status.history if entry.status != "Running"}
    after = plan(world.observe(), world.now).status
    if after is None:
        return
    starts = [entry.start_time for entry in after.history]
    assert starts == sorted(starts, reverse=True)
    assert len(after.history) <= 10
    for entry in after.history:
        assert settled.get(entry.run_id, entry) == entry


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,80}[a-z0-9])?", fullmatch=True), st.text(max_size=20))
def test_names_fit_and_differ(name: str, key: str) -> None:
    made = [names.job(name), names.rerun_job(name, key), names.service_account(name)]
    assert all(len(item) <= 63 for item in made)
    assert len(names.cron_job(name)) <= 52
    assert names.rerun_job(name, key) != names.rerun_job(name, key + "'")
