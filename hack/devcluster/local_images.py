"""The images that this checkout can run without building any: the operator and the simulated Neo4j."""

from __future__ import annotations

from pathlib import Path

from hack.devcluster.images import ImageCatalog, LocalImage, python_image
from hack.devcluster.neo4j_sim.image import install

CHECKOUT = Path(__file__).resolve().parents[2]
NEO4J_VERSION = "5.26.12"


def local_images(directory: Path, neo4j_version: str = NEO4J_VERSION) -> ImageCatalog:
    """References of the manifests and samples, by the name's last part; trees go into ``directory``."""
    catalog = ImageCatalog()
    operator = python_image("controller", CHECKOUT)
    for pattern in ("neo4j-backup-operator*", "*/neo4j-backup-operator*"):
        catalog.add(pattern, operator)
    simulated = install(directory / "neo4j", neo4j_version)
    neo4j = LocalImage(
        entrypoint=simulated.entrypoint,
        args=simulated.args,
        env=simulated.env,
        binds=simulated.binds,
        writable=simulated.writable,
        working_dir=simulated.working_dir,
    )
    for pattern in ("neo4j:*", "*/neo4j:*", "neo4j-sim*", "*/neo4j-sim*"):
        catalog.add(pattern, neo4j)
    return catalog
