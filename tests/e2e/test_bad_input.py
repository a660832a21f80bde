"""The promise: a bad field is refused by the API server, or a condition says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.e2e.space import Space
from tests.e2e.world import Json, eventually


def manifest(name: str, **spec: Any) -> str:
    base: Json = {
        "target": {"kind": "Cluster", "name": "graph"},
        "storage": {"type": "pvc", "pvc": {"name": "backups"}},
    }
    kind = {"apiVersion": "neo4j.neo4j.com/v1alpha1", "kind": "Neo4jBackup"}
    return yaml.safe_dump({**kind, "metadata": {"name": name}, "spec": {**base, **spec}})


@pytest.mark.parametrize(
    ("name", "spec", "hint"),
    [
        ("kind", {"target": {"kind": "Server", "name": "graph"}}, "Cluster"),
        ("type", {"storage": {"type": "ftp"}}, "s3"),
        ("enum", {"options": {"backupType": "HALF"}}, "FULL"),
        ("count", {"retention": {"maxCount": "seven"}}, "maxCount"),
        ("missing", {"storage": None}, "storage"),
    ],
)
def test_the_api_server_refuses(room: Space, name: str, spec: Json, hint: str) -> None:
    result = room.kubectl.run("-n", room.name, "apply", "-f", "-", stdin=manifest(f"bad-{name}", **spec))
    assert result.returncode != 0
    assert hint in result.stderr
    assert room.find("neo4jbackup", f"bad-{name}") is None


@pytest.mark.parametrize(
    ("name", "spec", "hint"),
    [
        ("bucket", {"storage": {"type": "s3", "cloud": {"provider": "aws", "region": "x"}}}, "bucket"),
        ("age", {"retention": {"maxAge": "1 month"}}, "30d"),
        ("cron", {"schedule": "every day"}, "schedule"),
        ("key", {"options": {"encryption": {"enabled": True}}}, "keySecret"),
        ("argument", {"options": {"additionalArgs": ["--to-path=/elsewhere"]}}, "--to-path"),
        ("path", {"storage": {"type": "pvc", "path": "../else", "pvc": {"name": "backups"}}}, "path"),
    ],
)
def test_what_contradicts_itself_is_refused_or_failed(room: Space, name: str, spec: Json, hint: str) -> None:
    """By the API server's own rules from Kubernetes 1.25 on, and by the operator before."""
    result = room.kubectl.run("-n", room.name, "apply", "-f", "-", stdin=manifest(f"odd-{name}", **spec))
    if result.returncode:
        assert hint in result.stderr
        return
    status = room.wait_phase(f"odd-{name}", "Failed")
    assert hint in status["message"]
    ready = room.condition(f"odd-{name}", "Ready")
    assert ready["status"] == "False"
    assert hint in ready["message"]


def test_what_was_wrong_can_be_put_right_in_place(room: Space) -> None:
    room.deploy(room.sample("graph"), standalone=True)
    # A day that never comes: no server's rules know the calendar, so the operator has to say it.
    claim = {"type": "pvc", "pvc": {"size": "1Gi"}}
    room.apply(yaml.safe_load(manifest("mended", storage=claim, schedule="0 0 31 2 *")))
    status = room.wait_phase("mended", "Failed")
    assert "schedule" in status["message"]
    room.run("patch", "neo4jbackup", "mended", "--type=merge", "-p", '{"spec":{"schedule":null}}')

    mended = "it completes after the spec was mended"
    eventually(lambda: room.status("mended").get("phase") == "Completed", mended)
