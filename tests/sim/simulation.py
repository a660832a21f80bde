"""One seed, one run: operators, users and an API server in virtual time, trouble, and then rest.

A run has three parts. For :data:`~tests.sim.faults.TROUBLE_SECONDS` users act and faults happen. Then nothing
new goes wrong, and all must be as its users want it within :data:`PROGRESS_SECONDS`: one leader, every cache
equal to the server, every widget whole. Then nothing happens for a while, and nobody may do anything but
renew the lease.
"""

from __future__ import annotations

import asyncio
import gc
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest import mock

from controller.app import main as app
from controller.kube import chance, leader
from controller.kube.informer import SyncTimeout
from controller.kube.leader import LeaseLost
from controller.kube.supervisor import PartFailed
from hack.devcluster import metadata
from hack.devcluster.errors import ApiStatus
from hack.devcluster.objects import GroupResource
from hack.devcluster.registry import Registry
from hack.devcluster.store import Change
from tests.sim import faults
from tests.sim.backups import BackupOperator, Cluster
from tests.sim.checks import LEASE_KIND, CacheCheck, Checks, is_unguarded
from tests.sim.faults import TROUBLE_SECONDS, FaultPlan, Kind, RequestFault, Window
from tests.sim.http import Incoming
from tests.sim.loop import CURRENT, SimLoop
from tests.sim.network import Network
from tests.sim.operators import Operator, Surroundings, WidgetOperator
from tests.sim.processes import Process
from tests.sim.server import ApiModel
from tests.sim.storage import Storage
from tests.sim.trace import Trace, Violation
from tests.sim.widgets import WidgetWorld

USERS_SECONDS = 50.0
PROGRESS_SECONDS = 300.0
MUTED_SECONDS = 780.0
"""A watch that fell silent is given up when its server should have ended it: ten minutes and a half."""
REST_SECONDS = 8.0
RESTART_SECONDS = 1.0
REQUESTS_PER_SECOND = 120
"""Of one process, in any second. A loop without a pause makes 300 and more. Making all parts of all widgets
makes up to 75 when the cache falls behind: an owner is looked at, a part is made or found to be there."""
CLOCK_OFFSETS = 1e6
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Result:
    """What a run was."""

    seed: int
    digest: str
    violation: str
    lines: tuple[str, ...]
    """The end of its trace."""
    virtual_seconds: float
    requests: int
    faults: Counter[str] = field(default_factory=Counter)


def simulate(seed: int, plan: FaultPlan | None = None, *, keep: int = 400) -> Result:
    """Run a seed, with its own plan of faults or another one."""
    simulation = Simulation(seed, plan, keep=keep)
    try:
        with _determined(simulation):
            simulation.run()
    finally:
        gc.unfreeze()
    return simulation.result()


@contextmanager
def _determined(simulation: Simulation) -> Iterator[None]:
    """Chance and clocks, wherever code asks for them itself, are the run's."""
    own = random.Random(f"chance {simulation.seed}")
    uids = SimpleNamespace(uuid4=lambda: uuid.UUID(int=own.getrandbits(128)))
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(chance, "source", own))
        stack.enter_context(mock.patch.object(metadata, "uuid", uids))
        stack.enter_context(mock.patch.object(leader, "_stamp", simulation.stamp))
        stack.enter_context(mock.patch.object(app, "_now", simulation.wall_time))
        yield


@dataclass(frozen=True, slots=True)
class Scenario:
    """What the operators are operators of."""

    operator: Callable[[Process, Checks], Operator]
    surroundings: Callable[[Registry, Trace, int], Surroundings]


WIDGETS = Scenario(WidgetOperator, WidgetWorld)
BACKUPS = Scenario(BackupOperator, Cluster)


def scenario_of(seed: int) -> Scenario:
    """One seed in five is about backups: their world is a few times as large."""
    return BACKUPS if seed % 5 == 4 else WIDGETS


