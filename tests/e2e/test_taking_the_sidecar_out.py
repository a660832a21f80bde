"""The promise: the command of docs/install.md takes out of a StatefulSet all that was put into it."""

from __future__ import annotations

import re
import subprocess

from tests.e2e.installation import CHECKOUT
from tests.e2e.space import Space
from tests.e2e.world import Json, eventually


def printed() -> str:
    page = (CHECKOUT / "docs" / "install.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"^```bash\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (command,) = (block for block in blocks if "patch statefulset" in block)
    return command


def template(room: Space) -> Json:
    """Of the pods, as it is stored."""
    found: Json = room.get("statefulset", "single")["spec"]["template"]
    return found


def test_nothing_of_it_is_left_and_the_server_comes_back(room: Space) -> None:
    room.deploy(room.sample("single"), standalone=True)
    before = template(room)
    spec = {
        "target": {"kind": "Cluster", "name": "single"},
        "storage": {"type": "pvc", "pvc": {"name": "backups", "size": "1Gi"}},
    }
    room.backup("once", spec)
    room.wait_phase("once", "Completed")
    assert template(room) != before
    room.run("delete", "neo4jbackup", "once", "--timeout=60s")

    command = (
        printed().replace("-n neo4j ", f"-n {room.name} ").replace("production-cluster-server", "single")
    )
    environment = {"KUBECONFIG": room.kubectl.kubeconfig, "PATH": "/usr/bin:/bin"}
    script = command.replace("kubectl", room.kubectl.path)
    subprocess.run(["bash", "-euc", script], env=environment, check=True, capture_output=True, timeout=60)
    assert template(room) == before
    eventually(lambda: _runs_alone(room), "the pod is back without the sidecar")


def _runs_alone(room: Space) -> bool:
    pod = room.get("pod", "single-0")
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in pod["status"]["conditions"])
    return ready and len(pod["spec"]["containers"]) == 1
