"""The work queue, the limiter and the outcome policy."""

from __future__ import annotations

import anyio
import pytest
import structlog
from prometheus_client import REGISTRY

from controller.kube.controller import Done, ReconcileTimeout, TerminalError, run_workers, settle
from controller.kube.errors import TooManyRequests
from controller.kube.queuecore import Priority, QueueCore
from controller.kube.ratelimit import RateLimiter, TokenBucket
from controller.kube.workqueue import INSURANCE_SECONDS, WorkQueue
from tests.unit.kube.virtual import virtual


def a_queue(*keys: str) -> WorkQueue[str]:
    queue: WorkQueue[str] = WorkQueue("test", jitter=lambda: 0.0)
    for key in keys:
        queue.add(key)
    return queue


# --- the core ------------------------------------------------------------------------------------


def test_a_key_that_waits_is_not_added_twice_and_order_is_kept() -> None:
    core: QueueCore[str] = QueueCore()
    for key in "abab":
        core.add(key, 0.0)
    assert [_take(core), _take(core), _take(core)] == ["a", "b", None]


def test_a_key_in_hand_is_handed_out_again_only_after_it_is_done() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("a", 0.0)
    assert _take(core) == "a"
    core.add("a", 0.0)
    core.add("b", 0.0)
    assert _take(core) == "b"
    assert _take(core) is None
    core.done("a", 0.0)
    assert _take(core) == "a"


def test_a_key_that_became_dirty_goes_to_the_tail() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("a", 0.0)
    _take(core)
    core.add("a", 0.0)
    core.add("b", 0.0)
    core.done("a", 0.0)
    assert [_take(core), _take(core)] == ["b", "a"]


def test_the_earliest_wish_wins_and_a_real_add_includes_the_delayed_one() -> None:
    core: QueueCore[str] = QueueCore()
    core.add_after("a", 10.0, 0.0)
    core.add_after("a", 5.0, 0.0)
    core.add_after("a", 7.0, 0.0)
    assert core.next_due() == 5.0
    core.add("a", 1.0)
    assert _take(core, 1.0) == "a"
    core.done("a", 1.0)
    assert core.next_due() is None
    assert _take(core, 100.0) is None


def test_a_delay_of_nothing_means_now() -> None:
    core: QueueCore[str] = QueueCore()
    core.add_after("a", 0.0, 3.0)
    core.add_after("b", -1.0, 3.0)
    assert [_take(core, 3.0), _take(core, 3.0)] == ["a", "b"]


def test_the_waiting_time_counts_from_the_due_time_at_the_latest() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("a", 1.0)
    taken = core.take(4.0)
    assert taken is not None
    assert taken.waited == 3.0
    assert core.done("a", 9.0) == 5.0


def test_a_key_that_nobody_holds_cannot_be_done() -> None:
    with pytest.raises(ValueError, match="not being processed"):
        QueueCore[str]().done("a", 0.0)


def test_a_key_that_is_requeued_far_ahead_leaves_no_heap_behind() -> None:
    core: QueueCore[str] = QueueCore()
    for now in range(10_000):
        core.add_after("a", 3600.0, float(now))
        core.add("a", float(now))
        _take(core, float(now))
        core.done("a", float(now))
    assert len(core._heap) < 200


def test_after_shutdown_adds_are_ignored_and_ready_keys_are_still_handed_out() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("a", 0.0)
    core.add_after("b", 1.0, 0.0)
    core.shutdown()
    core.shutdown()
    core.add("c", 0.0)
    core.add_after("d", 0.0, 0.0)
    assert [_take(core, 9.0), _take(core, 9.0)] == ["a", None]


def _take(core: QueueCore[str], now: float = 0.0) -> str | None:
    taken = core.take(now)
    core.check()
    return taken.key if taken else None


def test_a_change_overtakes_what_the_first_list_brought() -> None:
    core: QueueCore[str] = QueueCore()
    for key in "abc":
        core.add(key, 0.0, Priority.LOW)
    core.add("new", 0.0)
    core.add("b", 0.0)
    assert [_take(core) for _ in range(5)] == ["new", "b", "a", "c", None]