class Simulation:
    """All of one run."""

    def __init__(
        self, seed: int, plan: FaultPlan | None = None, *, scenario: Scenario | None = None, keep: int = 400
    ) -> None:
        self.seed = seed
        self._chance = random.Random(f"simulation {seed}")
        self.names = ("a", "b", "c") if self._chance.random() < 0.2 else ("a", "b")
        self.plan = plan if plan is not None else faults.draw(seed, self.names)
        self.loop = SimLoop()
        self.trace = Trace(lambda: self.loop.now, keep=keep)
        self.checks = Checks(self.trace)
        self.network = Network(self.loop, self.trace, self.plan, seed)
        self._scenario = scenario or scenario_of(seed)
        self.operators: dict[str, Operator] = {}
        self._lives: Counter[str] = Counter()
        self._offsets = {name: self._chance.uniform(0.0, CLOCK_OFFSETS) for name in self.names}
        self._seconds: Counter[tuple[str, int]] = Counter()
        self._resting = False
        self._quiet_at = max([TROUBLE_SECONDS, *(window.end for window in self.plan.windows)])
        """When the last consequence of a fault is over that anybody caused."""

    def wall_time(self) -> datetime:
        """Of whoever asks: right but for how fast its clock runs."""
        process = CURRENT.get()
        offset = self._offsets[process.name] if isinstance(process, Process) else 0.0
        return _moment(self.loop.time() - offset)

    def stamp(self) -> str:
        """What a holder writes into the lease."""
        return self.wall_time().isoformat(timespec="microseconds").replace("+00:00", "Z")

    def run(self) -> None:
        """Until rest, or a violation."""
        self.loop.connect = self.network.connect
        self.loop.set_exception_handler(self._unhandled)
        try:
            self._build()
            self.loop.verdict = lambda: self.trace.violation
            self.loop.run_until_complete(self._all())
        except Violation:
            pass
        except Exception as error:
            self.trace.fail("simulation", f"{type(error).__name__}: {error}")
        finally:
            self.loop.verdict = lambda: None
            self._end()

    def _build(self) -> None:
        registry = Storage(now=lambda: _moment(self.loop.now))
        self.surroundings = self._scenario.surroundings(registry, self.trace, self.seed)
        self.server = ApiModel(self.loop, self.network, self.trace, registry, self.plan, self.seed)
        self.server.observed = (LEASE_KIND, *self.surroundings.observed)
        self.server.committed = self._committed
        self.network.server = self.server
        self.network.observe = self._sends

    async def _all(self) -> None:
        self._schedule()
        for name in self.names:
            self._later(self._chance.uniform(0.0, 3.0), self._start, name)
        while self.loop.now < self._quiet_at:  # noqa: ASYNC110 — it moves while faults are met
            await asyncio.sleep(self._quiet_at - self.loop.now)
        self.trace.add("world", "nothing new goes wrong from here on")
        self.checks.leadership.is_alive = False
        await self._progress()
        await self._rest()

    def _schedule(self) -> None:
        for window in self.plan.windows:
            self._at(window.start, self._begin, window)
        for at in self.plan.compactions:
            self._at(at, self.server.compact)
        for at, what in self.surroundings.script(USERS_SECONDS):
            self._at(at, self._user, what)

    # --- what happens from outside -------------------------------------------------------------------

    def _start(self, name: str) -> None:
        self._lives[name] += 1
        life = self._lives[name]
        process = Process(self.loop, name, life, self.plan.rates.get(name, 1.0), self._offsets[name])
        self.trace.add("world", f"starts {process.identity}")
        operator = process.context.run(self._scenario.operator, process, self.checks)
        self.operators[name] = operator
        process.start(operator.main)
        assert process.task is not None
        process.task.add_done_callback(lambda _: self._ended(process), context=self.loop.outside)

    def _ended(self, process: Process) -> None:
        if process.dead:
            return
        cause = _innermost(process.failure)
        self.trace.add("world", f"{process.identity} ends: {cause or 'in order'}")
        if cause is not None and not isinstance(cause, LeaseLost | SyncTimeout):
            self.trace.fail("world", f"{process.identity} crashed: {cause!r}")
        process.close()
        self._later(max(RESTART_SECONDS, process.holiday), self._start, process.name)

    def _begin(self, window: Window) -> None:
        self.trace.counts[window.what] += 1
        if window.what == "down":
            self.server.restart()
            self._later(window.seconds, self.server.is_back)
            return
        operator = self.operators.get(window.process)
        if operator is None or not operator.process.runs:
            return
        self._suffer(operator.process, window.what, window.seconds)

    def _strike(self, process: Process, fault: RequestFault) -> None:
        """What a fault does to the process itself, once the request is on its way."""
        if fault.kind in (Kind.STOPPED, Kind.KILLED):
            what = "pause" if fault.kind is Kind.STOPPED else "kill"
            self._later(0.0, self._suffer, process, what, fault.seconds)

    def _suffer(self, process: Process, what: str, seconds: float) -> None:
        if not process.runs:
            return
        self.trace.add("world", f"{what} {process.identity} for {seconds} s")
        match what:
            case "pause":
                process.pause()
                self._later(seconds, self._resume, process)
            case "kill":
                process.kill()
                self._later(seconds, self._start, process.name)
            case "stop":
                process.holiday = seconds
                process.terminate()

    def _resume(self, process: Process) -> None:
        if not process.dead:
            self.trace.add("world", f"resumes {process.identity}")
            process.resume()

    def _user(self, what: str) -> None:
        self.trace.add("user", what)
        self.server.act("user", lambda: self.surroundings.do(what))

    def _follow(self, what: str) -> None:
        self.server.act("cluster", lambda: self.surroundings.follow(what))

    # --- what is checked -----------------------------------------------------------------------------

    def _sends(self, process: Process, request: Incoming) -> None:
        self.trace.add(process.identity, f"sends {request}")
        if request.fault is not None:
            self.trace.add("plan", str(request.fault))
            self.trace.counts[request.fault.kind] += 1
            self._quiet_at = max(self._quiet_at, self.loop.now + request.fault.seconds)
            self._strike(process, request.fault)
        second = (process.name, int(self.loop.now))
        self._seconds[second] += 1
        if self._seconds[second] > REQUESTS_PER_SECOND:
            self.trace.fail(process.identity, f"sends more than {REQUESTS_PER_SECOND} requests in a second")
        self.checks.sends(process, request)
        # Events are told when they get through, which may be long after what they tell of.
        if self._resting and request.is_write and not is_unguarded(request):
            self.trace.fail(process.identity, f"sends {request}, though nothing changed")

    def _committed(self, actor: str, request: Incoming | None, gr: GroupResource, change: Change) -> None:
        self.checks.committed(request, gr, change)
        if gr == LEASE_KIND:
            return
        what, delay = self.surroundings.committed(request, gr, change)
        if what:
            self._later(delay, self._follow, what)

    async def _progress(self) -> None:
        patience = MUTED_SECONDS if self.plan.is_muted else PROGRESS_SECONDS
        deadline = self.loop.now + patience
        while problems := self._problems():
            if self.loop.now > deadline:
                self.trace.fail("world", f"no rest after {patience:.0f} s: {'; '.join(problems)}")
            await asyncio.sleep(1.0)

    async def _rest(self) -> None:
        self.trace.add("world", "all is well")
        # What had just been sent, and what is queued for no reason, may still be looked at.
        await asyncio.sleep(1.0)
        self._resting = True
        await asyncio.sleep(REST_SECONDS)
        if problems := self._problems():
            self.trace.fail("world", f"it does not stay well: {'; '.join(problems)}")

    def _problems(self) -> list[str]:
        """What is not yet as it must be in the end."""
        leaders = [process.identity for process in self.checks.leadership.leaders()]
        found = [] if len(leaders) == 1 else [f"{len(leaders)} leaders"]
        found += [] if self.checks.leadership.is_alive else ["nobody has renewed the lease yet"]
        for name in self.names:
            operator = self.operators.get(name)
            if operator is None or not operator.process.runs or not operator.caches:
                found.append(f"{name} does not run")
                continue
            found += self.checks.work.unfinished(operator.process)
            for cache in operator.caches:
                found += cache.differences(self._stored(cache))
        return [*found, *self.surroundings.unfinished()]

    def _stored(self, cache: CacheCheck) -> list[dict[str, Any]]:
        resource = cache.informer.resource
        return self.server.registry.list((resource.group, resource.plural), label_selector=cache.selector)[0]

    def _unhandled(self, _: object, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, Violation):
            self.trace.fail("loop", f"{context['message']}: {error!r}")

    # --- the end -------------------------------------------------------------------------------------

    def result(self) -> Result:
        """After :meth:`run`."""
        violation = self.trace.violation
        return Result(
            seed=self.seed,
            digest=self.trace.digest,
            violation=str(violation) if violation else "",
            lines=tuple(self.trace.lines()),
            virtual_seconds=self.loop.now,
            requests=self.server.requests,
            faults=self.trace.counts,
        )

    def _end(self) -> None:
        """Unwind all tasks, out of everybody's sight."""
        self.trace.close()
        alive = [operator.process for operator in self.operators.values()]
        for process in alive:
            process.kill()
        self.loop.set_exception_handler(lambda _, __: None)
        # A turn for itself: a run that ended in the very turn that a violation cut short still stops it.
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()
        self.loop.run_until_complete(_wait_for(alive))
        self.loop.close()

    def _at(self, when: float, what: Callable[..., None], *args: Any) -> None:
        self.loop.at(when, what, *args, context=self.loop.outside)

    def _later(self, seconds: float, what: Callable[..., None], *args: Any) -> None:
        self._at(self.loop.now + seconds, what, *args)


async def _wait_for(processes: list[Process]) -> None:
    assert CURRENT.get() is None
    for _ in range(60):
        if all(process.ended.is_set() for process in processes):
            return
        await asyncio.sleep(1.0)


def _moment(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)


def _innermost(error: BaseException | None) -> BaseException | None:
    while True:
        if isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        elif isinstance(error, PartFailed) and error.__cause__ is not None:
            error = error.__cause__
        else:
            return error


__all__ = ["ApiStatus", "Result", "Simulation", "simulate"]
