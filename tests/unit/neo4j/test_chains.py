"""The rules of chains, and that what continues them is exactly what Neo4j can restore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.neo4j.chains import Link, OpenChain, continues, is_unbroken, why_full
from controller.neo4j.versions import Version
from hack.devcluster.neo4j_sim import chain as neo4j
from hack.devcluster.neo4j_sim.artifact import Header

FULL = Link("f", "id", True, 1, 100)
V5, V2026 = Version(5, 26, 3), Version(2026, 2, 0)


def diff(lowest: int, highest: int, database_id: str = "id") -> Link:
    return Link(f"d{lowest}-{highest}", database_id, False, lowest, highest)


@pytest.mark.parametrize(
    ("link", "before", "since"),
    [
        (diff(101, 120), True, True),
        (diff(102, 120), False, False),
        (diff(0, 0), True, True),
        (diff(90, 120), False, True),
        (diff(90, 99), False, False),
        (diff(101, 120, database_id="other"), False, False),
        (FULL, False, False),
    ],
)
def test_what_continues_a_full_backup_before_and_since_2026_02(link: Link, before: bool, since: bool) -> None:
    assert continues(link, FULL, may_overlap=False) is before
    assert continues(link, FULL, may_overlap=True) is since


def test_only_the_first_differential_may_overlap() -> None:
    assert is_unbroken([FULL, diff(90, 120), diff(121, 130)], may_overlap=True)
    assert not is_unbroken([FULL, diff(90, 120), diff(119, 130)], may_overlap=True)
    assert is_unbroken([FULL, diff(0, 0), diff(101, 130)], may_overlap=False)
    assert not is_unbroken([diff(101, 130)], may_overlap=False)
    assert not is_unbroken([], may_overlap=False)


@pytest.mark.parametrize(
    ("kept", "committed", "reason"),
    [
        ([FULL, diff(101, 120)], diff(101, 120), ""),
        ([FULL, diff(101, 120), diff(0, 0)], diff(101, 120), ""),
        ([FULL], None, "the repository holds no backup"),
        ([], FULL, "is not kept on this server"),
        ([FULL], diff(101, 120), "the newest artifact of the repository is d101-120"),
        ([FULL, diff(103, 120)], diff(103, 120), "has a gap"),
        ([FULL], Link("f", "other", True, 1, 100), "the database id changed"),
        ([FULL, diff(101, 120), diff(0, 0), diff(121, 130)], diff(121, 130), "maxChainLength is 4"),
    ],
)
def test_a_differential_needs_exactly_what_was_committed(
    kept: Sequence[Link], committed: Link | None, reason: str
) -> None:
    found = why_full(OpenChain(tuple(kept), "5.26.3"), committed, V5, 4)
    assert reason in found if reason else found == ""


def test_an_upgrade_begins_a_new_chain() -> None:
    assert "from 5.26.3 to 2026.02.0" in why_full(OpenChain((FULL,), "5.26.3"), FULL, V2026, 0)


transactions = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=5)


@settings(max_examples=300, deadline=None)
@given(ranges=transactions, version=st.sampled_from([V5, V2026]))
def test_every_chain_that_counts_as_whole_is_one_that_neo4j_restores(
    ranges: list[tuple[int, int]], version: Version
) -> None:
    """Whatever transactions the differentials claim: what we call whole, Neo4j finds its way through."""
    links = [Link("full", "id", True, 1, 5)]
    links += [diff(low, high) for low, high in ranges if (low, high) == (0, 0) or 0 < low <= high]
    if not is_unbroken(links, may_overlap=version >= V2026):
        return
    found = [_on_disk(link, second) for second, link in enumerate(links)]
    last = next(item for item in reversed(found) if not item.header.empty)
    way = neo4j.chain_to(last, found, (version.major, version.minor, version.patch))
    assert [item.header.highest for item in way] == [link.highest_tx for link in links if not link.is_empty]


def _on_disk(link: Link, second: int) -> neo4j.Artifact:
    header = Header(
        name="db",
        id=link.database_id,
        store_id="s",
        time=f"2026-01-01T00:00:{second:02}",
        full=link.full,
        compressed=True,
        lowest=link.lowest_tx,
        highest=link.highest_tx,
        recovered=link.full,
        version="5.26.3",
        store_size=0,
    )
    return neo4j.Artifact(Path(f"db-2026-01-01T00-00-{second:02}.backup"), header)