def test_a_requeue_keeps_the_priority_and_merging_keeps_the_higher_one() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("low", 0.0, Priority.LOW)
    assert _take(core) == "low"
    core.add_after("low", 5.0, 0.0)
    core.done("low", 0.0)
    core.add_after("raised", 5.0, 0.0)
    core.add_after("raised", 9.0, 0.0, Priority.LOW)
    core.advance(5.0)
    assert core.statistics(5.0).low == 1
    assert [_take(core, 5.0), _take(core, 5.0)] == ["raised", "low"]


# --- limits --------------------------------------------------------------------------------------


def test_failures_of_a_key_grow_its_delay_and_success_forgets_them() -> None:
    limiter: RateLimiter[str] = RateLimiter(first=0.5, cap=3.0, stretch=1.0)
    assert [limiter.when("a", 0.0, 0.0) for _ in range(4)] == [0.5, 1.0, 2.0, 3.0]
    assert limiter.when("b", 0.0, 0.5) == 0.75
    limiter.forget("a")
    assert limiter.when("a", 0.0, 0.0) == 0.5
    assert limiter.failures("a") == 1


def test_the_bucket_over_all_keys_delays_a_storm_of_first_failures() -> None:
    limiter: RateLimiter[int] = RateLimiter(first=0.1, bucket=TokenBucket(rate=1.0, burst=2))
    assert [limiter.when(key, 0.0, 0.0) for key in range(4)] == [0.1, 0.1, 1.0, 2.0]


def test_a_bucket_fills_up_to_its_burst_and_no_further() -> None:
    bucket = TokenBucket(rate=1.0, burst=2)
    assert [bucket.take(0.0) for _ in range(3)] == [True, True, False]
    assert [bucket.take(100.0) for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("settings", [{"first": 0.0}, {"first": 10.0, "cap": 1.0}])
def test_a_limiter_that_cannot_work_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="delay"):
        RateLimiter(**settings)  # type: ignore[arg-type]


# --- waiting -------------------------------------------------------------------------------------


@virtual
async def test_a_worker_that_waits_is_woken_by_an_add() -> None:
    queue, got = a_queue(), []
    async with anyio.create_task_group() as group:

        async def worker() -> None:
            got.append(await queue.get())

        group.start_soon(worker)
        await anyio.wait_all_tasks_blocked()
        queue.add("a")
    assert got == ["a"]


@virtual
async def test_a_delayed_key_is_handed_out_when_it_is_due_also_if_an_earlier_one_comes() -> None:
    queue, got = a_queue(), []
    start = anyio.current_time()
    queue.add_after("late", 60.0)

    async def worker() -> None:
        for _ in range(2):
            key = await queue.get()
            got.append((key, round(anyio.current_time() - start)))

    async with anyio.create_task_group() as group:
        group.start_soon(worker)
        await anyio.sleep(1.0)
        queue.add_after("early", 4.0)
    assert got == [("early", 5), ("late", 60)]


@virtual
async def test_shutdown_ends_every_waiting_worker() -> None:
    queue, ended = a_queue(), []

    async def worker() -> None:
        ended.append(await queue.get())

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(worker)
        await anyio.wait_all_tasks_blocked()
        queue.shutdown()
    assert ended == [None, None, None]


@virtual
async def test_drain_waits_for_the_keys_in_hand_and_can_be_cut_short() -> None:
    queue = a_queue("a")
    assert await queue.get() == "a"
    with anyio.move_on_after(1.0) as cut:
        await queue.drain()
    assert cut.cancelled_caught
    async with anyio.create_task_group() as group:
        group.start_soon(queue.drain)
        await anyio.wait_all_tasks_blocked()
        queue.done("a")
    assert queue.statistics().processing == 0


