"""The laws of chains, whatever happens between two runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.agent.places import CHAINS
from tests.property.chains.model import DATABASE, Fate, Life

MISHAPS = ("recreate", "upgrade", "lose_the_volume", "damage_the_chain", "prune_logs", "lose_an_object")
fates: st.SearchStrategy[Fate] = st.sampled_from(["committed", "release lost", "not committed"])
runs = st.tuples(st.sampled_from(["AUTO", "FULL", "AUTO", "DIFF"]), fates)
steps = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([*[None] * 8, *MISHAPS]), runs), min_size=3, max_size=9
)


@settings(max_examples=200, deadline=None)
@given(steps=steps)
def test_whatever_is_committed_restores_to_what_was_there(
    steps: list[tuple[int, str | None, tuple[str, Fate]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        life = Life(Path(directory))
        for transactions, mishap, (type_, fate) in steps:
            life.write(transactions)
            if mishap:
                getattr(life, mishap)()
            before = len(life.runs)
            made = life.back_up(type_, fate)  # type: ignore[arg-type]
            if len(life.runs) > before:
                assert life.newest_restores_to() == (str(life.database_id), life.last_tx)
            if type_ == "AUTO":
                assert made in ("FULL", "DIFF"), "AUTO always makes a backup"


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 3), fates), min_size=1, max_size=9), longest=st.integers(2, 5))
def test_undisturbed_auto_continues_until_the_chain_is_long_enough(
    steps: list[tuple[int, Fate]], longest: int
) -> None:
    """Nothing but the length ends a chain: neither a lost release, nor a run that was not committed."""
    with tempfile.TemporaryDirectory() as directory:
        life, length = Life(Path(directory)), 0
        for transactions, fate in steps:
            life.write(transactions)
            expected = "DIFF" if 0 < length < longest else "FULL"
            empty = not _is_new(life)
            assert life.back_up("AUTO", fate, longest) == expected
            if fate != "not committed":
                # An empty differential whose release got lost is not kept, and so does not count.
                length = 1 if expected == "FULL" else length + (0 if empty and fate == "release lost" else 1)
            elif expected == "FULL" and length:
                length = 0


def _is_new(life: Life) -> bool:
    return not life.runs or life.newest_restores_to()[1] < life.last_tx


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_a_server_keeps_one_chain_at_most_and_only_what_is_committed(
    steps: list[tuple[int, str | None, tuple[str, Fate]]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        life = Life(Path(directory))
        for transactions, mishap, (type_, fate) in steps:
            life.write(transactions)
            if mishap:
                getattr(life, mishap)()
            life.back_up(type_, fate)  # type: ignore[arg-type]
            kept = [path.name for path in (life.places.backups / CHAINS).rglob("*.backup")]
            stored = {run.artifacts[0].key.rpartition("/")[2]: run.artifacts[0] for run in life.runs}
            assert set(kept) <= stored.keys()
            assert len({stored[name].chain for name in kept}) <= 1
            assert not kept or (life.places.backups / CHAINS / "ns.nightly" / DATABASE / kept[0]).exists()
