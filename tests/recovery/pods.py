"""Operators and the API server in one event loop, so that an outage of ten minutes takes seconds.

Each pod is the whole program, :func:`controller.app.main.run`, which a kubelet of a few lines starts again
when it ends. Run it in virtual time (:mod:`tests.unit.kube.virtual`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import anyio

from controller.app import main
from controller.app.settings import read_settings
from controller.kube.errors import KubeError
from controller.kube.supervisor import PartFailed
from hack.devcluster.audit import Entry
from hack.devcluster.faults import Fault
from tests.recovery.fleet import Fleet
from tests.unit.reconcile.bench import NAMESPACE

OPERATORS = "neo4j-backup-operator/"
"""What their User-Agents begin with; the tests' own client has no slash."""
FIRST_DELAY, LONGEST_DELAY = 10.0, 300.0


@dataclass
class Pod:
    """One replica."""

    name: str
    fleet: Fleet
    in_cluster: bool = False
    """It finds its API server and its account as a pod does."""
    ends: list[str] = field(default_factory=list)
    """Why it ended, each time that it did."""

    async def run(self) -> None:
        arguments = ["--image", "operator:1", "--port", "0", "--host", "127.0.0.1"]
        arguments += ["--lease-namespace", NAMESPACE]
        if not self.in_cluster:
            arguments += ["--kubeconfig", str(self.fleet.cluster.kubeconfig)]
        settings = read_settings(arguments, {"POD_NAME": self.name})
        delay = FIRST_DELAY
        while True:
            try:
                await main.run(settings)
            except (PartFailed, KubeError) as error:
                self.ends.append(str(error))
            await anyio.sleep(delay)
            delay = min(delay * 2, LONGEST_DELAY)


def trouble(fleet: Fleet, **kind: object) -> Fault:
    """It happens to every request of the operators until ``fleet.cluster.faults.clear()``."""
    fault = Fault(agent=OPERATORS, times=10**9, **kind)  # type: ignore[arg-type]
    return fleet.cluster.faults.add(fault)


def peak(entries: Sequence[Entry], seconds: float = 60.0) -> int:
    """The most requests in any window of so many seconds."""
    times = [entry.at for entry in entries]
    return max((bisect_left(times, at + seconds) - index for index, at in enumerate(times)), default=0)