@virtual
async def test_cancelling_a_waiting_worker_loses_no_key() -> None:
    queue = a_queue()
    with anyio.move_on_after(1.0):
        await queue.get()
    queue.add("a")
    assert await queue.get() == "a"
    assert repr(queue) == "<WorkQueue test: 0 ready, 0 delayed, 1 in hand>"


@virtual
async def test_a_key_that_hangs_shows_in_the_metrics() -> None:
    queue = a_queue("hangs", "waits")
    queue.add_low("low")
    await queue.get()
    async with anyio.create_task_group() as group:
        group.start_soon(queue.run_meter)
        await anyio.sleep(30.5)
        group.cancel_scope.cancel()
    value = REGISTRY.get_sample_value
    name = {"name": "test"}
    assert value("workqueue_longest_running_processor_seconds", name) == pytest.approx(30.0, abs=1.0)
    assert value("workqueue_unfinished_work_seconds", name) == pytest.approx(30.0, abs=1.0)
    assert value("workqueue_depth", {**name, "priority": "normal"}) == 1
    assert value("workqueue_depth", {**name, "priority": "low"}) == 1


# --- outcomes ------------------------------------------------------------------------------------


@virtual
async def test_success_forgets_the_failures() -> None:
    queue = a_queue()
    queue.add_rate_limited("a")
    settle(queue, "a", Done())
    assert queue.failures("a") == 0


@virtual
async def test_a_wish_to_look_again_is_no_failure() -> None:
    queue = a_queue()
    queue.add_rate_limited("a")
    settle(queue, "a", Done(requeue_after=30.0))
    assert queue.failures("a") == 0
    assert queue.statistics().delayed == 1


@virtual
async def test_an_error_comes_back_later_and_later() -> None:
    queue, times = a_queue("a"), []
    start = anyio.current_time()

    async def reconcile(_: str) -> Done:
        times.append(round(anyio.current_time() - start, 1))
        if len(times) == 4:
            queue.shutdown()
        raise RuntimeError("still broken")

    await run_workers(queue, reconcile, 1)
    assert times == [0.0, 0.5, 1.5, 3.5]


@virtual
async def test_a_terminal_error_is_not_tried_again_until_the_object_changes() -> None:
    queue = a_queue()
    queue.add_rate_limited("a")
    await queue.get()
    settle(queue, "a", TerminalError("the spec is nonsense"))
    queue.done("a")
    assert queue.failures("a") == 0
    assert queue.statistics().delayed == 0
    queue.add("a")
    assert queue.statistics().ready == 1


@virtual
async def test_a_server_that_asks_for_patience_gets_it() -> None:
    queue = a_queue()
    start = anyio.current_time()
    settle(queue, "a", TooManyRequests("busy", retry_after=42.0))
    assert await queue.get() == "a"
    assert anyio.current_time() - start == pytest.approx(42.0, abs=0.5)


@virtual
async def test_a_crash_counts_against_its_key_and_the_worker_lives_on() -> None:
    queue, done = a_queue("bad", "good"), []

    async def reconcile(key: str) -> Done:
        if key == "bad":
            raise ZeroDivisionError
        done.append(key)
        queue.shutdown()
        return Done()

    await run_workers(queue, reconcile, 1)
    assert done == ["good"]
    assert queue.failures("bad") == 1


@virtual
async def test_workers_run_keys_side_by_side_but_one_key_never_twice_at_once() -> None:
    queue, running, seen = a_queue("a", "b"), [], []

    async def reconcile(key: str) -> Done:
        assert key not in running
        running.append(key)
        seen.append(sorted(running))
        queue.add("a") if len(seen) < 4 else queue.shutdown()
        await anyio.sleep(1.0)
        running.remove(key)
        return Done()

    await run_workers(queue, reconcile, 3)
    assert ["a", "b"] in seen
    assert seen.count(["a"]) >= 2


