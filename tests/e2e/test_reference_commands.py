"""The promise: every command in the two reference documents works as it is printed there."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from tests.e2e.installation import CHECKOUT
from tests.e2e.space import S3_CREDENTIALS, Space
from tests.e2e.world import eventually

POD = "single-0"


@pytest.fixture(scope="module")
def done(room: Space) -> Space:
    """A standalone and a completed backup named as in the reference."""
    room.deploy(room.sample("single"), standalone=True)
    spec = {
        "target": {"kind": "Cluster", "name": "single"},
        "storage": {"type": "pvc", "pvc": {"size": "1Gi"}},
    }
    room.backup("production-backup", spec)
    room.wait_phase("production-backup", "Completed")
    return room


def test_get_wide(done: Space) -> None:
    header, row = done.run("get", "neo4jbackup", "production-backup", "-o", "wide").splitlines()
    for column in ("NAME", "TARGET", "PHASE", "LAST SUCCESS", "NEXT RUN", "SIZE", "AGE"):
        assert column in header
    assert "Completed" in row
    assert "single" in row


def test_describe(done: Space) -> None:
    text = done.run("describe", "neo4jbackup", "production-backup")
    assert "Phase:" in text
    assert "Completed" in text


def test_history_by_jsonpath(done: Space) -> None:
    line = done.run("get", "neo4jbackup", "production-backup", "-o", "jsonpath={.status.history[*]}")
    assert json.loads(line)["status"] == "Completed"


def test_job_logs(done: Space) -> None:
    text = done.run("logs", "job/production-backup-backup")
    assert "progress" in text
    assert "result" in text


def test_explain(done: Space) -> None:
    text = done.run("explain", "neo4jbackup.spec.storage.pvc")
    assert "Storage class of the claim to create" in " ".join(text.split())


def test_short_name_and_category(done: Space) -> None:
    assert "production-backup" in done.run("get", "n4jb")
    assert "production-backup" in done.run("get", "neo4j")


def test_wait_for_the_condition(done: Space) -> None:
    done.run("wait", "--for=condition=Ready", "neo4jbackup/production-backup", "--timeout=10s")


def test_resources_of_the_sidecar(done: Space) -> None:
    text = done.run("get", "pod", POD, "-o", "jsonpath={.spec.containers[1].resources}")
    assert json.loads(text) == {
        "limits": {"cpu": "500m", "memory": "1Gi"},
        "requests": {"cpu": "200m", "memory": "512Mi"},
    }


def test_the_sidecars_environment_and_mounts(done: Space) -> None:
    container = done.get("pod", POD)["spec"]["containers"][1]
    assert container["name"] == "backup-sidecar"
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["BACKUP_RETENTION_DAYS"] == "7"
    assert environment["BACKUP_RETENTION_COUNT"] == "10"
    assert environment["NEO4J_CONF"] == "/var/lib/neo4j/conf"
    assert environment["NEO4J_HOME"] == "/var/lib/neo4j"
    paths = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert {"/data", "/backup-requests"} <= paths


def _by_hand(room: Space, request: str) -> None:
    command = f"echo '{request}' > /backup-requests/backup.request"
    room.run("exec", POD, "-c", "backup-sidecar", "--", "sh", "-c", command)


def _status_of(room: Space, path: str) -> dict[str, object] | None:
    result = room.kubectl.run(
        *("-n", room.name, "exec", POD, "-c", "backup-sidecar", "--", "cat", "/backup-requests/backup.status")
    )
    if result.returncode:
        return None
    status: dict[str, object] = json.loads(result.stdout)
    return status if status.get("path") == path and status["state"] in ("Succeeded", "Failed") else None


def test_a_request_by_hand_as_printed(done: Space) -> None:
    request = '{\\"path\\":\\"/data/backups/test\\",\\"type\\":\\"FULL\\"}'
    command = f'echo "{request}" > /backup-requests/backup.request'
    done.run("exec", POD, "-c", "backup-sidecar", "--", "sh", "-c", command)
    status = eventually(lambda: _status_of(done, "/data/backups/test"), "the outcome of the request")
    assert status is not None
    assert status["state"] == "Succeeded", status
    files = done.run("exec", POD, "-c", "neo4j", "--", "ls", "/data/backups/test").split()
    assert sorted(name.split("-20")[0] for name in files) == ["customers", "neo4j", "orders", "system"]


def test_the_request_of_the_process_description(done: Space) -> None:
    path = "/data/backups/backup-20250721-151209"
    _by_hand(done, json.dumps({"path": path, "type": "FULL", "database": "neo4j"}))
    status = eventually(lambda: _status_of(done, path), "the outcome of the request")
    assert status is not None
    assert status["state"] == "Succeeded", status
    (name,) = done.run("exec", POD, "-c", "neo4j", "--", "ls", path).split()
    assert name.startswith("neo4j-")


def test_a_bad_request_by_hand_is_answered(done: Space) -> None:
    _by_hand(done, json.dumps({"path": "/etc/backups", "type": "FULL"}))
    status = eventually(lambda: _status_of(done, "/etc/backups"), "the refusal")
    assert status is not None
    assert status["state"] == "Failed"
    assert "/data/backups" in str(status["error"])


def test_the_complete_example(done: Space) -> None:
    """All of it as printed, but for the target's name and where this test's S3 server answers."""
    spec = yaml.safe_load((CHECKOUT / "manifests/samples/production-backup.yaml").read_text())["spec"]
    spec["target"]["name"] = "single"
    spec["storage"]["cloud"] |= {"endpoint": done.start_s3(), "credentialsSecret": S3_CREDENTIALS}
    done.s3("create-bucket", spec["storage"]["bucket"])
    done.s3_credentials()
    key = base64.b64encode(bytes(range(32))).decode()
    done.run("create", "secret", "generic", "backup-encryption-key", f"--from-literal=key={key}")

    done.backup("complete", spec, annotations={"backup.neo4j.com/run-now": "1"})
    eventually(lambda: done.status("complete").get("lastSuccessTime"), "a good run")
    status = done.status("complete")
    assert status["phase"] == "Scheduled"
    assert status["nextRunTime"].endswith("T02:00:00Z")
    (run,) = status["history"]
    assert (run["outcome"], run["verified"]) == ("Succeeded", True), run
    stored = done.s3("ls", spec["storage"]["bucket"])
    for artifact in run["artifacts"]:
        assert artifact["path"].endswith(".backup.aes256")
        assert f"daily-backups/{done.name}/complete/{artifact['path']}\n" in stored
