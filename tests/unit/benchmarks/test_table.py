"""The benchmarks' table says what the runs say, and never that a missed goal was met."""

from __future__ import annotations

import pytest

from hack.benchmarks import machinery, table
from hack.benchmarks.lineup import KOPF, OURS, TYPED


def test_a_cell_is_the_median_and_what_we_are_of_it() -> None:
    runs = {
        ("sync-1000", "cpu", OURS): [0.3, 0.1, 0.2],
        ("sync-1000", "cpu", KOPF): [1.0, 1.0, 9.0],
    }
    shown = table.markdown(table.medians(runs), [OURS, KOPF])
    assert "| cold sync of 1 000, CPU | 0.20 s | 1 s (0.20) |" in shown
    assert "missed" not in shown


@pytest.mark.parametrize(("ours", "met"), [(0.30, True), (0.31, False)])
def test_a_goal_is_met_up_to_its_limit(ours: float, met: bool) -> None:
    figures = {("sync-1000", "cpu", OURS): ours, ("sync-1000", "cpu", KOPF): 1.0}
    assert ("missed" not in table.markdown(figures, [OURS, KOPF])) == met


def test_a_rate_must_be_at_least_its_goal() -> None:
    figures = {("storm", "rate", OURS): 11.0, ("storm", "rate", TYPED): 1.0}
    assert "missed" in table.markdown(figures, [OURS, TYPED])


def test_one_write_for_a_change_is_neither_two_nor_none() -> None:
    for writes, met in ((1.0, True), (2.0, False), (0.0, False)):
        shown = table.markdown({("reconcile", "writes", OURS): writes}, [OURS])
        assert ("missed" not in shown) == met


def test_memory_is_the_difference_of_two_syncs() -> None:
    runs = {("sync-1000", "rss", OURS): [30.0], ("sync-50000", "rss", OURS): [30.0 + 49_000 * 1.5 / 1024]}
    assert table.medians(runs)[table.STEADY, "each", OURS] == pytest.approx(1.5)


def test_only_what_is_between_the_marks_is_replaced() -> None:
    document = f"a\n{machinery.BEGIN}\nold\n{machinery.END}\nb\n"
    assert machinery.replace_marked(document, "new") == f"a\n{machinery.BEGIN}\nnew\n{machinery.END}\nb\n"
    with pytest.raises(ValueError, match="has no lines"):
        machinery.replace_marked("a", "new")
