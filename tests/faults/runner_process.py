"""The runner as a process that can be killed: the product's own run, over local agents instead of exec.

Reads an :class:`Order` from standard input, writes the runner's log to standard output.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta

import anyio
import msgspec

from controller.repository.encryption.codec import open_encryption
from controller.repository.stores.s3 import S3Settings, S3Store
from controller.runner import report
from controller.runner.download import Limits
from controller.runner.log import Log
from controller.runner.main import until_told_to_stop
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.runner.transfer import Persistence
from controller.wire.messages import RunResult, RunSpec
from tests.faults.line import FaultySession
from tests.faults.plan import Trouble
from tests.support.local_agent import LocalAgent

QUICK = Persistence(barren_tries=4, pause=0.02, limits=Limits(connect=2.0, stall=4.0))


class Order(msgspec.Struct, kw_only=True):
    """All that one run of the process needs."""

    spec: RunSpec
    run_id: str
    endpoint: str
    bucket: str
    prefix: str
    agents: dict[str, dict[str, str]]
    """Name → the container's environment."""
    keys: dict[str, bytes]
    trouble: Trouble | None = None


def store_at(endpoint: str, bucket: str, prefix: str) -> S3Store:
    """Impatient: a store that refuses for ever should not take a minute of every seed."""
    return S3Store(
        S3Settings(
            bucket=bucket,
            prefix=prefix,
            endpoint=endpoint,
            access_key_id="a",
            secret_access_key="b",
            retry_timeout=timedelta(seconds=3),
        )
    )


async def back_up(order: Order, log: Log) -> RunResult:
    """The run, ended early by SIGTERM as the real program ends."""
    algorithm = order.spec.encryption
    world = Surroundings(
        store=store_at(order.endpoint, order.bucket, order.prefix),
        connect=lambda server: FaultySession(LocalAgent(server.pod, order.agents[server.pod]), order.trouble),
        log=log,
        tracker=Tracker(order.run_id, log.progress, time.monotonic),
        now=_now,
        encryption=open_encryption(algorithm, order.keys) if algorithm else None,
        persistence=QUICK,
    )
    return await until_told_to_stop(Run(order.spec, order.run_id, world))


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    log = Log(_now)
    log.result(
        report.fit(anyio.run(back_up, msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order), log))
    )
    sys.stdout.flush()
    os._exit(0)
