"""The operator, installed as docs/install.md prints it, with the images that the control plane can run."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.e2e.world import Images, Kubectl

CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACE = "neo4j-operator-system"
TARGET_KINDS = CHECKOUT / "manifests" / "samples" / "targets" / "crds"
_NAMES = ("kustomization.yaml", "namespaces.yaml")


def install(kubectl: Kubectl, images: Images, scratch: Path, *, only: str = "") -> None:
    """Returns when both replicas are ready; they watch the namespace ``only``, or all of them."""
    kubectl("apply", "-k", str(TARGET_KINDS))
    folder = write(kubectl, images, scratch, only=only)
    kubectl("apply", "-k", str(folder), timeout=180)
    # The same tag may hold a newer image than the one that already runs.
    restart(kubectl)
    crd = "crd/neo4jbackups.neo4j.neo4j.com"
    kubectl("wait", "--for=condition=Established", crd, "--timeout=60s")


def restart(kubectl: Kubectl) -> None:
    """Replace the operator's pods; returns when the new ones are ready."""
    kubectl("rollout", "restart", "deployment/neo4j-backup-operator", "-n", NAMESPACE)
    rolled_out(kubectl)


def rolled_out(kubectl: Kubectl) -> None:
    """Returns when both replicas are ready and no older one is left."""
    rollout = ("rollout", "status", "deployment/neo4j-backup-operator", "-n", NAMESPACE, "--timeout=120s")
    kubectl(*rollout, timeout=150)


def write(kubectl: Kubectl, images: Images, scratch: Path, *, only: str) -> Path:
    """The directory ``my-install`` of the page, beside a copy of the manifests."""
    shutil.copytree(CHECKOUT / "manifests", scratch / "manifests", dirs_exist_ok=True)
    folder = scratch / "my-install"
    folder.mkdir(exist_ok=True)
    name, _, tag = images.operator.rpartition(":")
    placeholders = {
        "registry.example.com/neo4j-backup-operator": name,
        "newTag: 0.1.0": f"newTag: {tag}",
        "../manifests/overlays/current": f"../manifests/{_which(kubectl.server_minor)}",
        "value: neo4j\n": f"value: {only}\n",
        "namespace: neo4j\n": f"namespace: {only}\n",
    }
    printed = _printed("Some namespaces only" if only else "Install")
    for file, text in zip(_NAMES, printed, strict=False):
        (folder / file).write_text(_filled_in(text, placeholders), encoding="utf-8")
    return folder


def _filled_in(text: str, placeholders: dict[str, str]) -> str:
    for placeholder, value in placeholders.items():
        text = text.replace(placeholder, value)
    return text


def _printed(chapter: str) -> list[str]:
    page = (CHECKOUT / "docs" / "install.md").read_text(encoding="utf-8")
    text = page.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def _which(minor: int) -> str:
    if minor >= 25:
        return "overlays/current"
    return "operator" if minor >= 21 else "overlays/before-1.21"
