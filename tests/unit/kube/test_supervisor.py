"""Start in order, stop in reverse, name what failed."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import anyio
import pytest

from controller.kube.supervisor import Life, PartFailed, Run, Supervisor, run_until
from tests.unit.kube.virtual import virtual

Diary = list[str]


def a_part(name: str, diary: Diary, *, start: float = 0.0, stop: float = 0.0) -> Run:
    async def run(life: Life) -> None:
        diary.append(f"{name} starts")
        await anyio.sleep(start)
        diary.append(f"{name} ready")
        life.ready.set()
        try:
            await life.stop.wait()
            await anyio.sleep(stop)
        finally:
            diary.append(f"{name} ends")

    return run


def a_supervisor(**parts: Run) -> Supervisor:
    supervisor = Supervisor(exit_now=lambda code: None)
    for name, run in parts.items():
        supervisor.add(name, run, stop_seconds=10.0)
    return supervisor


async def stopped_after(seconds: float, act: Callable[[], object]) -> None:
    await anyio.sleep(seconds)
    act()


@virtual
async def test_parts_start_one_after_the_other_and_stop_in_reverse() -> None:
    diary: Diary = []
    supervisor = a_supervisor(
        web=a_part("web", diary, start=5.0), work=a_part("work", diary, start=1.0, stop=2.0)
    )
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await stopped_after(60.0, supervisor.stop)
    assert diary == [
        "web starts",
        "web ready",
        "work starts",
        "work ready",
        "work ends",
        "web ends",
    ]


@virtual
async def test_a_part_that_crashes_is_fatal_and_named_and_the_others_end() -> None:
    diary: Diary = []

    async def crash(life: Life) -> None:
        life.ready.set()
        async with anyio.create_task_group() as group:
            group.start_soon(stopped_after, 5.0, lambda: 1 // 0)

    supervisor = a_supervisor(web=a_part("web", diary), work=crash)
    with pytest.raises(PartFailed, match="work failed") as caught:
        await supervisor.run()
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert diary[-1] == "web ends"


@virtual
async def test_a_part_that_ends_unasked_is_fatal_too() -> None:
    async def end(life: Life) -> None:
        life.ready.set()

    with pytest.raises(PartFailed, match="work ended though nobody asked"):
        await a_supervisor(work=end).run()


@virtual
async def test_a_part_that_fails_before_it_is_ready_keeps_the_next_ones_from_starting() -> None:
    diary: Diary = []

    async def fail(_: Life) -> None:
        raise RuntimeError("port in use")

    with pytest.raises(PartFailed, match="port in use"):
        await a_supervisor(web=fail, work=a_part("work", diary)).run()
    assert diary == []


@virtual
async def test_a_part_that_does_not_end_in_its_time_is_cancelled_and_its_late_error_is_not_raised() -> None:
    diary: Diary = []

    async def stubborn(life: Life) -> None:
        life.ready.set()
        try:
            await anyio.sleep_forever()
        finally:
            diary.append("stubborn cancelled")
            raise RuntimeError("while stopping")

    supervisor = a_supervisor(web=a_part("web", diary), work=stubborn)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(1.0)
        start = anyio.current_time()
        supervisor.stop()
    assert 10.0 <= anyio.current_time() - start < 12.0
    assert diary[-2:] == ["stubborn cancelled", "web ends"]


@virtual
async def test_a_stop_while_starting_ends_what_was_started() -> None:
    diary: Diary = []
    supervisor = a_supervisor(web=a_part("web", diary), slow=a_part("slow", diary, start=1e6))
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await stopped_after(5.0, supervisor.stop)
    assert diary == ["web starts", "web ready", "slow starts", "web ends"]


@virtual
async def test_the_first_signal_stops_in_order_and_the_second_exits_at_once() -> None:
    diary: Diary = []
    codes: list[int] = []
    supervisor = Supervisor(exit_now=codes.append)
    supervisor.add("work", a_part("work", diary, stop=5.0), stop_seconds=10.0)
    async with anyio.create_task_group() as group:
        group.start_soon(supervisor.run)
        await anyio.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(1.0)
        assert codes == []
        os.kill(os.getpid(), signal.SIGTERM)
        await anyio.sleep(1.0)
        assert codes == [128 + signal.SIGTERM]
    assert diary[-1] == "work ends"


@virtual
async def test_run_until_ends_with_whichever_comes_first() -> None:
    stop = anyio.Event()
    await run_until(stop, lambda: anyio.sleep(1.0))
    async with anyio.create_task_group() as group:
        group.start_soon(run_until, stop, anyio.sleep_forever)
        await anyio.sleep(1.0)
        stop.set()
