"""The promise: what is missing is waited for, visibly, and found when it comes; nothing has to be deleted."""

from __future__ import annotations

from functools import partial

from hack.devcluster.neo4j_sim import manifests
from tests.e2e.space import Space
from tests.e2e.world import eventually


def test_a_backup_before_its_target(room: Space) -> None:
    spec = {
        "target": {"kind": "Cluster", "name": "late"},
        "storage": {"type": "pvc", "pvc": {"name": "late-backups"}},
    }
    room.backup("early", spec)
    status = room.wait_phase("early", "Pending")
    assert "late" in eventually(lambda: room.status("early").get("message"), "a message")
    assert room.condition("early", "Ready")["status"] == "False"

    # The deployment's resource before its pods.
    *_, resource = manifests.standalone(room.sample("late"))
    room.apply(resource)
    eventually(lambda: room.condition("early", "TargetReady")["reason"] == "NoStatefulSet", "it is found")
    assert "late" in room.status("early")["message"]

    room.deploy(room.sample("late"), standalone=True)
    # The claim has no size, so it is the user's to make: waited for as well.
    eventually(lambda: "late-backups" in room.status("early").get("message", ""), "the claim is named")
    room.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "late-backups"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
    )
    status = room.wait_phase("early", "Completed")
    assert status["history"][0]["status"] == "Completed"


def test_a_missing_secret_and_a_missing_bucket(room: Space) -> None:
    endpoint = room.start_s3()
    room.backup(
        "cloudless",
        {"target": {"kind": "Cluster", "name": "late"}, "storage": room.s3_storage(endpoint, "later")},
    )
    missing = partial(_storage_trouble, room, 's3-credentials" not found')
    eventually(missing, "StorageReady is False and names the Secret")

    room.s3_credentials()
    eventually(
        partial(_storage_trouble, room, "'later' does not exist"),
        "StorageReady is False and names the bucket",
    )

    room.s3("create-bucket", "later")
    eventually(lambda: room.status("cloudless").get("phase") == "Completed", "it completes by itself")


def _storage_trouble(room: Space, hint: str) -> bool:
    condition = room.condition("cloudless", "StorageReady")
    return condition["status"] == "False" and hint in condition["message"]
