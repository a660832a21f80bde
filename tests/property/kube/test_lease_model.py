"""Electors with drifting clocks, pauses and lost answers: never two, and never none for long."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.kube.lease import LeaseTimes, Observed, Record, Write, decide, observe, released

TIMES = LeaseTimes(15.0, 10.0, 2.0)
STEP = 1.0


@dataclass
class Server:
    """One Lease with compare-and-swap."""

    record: Record | None = None
    version: int = 0

    def put(self, record: Record, version: int) -> bool:
        if version != self.version:
            return False
        self.record, self.version = record, self.version + 1
        return True


@dataclass
class Elector:
    """The driver's rules on top of the decisions, with a clock that runs at its own rate."""

    name: str
    rate: float
    offset: float
    seen: Observed | None = None
    renewed: float = float("-inf")
    leading: bool = False
    terms: list[int] = field(default_factory=list)

    def clock(self, now: float) -> float:
        return now * self.rate + self.offset

    def believes(self, now: float) -> bool:
        """Leading, as far as it can know: the driver stops its work when the deadline is over."""
        return self.leading and self.clock(now) < self.renewed + TIMES.renew_deadline

    def round(self, server: Server, now: float, answered: bool) -> None:
        mine = self.clock(now)
        if self.leading and mine >= self.renewed + TIMES.renew_deadline:
            self.leading = False
        self.seen = observe(self.seen, server.record, mine) if server.record else None
        verdict = decide(self.name, self.seen, mine, str(now), TIMES)
        if not isinstance(verdict, Write):
            self.leading = False
            return
        if server.put(verdict.record, server.version) and answered:
            if not self.leading:
                self.terms.append(verdict.record.transitions)
            self.leading, self.renewed = True, mine

    def release(self, server: Server) -> None:
        if self.leading and server.record and server.record.holder == self.name:
            self.leading = False
            server.put(released(server.record, "released"), server.version)


# A clock may run up to a fifth faster or slower than another one: the ratio of duration to deadline
# is 1.5, and a round takes time too.
RATES, OFFSETS = st.floats(0.9, 1.1), st.floats(-1e6, 1e6)
ACTIONS = st.sampled_from(["go", "pause", "lose the answer", "release"])
# In phases, because what matters takes long: a leader that is frozen for most of its lease while the
# others go on hardly ever comes out of independent draws for every second.
SCRIPTS = st.lists(st.tuples(st.integers(1, 20), st.lists(ACTIONS, min_size=4, max_size=4)), max_size=12)
Script = list[tuple[int, list[str]]]
ELECTORS = st.lists(st.tuples(RATES, OFFSETS), min_size=2, max_size=4)


def played(script: Script, electors: list[Elector], server: Server) -> Iterator[float]:
    """Every moment of the script, with everybody's action done one by one."""
    now = 0.0
    for duration, actions in script:
        for _ in range(duration):
            now += STEP
            for elector, action in zip(electors, actions, strict=False):
                if action == "release":
                    elector.release(server)
                elif action != "pause":
                    elector.round(server, now, action == "go")
                yield now


@settings(max_examples=200)
@given(ELECTORS, SCRIPTS)
def test_two_never_believe_at_once_and_terms_only_grow(
    clocks: list[tuple[float, float]], script: Script
) -> None:
    server, electors = Server(), [Elector(f"e{number}", *clock) for number, clock in enumerate(clocks)]
    for now in played(script, electors, server):
        assert sum(each.believes(now) for each in electors) <= 1
    terms = [(term, elector.name) for elector in electors for term in elector.terms]
    holders = {term: {name for other, name in terms if other == term} for term, _ in terms}
    assert all(len(names) == 1 for names in holders.values()), "one term has one leader"
    assert all(elector.terms == sorted(elector.terms) for elector in electors)


@settings(max_examples=50)
@given(ELECTORS, SCRIPTS)
def test_once_the_trouble_is_over_somebody_leads_within_a_lease(
    clocks: list[tuple[float, float]], script: Script
) -> None:
    server, electors = Server(), [Elector(f"e{number}", *clock) for number, clock in enumerate(clocks)]
    start = max(played(script, electors, server), default=0.0)
    quiet = int((TIMES.duration + TIMES.retry) / 0.9 / STEP) + 2
    for second in range(1, quiet + 1):
        for elector in electors:
            elector.round(server, start + second * STEP, True)
    assert sum(elector.believes(start + quiet * STEP) for elector in electors) == 1


@given(st.floats(0.9, 1.1), OFFSETS)
def test_a_clean_release_is_taken_in_the_next_round(rate: float, offset: float) -> None:
    server, first, second = Server(), Elector("first", 1.0, 0.0), Elector("second", rate, offset)
    first.round(server, 0.0, True)
    second.round(server, 1.0, True)
    assert second.terms == []
    first.release(server)
    second.round(server, 1.0 + TIMES.retry, True)
    assert second.terms == [first.terms[0] + 1]
