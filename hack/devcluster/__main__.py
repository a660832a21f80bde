"""``python -m hack.devcluster --dir D``: a cluster for as long as this runs.

Prints how to reach it once it can be reached, and ends on SIGINT or SIGTERM with nothing left behind.
SIGUSR1 makes the API server forget its past, as a compaction of etcd does.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import anyio

from hack.devcluster.cluster import DevCluster
from hack.devcluster.local_images import local_images


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hack.devcluster", description=__doc__)
    parser.add_argument("--dir", type=Path, required=True, help="where the kubeconfig and the volumes go")
    parser.add_argument("--port", type=int, default=0, help="of the API server; any free one by default")
    parser.add_argument("--no-pods", action="store_true", help="an API server only: no controllers, no node")
    options = parser.parse_args(arguments)
    anyio.run(_run, options.dir.resolve(), options.port, not options.no_pods)
    return 0


async def _run(directory: Path, port: int, run_pods: bool) -> None:
    images = local_images(directory / "images") if run_pods else None
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1) as signals:
        async with DevCluster(directory, images=images, port=port, run_pods=run_pods) as cluster:
            print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
            async for received in signals:
                if received != signal.SIGUSR1:
                    break
                cluster.registry.store.compact()


if __name__ == "__main__":
    sys.exit(main())
