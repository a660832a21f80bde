"""The work queue and the limiter against models, safety beside progress."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.kube.queuecore import FAIR_TURN, Priority, QueueCore
from controller.kube.ratelimit import RateLimiter, TokenBucket

KEYS = st.sampled_from("abc")
PRIORITIES = st.sampled_from(Priority)


class QueueAgainstModel(RuleBasedStateMachine):
    """Nothing is lost, nothing is handed out twice at once, and whatever is wanted is handed out."""

    def __init__(self) -> None:
        super().__init__()
        self.core: QueueCore[str] = QueueCore()
        self.now = 0.0
        self.wanted: dict[str, float] = {}
        """When at the latest each key must be ready."""
        self.held: set[str] = set()

    @rule(key=KEYS, priority=PRIORITIES)
    def add(self, key: str, priority: Priority) -> None:
        self.core.add(key, self.now, priority)
        self.wanted[key] = self.now

    @rule(key=KEYS, delay=st.floats(-1.0, 20.0), priority=st.none() | PRIORITIES)
    def add_after(self, key: str, delay: float, priority: Priority | None) -> None:
        self.core.add_after(key, delay, self.now, priority)
        due = self.now + max(0.0, delay)
        self.wanted[key] = min(self.wanted.get(key, due), due)

    @rule()
    def take(self) -> None:
        taken = self.core.take(self.now)
        ready = {key for key, due in self.wanted.items() if due <= self.now} - self.held
        if taken is None:
            assert not ready, "a wanted key is not handed out"
            return
        assert taken.key not in self.held, "handed out twice at once"
        assert taken.key in ready, "handed out without being wanted"
        assert 0.0 <= taken.waited <= self.now
        del self.wanted[taken.key]
        self.held.add(taken.key)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def done(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.held)))
        self.core.done(key, self.now)
        self.held.discard(key)

    @rule(seconds=st.floats(0.0, 30.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def its_sets_agree(self) -> None:
        self.core.check()
        statistics = self.core.statistics(self.now)
        assert statistics.processing == len(self.held)
        assert statistics.ready + statistics.delayed >= len(set(self.wanted) - self.held)

    @invariant()
    def it_knows_when_to_look_again(self) -> None:
        later = {key: due for key, due in self.wanted.items() if due > self.now}
        sleeping = self.core.next_due()
        if later:
            assert sleeping is not None, "nobody would wake up for a delayed key"
            assert sleeping <= min(later.values())

    def teardown(self) -> None:
        """Progress: everything that was ever wanted comes out, with all keys given back."""
        for key in sorted(self.held):
            self.core.done(key, self.now)
        self.now += 1000.0
        came = []
        for _ in range(len(self.wanted) + 1):
            if (taken := self.core.take(self.now)) is not None:
                came.append(taken.key)
                self.core.done(taken.key, self.now)
        assert sorted(came) == sorted(self.wanted)


TestQueue = QueueAgainstModel.TestCase


@given(st.lists(st.tuples(st.integers(0, 30), PRIORITIES), max_size=60))
def test_the_urgent_go_first_but_for_every_fair_turn(adds: list[tuple[int, Priority]]) -> None:
    core: QueueCore[int] = QueueCore()
    wanted: dict[int, Priority] = {}
    for key, priority in adds:
        core.add(key, 0.0, priority)
        wanted[key] = max(priority, wanted.get(key, priority))
    for turn in range(1, len(wanted) + 1):
        taken = core.take(0.0)
        assert taken is not None
        assert turn % FAIR_TURN == 0 or wanted[taken.key] == max(wanted.values())
        del wanted[taken.key]
    assert core.take(0.0) is None


@given(st.integers(0, 20), st.integers(1, 5))
def test_a_low_key_comes_however_many_urgent_ones_keep_coming(before: int, each: int) -> None:
    core: QueueCore[int] = QueueCore()
    fresh = iter(range(1_000_000))
    for _ in range(before):
        core.add(next(fresh), 0.0)
    core.add(-1, 0.0, Priority.LOW)
    for _ in range(FAIR_TURN * (before + 1)):
        for _ in range(each):
            core.add(next(fresh), 0.0)
        taken = core.take(0.0)
        assert taken is not None
        if taken.key == -1:
            return
        core.done(taken.key, 0.0)
    raise AssertionError("the low key starves")


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60))
def test_a_key_waits_for_no_more_than_the_keys_before_it(keys: list[str]) -> None:
    core: QueueCore[str] = QueueCore()
    for key in keys:
        core.add(key, 0.0)
    expected = list(dict.fromkeys(keys))
    order = []
    for _ in expected:
        taken = core.take(0.0)
        assert taken is not None
        order.append(taken.key)
        core.add(taken.key, 0.0)
    assert order == expected


@given(st.integers(0, 200), st.floats(0.0, 0.999), st.floats(0.01, 10.0), st.floats(10.0, 1000.0))
def test_a_delay_is_never_above_its_cap_and_never_shrinks(
    failures: int, jitter: float, first: float, cap: float
) -> None:
    limiter: RateLimiter[str] = RateLimiter(first=first, cap=cap, bucket=TokenBucket(1e9, 1000))
    delays = [limiter.when("k", 0.0, jitter) for _ in range(failures + 1)]
    assert delays == sorted(delays)
    assert first <= delays[0]
    assert delays[-1] <= cap * 1.25
    limiter.forget("k")
    assert limiter.when("k", 0.0, jitter) == delays[0]


@given(st.floats(0.1, 100.0), st.integers(1, 20), st.lists(st.floats(0.0, 5.0), min_size=1, max_size=100))
def test_a_bucket_lets_no_more_through_than_it_says_and_all_of_that(
    rate: float, burst: int, gaps: list[float]
) -> None:
    bucket, now, passed = TokenBucket(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        passed += bucket.take(now)
    assert passed <= burst + rate * now + 1e-6
    assert passed >= min(len(gaps), burst)
    assert bucket.take(now + 1.0 / rate + 1e-6), "after a pause of one token there is one"


@given(st.floats(0.1, 100.0), st.integers(1, 20), st.integers(1, 100))
def test_reservations_are_spread_at_the_rate(rate: float, burst: int, wishes: int) -> None:
    bucket = TokenBucket(rate, burst)
    delays = [bucket.reserve(0.0) for _ in range(wishes)]
    expected = [max(0.0, (number + 1 - burst) / rate) for number in range(wishes)]
    assert all(abs(got - want) < 1e-6 * max(1.0, want) for got, want in zip(delays, expected, strict=True))
