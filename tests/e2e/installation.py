"""The operator, installed the way the README says, with the images that the control plane can run."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from tests.e2e.world import Images, Kubectl

CHECKOUT = Path(__file__).resolve().parents[2]
NAMESPACE = "neo4j-operator-system"
TARGET_KINDS = CHECKOUT / "manifests" / "samples" / "targets" / "crds"


def install(kubectl: Kubectl, images: Images, scratch: Path) -> None:
    """Apply the overlay that fits the server's version; returns when both replicas are ready."""
    kubectl("apply", "-k", str(TARGET_KINDS))
    overlay = scratch / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(_overlay(kubectl, images, overlay)))
    kubectl("apply", "-k", str(overlay), timeout=180)
    # The same tag may hold a newer image than the one that already runs.
    kubectl("rollout", "restart", "deployment/neo4j-backup-operator", "-n", NAMESPACE)
    rollout = ("rollout", "status", "deployment/neo4j-backup-operator", "-n", NAMESPACE, "--timeout=120s")
    kubectl(*rollout, timeout=150)
    crd = "crd/neo4jbackups.neo4j.neo4j.com"
    kubectl("wait", "--for=condition=Established", crd, "--timeout=60s")


def _overlay(kubectl: Kubectl, images: Images, overlay: Path) -> dict[str, object]:
    base = CHECKOUT / "manifests" / ("overlays/current" if kubectl.server_minor >= 25 else "operator")
    name, _, tag = images.operator.rpartition(":")
    deployment = {"kind": "Deployment", "name": "neo4j-backup-operator"}
    container = "spec.template.spec.containers.[name=operator]"
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(base, overlay.resolve())],
        "images": [{"name": "neo4j-backup-operator", "newName": name, "newTag": tag}],
        "replacements": [
            {
                "source": deployment | {"fieldPath": f"{container}.image"},
                "targets": [
                    {"select": deployment, "fieldPaths": [f"{container}.env.[name=OPERATOR_IMAGE].value"]}
                ],
            }
        ],
    }
