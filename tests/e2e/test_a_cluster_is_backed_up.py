"""The promise: apply a Neo4jBackup, and every database of the cluster is saved, from the right server."""

from __future__ import annotations

import hashlib
import json
import threading
import time

import pytest

from hack.devcluster.neo4j_sim.manifests import Sample
from tests.e2e.space import Space
from tests.e2e.world import Json, eventually

# Nothing is written while the tests run, so that what was restored can be compared with what is there.
DATABASES: list[Json] = [
    {"name": "system"},
    {"name": "neo4j", "storeBytes": 2_000_000},
    {"name": "orders", "storeBytes": 24_000_000, "initialTx": 60},
    {"name": "customers", "storeBytes": 8_000_000, "initialTx": 30},
]
SECONDARY = "graph-server-3"


class Watch:
    """Which pods of the StatefulSet were not ready at the same time, while a sidecar is rolled in."""

    def __init__(self, room: Space, stateful_set: str) -> None:
        self.most_unready = 0
        self._room, self._set, self._stop = room, stateful_set, threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(0.2):
            found = self._room.get("statefulset", self._set)
            unready = found["spec"]["replicas"] - found["status"].get("readyReplicas", 0)
            self.most_unready = max(self.most_unready, unready)


@pytest.fixture(scope="module")
def graph(room: Space) -> Sample:
    slow = {"NEO4J_SIM_BYTES_PER_SECOND": "8000000"}
    return room.deploy(room.sample("graph", databases=DATABASES, environment=slow))


@pytest.fixture(scope="module")
def first(room: Space, graph: Sample) -> tuple[Json, list[Json], int]:
    """The first backup of the cluster, onto a claim: its status, the progress seen, pods down at once."""
    spec = {
        "target": {"kind": "Cluster", "name": "graph"},
        "storage": {"type": "pvc", "pvc": {"name": "backups", "size": "1Gi"}},
        "options": {"backupType": "FULL"},
    }
    seen: list[Json] = []
    with Watch(room, "graph-server") as watch:
        room.backup("nightly", spec)
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            status = room.status("nightly")
            if status.get("progress"):
                seen.append(status["progress"])
            if status.get("phase") in ("Completed", "Failed"):
                break
            time.sleep(0.3)
    return room.wait_phase("nightly", "Completed"), seen, watch.most_unready


def test_it_completes_with_stats_and_history(first: tuple[Json, list[Json], int]) -> None:
    status, _, _ = first
    assert status["lastSuccessTime"]
    assert status["stats"]["fileCount"] == len(DATABASES)
    (run,) = status["history"]
    assert run["status"] == "Completed"
    assert run["outcome"] in ("Succeeded", "SucceededWithWarnings"), run
    assert sorted(run["databases"]) == ["customers", "neo4j", "orders", "system"]
    ready = {condition["type"]: condition["status"] for condition in status["conditions"]}
    assert ready["Ready"] == "True", status["conditions"]
    assert ready["JobCreated"] == "True"
    assert ready["StorageReady"] == "True"


def test_progress_is_visible_on_the_way(first: tuple[Json, list[Json], int]) -> None:
    _, seen, _ = first
    assert seen, "status.progress never appeared"
    assert {"Dumping", "Uploading"} & {progress["phase"] for progress in seen}


def test_the_sidecar_is_rolled_in_one_pod_at_a_time(first: tuple[Json, list[Json], int]) -> None:
    _, _, most_unready = first
    assert most_unready == 1


def test_each_database_comes_from_a_secondary_where_there_is_one(
    first: tuple[Json, list[Json], int],
) -> None:
    status, _, _ = first
    sources = {item["database"]: (item["server"], item["role"]) for item in status["history"][0]["artifacts"]}
    assert sources["orders"] == (SECONDARY, "secondary")
    assert sources["customers"] == (SECONDARY, "secondary")
    assert sources["neo4j"] == (SECONDARY, "secondary")
    # Every server is a primary of system here; its writer is the first.
    assert sources["system"][1] == "primary"
    assert sources["system"][0] != "graph-server-0"


def test_what_was_stored_in_s3_restores_to_the_same_content(
    room: Space, first: tuple[Json, list[Json], int]
) -> None:
    endpoint = room.start_s3()
    room.s3("create-bucket", "graphs")
    room.s3_credentials()
    storage = room.s3_storage(endpoint, "graphs", "prod")
    room.backup("cloud", {"target": {"kind": "Cluster", "name": "graph"}, "storage": storage})
    status = room.wait_phase("cloud", "Completed")

    root = f"prod/{room.name}/cloud/"
    stored = {
        key: int(size) for size, key in (line.split("\t") for line in room.s3("ls", "graphs").splitlines())
    }
    run = status["history"][0]
    assert run["repository"] == f"s3://graphs/{root.rstrip('/')}"
    assert root + run["manifest"] in stored
    for item in run["artifacts"]:
        assert stored[root + item["path"]] == item["bytes"]

    (orders,) = (item for item in run["artifacts"] if item["database"] == "orders")
    artifact = room.s3_object("graphs", root + orders["path"])
    assert hashlib.sha256(artifact).hexdigest() == orders["sha256"]
    restored = room.digest_after_restore("graph-server-0", "orders", artifact)
    live = room.digest("graph-server-0", "orders")
    assert (restored["lastTx"], restored["digest"]) == (live["lastTx"], live["digest"])


def test_one_database_alone_can_be_backed_up(room: Space, first: tuple[Json, list[Json], int]) -> None:
    spec = {
        "target": {"kind": "Database", "name": "customers", "clusterRef": "graph"},
        "storage": {"type": "pvc", "pvc": {"name": "backups"}},
    }
    room.backup("customers-only", spec)
    run = room.wait_phase("customers-only", "Completed")["history"][0]
    assert run["databases"] == ["customers"]


def test_another_run_happens_when_it_is_asked_for(room: Space, first: tuple[Json, list[Json], int]) -> None:
    room.run("annotate", "neo4jbackup", "customers-only", "backup.neo4j.com/run-now=again")
    eventually(lambda: len(room.status("customers-only")["history"]) == 2, "a second run")
    status = room.wait_phase("customers-only", "Completed")
    assert len({run["runID"] for run in status["history"]}) == 2


def test_only_the_open_chains_are_left_in_the_database_pods(
    room: Space, first: tuple[Json, list[Json], int]
) -> None:
    listing = ["sh", "-c", "find /data/backups -type f -not -path '*/.chains/*' -name '*.backup' || true"]
    for index in range(4):
        left = room.run("exec", f"graph-server-{index}", "-c", "neo4j", "--", *listing)
        assert left.strip() == ""


def test_the_events_tell_the_story(room: Space, first: tuple[Json, list[Json], int]) -> None:
    events = room.get("events", "--field-selector", "involvedObject.name=nightly")["items"]
    reasons = {event["reason"] for event in events}
    messages = json.dumps([event["message"] for event in events])
    assert any("idecar" in reason for reason in reasons), messages
    assert any("Complet" in reason or "Succe" in reason for reason in reasons), messages
