from __future__ import annotations

from controller.neo4j.memory import AGENT, LAUNCHER, OVERHEAD, SMALLEST_LIMIT, plan_memory
from controller.neo4j.quantity import GIB, MIB


def test_the_documented_limit_of_one_gibibyte_is_shared() -> None:
    plan = plan_memory(GIB)
    assert plan.note == ""
    assert plan.heap >= 256 * MIB
    assert (plan.heap + plan.page_cache + LAUNCHER + AGENT) * OVERHEAD <= GIB


def test_a_page_cache_that_fits_is_taken_as_it_is() -> None:
    plan = plan_memory(8 * GIB, 4 * GIB)
    assert plan.page_cache == 4 * GIB
    assert plan.note == ""


def test_a_page_cache_that_does_not_fit_is_refused_with_the_numbers() -> None:
    plan = plan_memory(GIB, 4 * GIB)
    assert "page cache 4GiB does not fit into the sidecar's memory limit of 1GiB" in plan.refusal
    # what the refusal asks for is enough
    assert "to 5.5GiB" in plan.refusal
    assert plan_memory(int(5.5 * GIB), 4 * GIB).refusal == ""


def test_a_limit_that_is_too_small_is_said() -> None:
    plan = plan_memory(256 * MIB, GIB)
    assert "256MiB is below" in plan.note
    assert plan_memory(SMALLEST_LIMIT + MIB).note == ""


def test_without_a_limit_the_database_next_door_keeps_the_node() -> None:
    assert plan_memory(None).heap == GIB
    assert plan_memory(None, 3 * GIB).page_cache == 3 * GIB
