"""``python -m controller runner``: the program of Job and CronJob pods.

Guarantee: however the run ends, SIGTERM included, the result is the last line of the log and the pod's
termination message, and the exit code is 0 only for a run that saved everything: 0 succeeded, 1 failed
or partly failed, 64 the specification is no specification.

Non-guarantee: a SIGKILL leaves no message; the kubelet's own reason is all there is then.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import NoReturn

import anyio

from controller.kube.client import Client
from controller.kube.config import load_config
from controller.kube.errors import KubeError
from controller.repository.errors import RepositoryError
from controller.repository.opening import open_encryption, open_store
from controller.runner import report
from controller.runner.dial import ExecDial
from controller.runner.groups import unwrapped
from controller.runner.log import Log
from controller.runner.progress import Tracker
from controller.runner.run import Run, Surroundings
from controller.runner.session import VerbSession
from controller.wire import locations
from controller.wire.messages import Outcome, RunResult, RunSpec, Unreadable, decode

USAGE = 64
_GOOD = {Outcome.SUCCEEDED, Outcome.SUCCEEDED_WITH_WARNINGS}


def main(argv: list[str]) -> NoReturn:
    """Never returns: threads of the store's library abort an interpreter that shuts down under them."""
    code = USAGE if argv else run_program(os.environ)
    if argv:
        sys.stderr.write(f"runner takes no arguments; it reads {locations.ENV_RUN_SPEC}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_program(env: Mapping[str, str]) -> int:
    """One run by the variables in ``env``; returns the exit code."""
    log = Log(_now)
    run_id = env.get(locations.ENV_RUN_ID, "")
    started = _now()
    try:
        spec = decode(env.get(locations.ENV_RUN_SPEC, ""), RunSpec)
    except Unreadable as error:
        why = f"{locations.ENV_RUN_SPEC} is no run specification: {error}"
        _publish(log, report.failed(run_id, started, _now(), "BadRunSpec", why))
        return USAGE
    if not run_id:
        _publish(log, report.failed("", started, _now(), "BadRunSpec", f"{locations.ENV_RUN_ID} is empty"))
        return USAGE
    result = anyio.run(_run, spec, run_id, log)
    _publish(log, result)
    return 0 if result.outcome in _GOOD else 1


async def _run(spec: RunSpec, run_id: str, log: Log) -> RunResult:
    started = _now()
    log.info("run", run=run_id, backup=f"{spec.namespace}/{spec.backup}", deployment=spec.deployment)
    try:
        return await _until_terminated(spec, run_id, log)
    except RepositoryError as error:
        return report.failed(run_id, started, _now(), error.reason, str(error))
    except KubeError as error:
        return report.failed(run_id, started, _now(), "KubernetesUnreachable", str(error))
    except Exception as error:
        # A bug: the cause still has to reach the status, and the trace the log.
        log.error("bug", error=f"{type(error).__name__}: {error}", trace=_trace(error))
        return report.failed(run_id, started, _now(), "InternalError", f"{type(error).__name__}: {error}")


async def _until_terminated(spec: RunSpec, run_id: str, log: Log) -> RunResult:
    """The run, ended early by SIGTERM: staging released and uploads aborted, within the grace period."""
    volume = locations.located(locations.REPOSITORY_DIR)
    credentials = locations.located(locations.STORAGE_CREDENTIALS_DIR)
    service_account = str(locations.located(locations.SERVICE_ACCOUNT_DIR))
    store = open_store(spec, volume=volume, credentials=credentials)
    class_ = spec.retention.archive_storage_class if spec.retention else ""
    cold = open_store(spec, volume=volume, credentials=credentials, storage_class=class_) if class_ else None
    encryption = open_encryption(spec, locations.located(locations.ENCRYPTION_KEYS_DIR))
    async with Client(load_config(service_account_dir=service_account)) as client:
        world = Surroundings(
            store=store,
            connect=lambda server: VerbSession(server.pod, ExecDial(client, server)),
            log=log,
            tracker=Tracker(run_id, log.progress, time.monotonic),
            now=_now,
            encryption=encryption,
            cold=cold,
        )
        return await until_told_to_stop(Run(spec, run_id, world))


async def until_told_to_stop(run: Run) -> RunResult:
    """The run's result; SIGTERM ends it early, and then what is so is reported."""
    result: RunResult | None = None
    with unwrapped():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(cancel_on_signal, tasks.cancel_scope)
            result = await run.result()
            tasks.cancel_scope.cancel()
    return result or run.interrupted()


async def cancel_on_signal(scope: anyio.CancelScope) -> None:
    """Ends the scope when the pod is told to stop."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _publish(log: Log, result: RunResult) -> None:
    line = report.fit(result)
    with suppress(OSError):
        # Outside Kubernetes there is no such file, and the log's last line says the same.
        locations.located(locations.TERMINATION_LOG).write_bytes(line)
    log.result(line)


def _trace(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))


def _now() -> datetime:
    return datetime.now(UTC)
