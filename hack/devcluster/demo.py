"""``hack/demo``: the operator's main job, from nothing, on the embedded control plane.

Starts a control plane and a simulated Neo4j cluster of 3+1 servers, installs the operator (two replicas)
as in a real cluster, applies a Neo4jBackup, shows its progress until it has completed, restores an artifact
into one of the servers and compares the content with what was saved.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from controller.kube.errors import KubeError
from hack import kubectl
from hack.devcluster.rehearsal import Failed, Rehearsal


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 shown and compared, 1 something failed, 130 ended by Ctrl-C."""
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what happened to FILE")
    parser.add_argument("--keep", action="store_true", help="leave the control plane up until Ctrl-C")
    parser.add_argument("--dir", type=Path, help="where to keep volumes and kubeconfig (default: a new one)")
    options = parser.parse_args(arguments)
    directory = options.dir or Path(tempfile.mkdtemp(prefix="neo4j-backup-demo."))
    directory.mkdir(parents=True, exist_ok=True)
    try:
        return anyio.run(_until_interrupted, directory.resolve(), options.json, options.keep)
    finally:
        if options.dir is None:
            shutil.rmtree(directory, ignore_errors=True)


async def _until_interrupted(directory: Path, report: Path | None, keep: bool) -> int:
    """The control plane lives inside the scope that a signal cancels: leaving it ends every process."""
    code = 130
    async with anyio.create_task_group() as group:

        async def on_signal() -> None:
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    group.cancel_scope.cancel()
                    return

        group.start_soon(on_signal)
        code = await _show(directory, report, keep)
        group.cancel_scope.cancel()
    return code


async def _show(directory: Path, report: Path | None, keep: bool) -> int:
    started = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - started:6.1f}s  {text}", flush=True)

    async with Rehearsal(directory, say) as rehearsal:
        try:
            outcome = await rehearsal.run()
        except (Failed, KubeError, TimeoutError) as error:
            say(f"FAILED: {error}")
            await rehearsal.explain()
            return 1
        if report is not None:
            await anyio.Path(report).write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
        if keep:
            _tell_how_to_look(rehearsal)
            await anyio.sleep_forever()
        say("all good; `hack/demo --keep` leaves this running for your own kubectl")
    return 0


def _tell_how_to_look(rehearsal: Rehearsal) -> None:
    alias = "" if kubectl.installed() else f"\n    alias kubectl=$({sys.executable} -m hack.kubectl)"
    print(
        f"""
The control plane stays up until Ctrl-C. In another terminal, in this directory:
{alias}
    export KUBECONFIG={rehearsal.kubeconfig}
    kubectl get neo4jbackup -n {rehearsal.namespace} -o wide
    kubectl describe neo4jbackup {rehearsal.backup} -n {rehearsal.namespace}
    kubectl annotate neo4jbackup {rehearsal.backup} -n {rehearsal.namespace} \
--overwrite backup.neo4j.com/run-now="$(date)" && kubectl get neo4jbackup -n {rehearsal.namespace} -w
""",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
