"""The promise: deleting a Neo4jBackup removes what the operator made for it, and never a backup."""

from __future__ import annotations

from functools import partial

from tests.e2e.space import Space
from tests.e2e.world import eventually

MADE = "jobs,cronjobs,serviceaccounts,roles,rolebindings,pods"


def _made_for(room: Space, name: str) -> list[str]:
    found = room.get(MADE, "-l", f"backup.neo4j.com/backup={name}")["items"]
    return [f"{item['kind']}/{item['metadata']['name']}" for item in found]


def _nothing_made_for(room: Space, name: str) -> bool:
    return not _made_for(room, name)


def test_only_the_backups_are_left(room: Space) -> None:
    room.deploy(room.sample("single"), standalone=True)
    endpoint = room.start_s3()
    room.s3("create-bucket", "kept")
    room.s3_credentials()
    target = {"kind": "Cluster", "name": "single"}
    room.backup("onto-pvc", {"target": target, "storage": {"type": "pvc", "pvc": {"size": "1Gi"}}})
    room.wait_phase("onto-pvc", "Completed")
    room.backup("into-s3", {"target": target, "storage": room.s3_storage(endpoint, "kept")})
    room.wait_phase("into-s3", "Completed")
    stored = room.s3("ls", "kept")
    assert "/runs/" in stored
    assert _made_for(room, "onto-pvc")

    room.run("delete", "neo4jbackup", "onto-pvc", "into-s3", "--timeout=60s")
    for name in ("onto-pvc", "into-s3"):
        eventually(partial(_nothing_made_for, room, name), f"what was made for {name} is gone")
    assert room.s3("ls", "kept") == stored
    claim = room.get("pvc", "-l", "app.kubernetes.io/managed-by=neo4j-operator")["items"]
    assert [item["status"]["phase"] for item in claim] == ["Bound"]


def test_deleting_in_the_middle_of_a_run_stops_it(room: Space) -> None:
    slow = {"NEO4J_SIM_BYTES_PER_SECOND": "200000"}
    room.deploy(room.sample("slow", environment=slow), standalone=True)
    spec = {
        "target": {"kind": "Cluster", "name": "slow"},
        "storage": {"type": "pvc", "pvc": {"name": "slow-backups", "size": "1Gi"}},
    }
    room.backup("interrupted", spec)
    room.wait_phase("interrupted", "Running")
    room.run("delete", "neo4jbackup", "interrupted", "--timeout=60s")
    eventually(lambda: not _made_for(room, "interrupted"), "the run's pod is gone")
    # The next backup is not in the way of the dead one.
    room.run("exec", "slow-0", "-c", "neo4j", "--", "true")
