"""The promise: of two operators one leads; when its pod goes, the other takes over and work goes on."""

from __future__ import annotations

import pytest

from tests.e2e import installation
from tests.e2e.space import Space
from tests.e2e.world import Kubectl, eventually


def _leader(kubectl: Kubectl) -> str:
    leases = kubectl.get("leases", "-n", installation.NAMESPACE)["items"]
    held = [lease["spec"].get("holderIdentity") or "" for lease in leases]
    return next((holder for holder in held if "neo4j-backup-operator" in holder), "")


def _pod_of(kubectl: Kubectl, holder: str) -> str:
    pods = kubectl.get("pods", "-n", installation.NAMESPACE)["items"]
    names: list[str] = [pod["metadata"]["name"] for pod in pods]
    return next(name for name in names if holder.startswith(name))


@pytest.mark.parametrize("how", ["deleted", "killed"])
def test_a_backup_completes_across_a_handover(room: Space, kubectl: Kubectl, how: str) -> None:
    name = f"under-{how}"
    slow = {"NEO4J_SIM_BYTES_PER_SECOND": "6000000"}
    room.deploy(room.sample(name, environment=slow), standalone=True)
    before = eventually(lambda: _leader(kubectl), "a leader")
    room.backup(
        name,
        {
            "target": {"kind": "Cluster", "name": name},
            "storage": {"type": "pvc", "pvc": {"name": f"{name}-backups", "size": "1Gi"}},
        },
    )
    room.wait_phase(name, "Pending", "Running", "Completed")
    grace = "--grace-period=0" if how == "killed" else "--grace-period=20"
    force = ["--force"] if how == "killed" else []
    pod = _pod_of(kubectl, before)
    kubectl("delete", "pod", "-n", installation.NAMESPACE, pod, grace, *force, "--wait=false")
    eventually(lambda: _leader(kubectl) not in ("", before), "another leader", 60)
    assert _pod_of(kubectl, _leader(kubectl)) != pod
    history = room.wait_phase(name, "Completed")["history"]
    assert len(history) == 1, history
