"""The images that this checkout runs without building any: operator, simulated Neo4j, S3 server, a shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from controller.wire.locations import AGENT_BUNDLE_SOURCE
from hack.devcluster.agent_files import agent_bundle
from hack.devcluster.images import ImageCatalog, LocalImage, python_image
from hack.devcluster.neo4j_sim.image import install

CHECKOUT = Path(__file__).resolve().parents[2]
NEO4J_VERSION = "5.26.12"


def local_images(directory: Path, neo4j_version: str = NEO4J_VERSION) -> ImageCatalog:
    """References of the manifests and samples, by the name's last part; trees go into ``directory``."""
    catalog = ImageCatalog()
    operator = python_image("hack.devcluster.operator_image", CHECKOUT, {AGENT_BUNDLE_SOURCE: agent_bundle()})
    for pattern in ("neo4j-backup-operator*", "*/neo4j-backup-operator*"):
        catalog.add(pattern, operator)
    simulated = install(directory / "neo4j", neo4j_version)
    neo4j = LocalImage(
        entrypoint=simulated.entrypoint,
        args=simulated.args,
        env=simulated.env,
        # The interpreter of the simulation too: a checkout below /tmp is hidden by the container's own /tmp.
        binds={**python_image("hack", CHECKOUT).binds, **simulated.binds},
        writable=simulated.writable,
        working_dir=simulated.working_dir,
    )
    for pattern in ("busybox*", "*/busybox*"):
        catalog.add(pattern, LocalImage(args=("sh",)))
    for pattern in ("neo4j:*", "*/neo4j:*", "neo4j-sim*", "*/neo4j-sim*"):
        catalog.add(pattern, neo4j)
    for pattern in ("s3-server*", "*/s3-server*"):
        catalog.add(pattern, _s3_server())
    return catalog


def _s3_server() -> LocalImage:
    """``s3ctl`` is on the PATH as in the image of the same name."""
    python = python_image("controller", CHECKOUT)
    path = f"{CHECKOUT / 'hack' / 'images'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return LocalImage(entrypoint=("s3ctl",), args=("serve",), env={"PATH": path}, binds=python.binds)