@virtual
async def test_a_reconcile_that_takes_too_long_is_an_error_of_its_key() -> None:
    queue = a_queue("slow")

    async def reconcile(_: str) -> Done:
        await anyio.sleep_forever()
        raise AssertionError

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: run_workers(queue, reconcile, 1, timeout=30.0))
        await anyio.sleep(30.2)
        assert queue.failures("slow") == 1
        group.cancel_scope.cancel()
    assert issubclass(ReconcileTimeout, Exception)


@virtual
async def test_the_key_after_a_slow_one_has_its_whole_limit() -> None:
    queue, seen = a_queue("slow", "next", "last"), []

    async def reconcile(key: str) -> Done:
        await anyio.sleep(60.0 if key == "slow" else 20.0)
        seen.append(key)
        return Done()

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: run_workers(queue, reconcile, 1, timeout=30.0))
        await anyio.sleep(75.0)
        assert seen == ["next", "last"]
        assert queue.failures("next") == queue.failures("last") == 0
        assert queue.failures("slow") >= 1
        group.cancel_scope.cancel()


@virtual
async def test_stopping_the_workers_gives_the_key_in_hand_back() -> None:
    queue = a_queue("a")

    async def reconcile(_: str) -> Done:
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.move_on_after(1.0):
        await run_workers(queue, reconcile, 2)
    assert queue.statistics().processing == 0


# --- more promises -------------------------------------------------------------------------------


def test_a_key_in_hand_holds_nobody_up() -> None:
    core: QueueCore[str] = QueueCore()
    for key in "abc":
        core.add(key, 0.0)
    assert _take(core) == "a"
    core.add("a", 0.0)
    assert [_take(core), _take(core), _take(core)] == ["b", "c", None]


def test_a_change_during_the_work_is_never_lost() -> None:
    core: QueueCore[str] = QueueCore()
    core.add("a", 0.0)
    assert _take(core) == "a"
    core.add("a", 1.0)
    core.done("a", 2.0)
    assert _take(core) == "a"


@pytest.mark.parametrize("seconds", [1e9, 1e300, float("inf")])
def test_a_delay_of_any_length_is_kept_without_an_error(seconds: float) -> None:
    @virtual
    async def run() -> None:
        queue = a_queue()
        queue.add_after("far", seconds)
        queue.add_after("near", 60.0)
        assert await queue.get() == "near"
        assert queue.statistics().delayed == 1

    run()


@virtual
async def test_a_waiting_worker_looks_again_even_if_nobody_woke_it() -> None:
    queue = a_queue()
    begun = anyio.current_time()

    async def forget_to_wake() -> None:
        await anyio.sleep(1.0)
        queue._core.add("lost", anyio.current_time())

    async with anyio.create_task_group() as group:
        group.start_soon(forget_to_wake)
        assert await queue.get() == "lost"
    assert anyio.current_time() - begun < INSURANCE_SECONDS + 1.0


@virtual
async def test_shutting_down_twice_is_shutting_down() -> None:
    queue = a_queue("a")
    queue.shutdown()
    queue.shutdown()
    assert await queue.get() == "a"
    queue.done("a")
    await queue.drain()
    await queue.drain()
    assert await queue.get() is None


@virtual
async def test_every_reconcile_has_a_number_of_its_own_in_the_log() -> None:
    queue, bound = a_queue("a", "b"), []

    async def reconcile(_: str) -> Done:
        bound.append(dict(structlog.contextvars.get_contextvars()))
        return Done()

    queue.shutdown()
    await run_workers(queue, reconcile, 1)
    assert [item["key"] for item in bound] == ["a", "b"]
    assert bound[0]["reconcile"] != bound[1]["reconcile"]
    assert not structlog.contextvars.get_contextvars()


@virtual
async def test_a_limit_of_time_is_told_from_the_end_of_the_program() -> None:
    """The first counts as a failure of its key; the second counts for nothing."""
    queue = a_queue("a")

    async def reconcile(_: str) -> Done:
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.move_on_after(1.0):
        await run_workers(queue, reconcile, 1, timeout=30.0)
    assert queue.failures("a") == 0
