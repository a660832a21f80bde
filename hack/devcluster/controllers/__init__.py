"""The controllers of the embedded control plane.

Guarantee: each one looks at the current state only, so that it may be asked at any time and any number of
times; what it cannot do now it tries again.
Non-guarantee: made for tens of objects; every question is answered by a list of everything.
"""

from __future__ import annotations

import anyio

from hack.devcluster.controllers.claims import ClaimController
from hack.devcluster.controllers.cronjob import CronJobController
from hack.devcluster.controllers.deployment import DeploymentController
from hack.devcluster.controllers.endpoints import EndpointsController
from hack.devcluster.controllers.gc import GarbageCollector
from hack.devcluster.controllers.job import JobController
from hack.devcluster.controllers.loop import run_controller
from hack.devcluster.controllers.replicaset import ReplicaSetController
from hack.devcluster.controllers.scheduler import Scheduler
from hack.devcluster.controllers.statefulset import StatefulSetController
from hack.devcluster.registry import Registry

_CONTROLLERS = (
    StatefulSetController,
    DeploymentController,
    ReplicaSetController,
    JobController,
    CronJobController,
    ClaimController,
    EndpointsController,
    Scheduler,
)


async def run_controllers(registry: Registry) -> None:
    """Run all of them until cancelled."""
    async with anyio.create_task_group() as group:
        for controller in _CONTROLLERS:
            group.start_soon(run_controller, registry, controller(registry))
        group.start_soon(GarbageCollector(registry).run)
