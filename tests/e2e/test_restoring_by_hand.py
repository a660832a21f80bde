"""The promise: the commands by which docs/guide.md restores a database work as they are printed there."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from hack.devcluster.neo4j_sim.manifests import PASSWORD
from tests.e2e.installation import CHECKOUT
from tests.e2e.space import Space

SERVER = "reporting-0"


def printed(title: str) -> list[str]:
    """The shell commands of a part of the guide, block by block."""
    page = (CHECKOUT / "docs" / "guide.md").read_text(encoding="utf-8")
    text = page.partition(f"\n### {title}\n")[2].partition("\n### ")[0]
    return re.findall(r"^```bash\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def typed(room: Space, script: str, directory: Path) -> str:
    """What a shell prints in which ``script`` is typed; the names in it are made those of the test."""
    for name, here in (
        ("-n neo4j ", f"-n {room.name} "),
        ("neo4j/backup-reader", f"{room.name}/backup-reader"),
        ("/backup/neo4j/", f"/backup/{room.name}/"),
        ("neo4j/reporting-0", f"{room.name}/reporting-0"),
        ("image: neo4j:5.26-enterprise", f"image: {room.images.neo4j}"),
        ("kubectl ", f"{room.kubectl.path} "),
    ):
        script = script.replace(name, here)
    script = re.sub(r"-n neo4j$", f"-n {room.name}", script, flags=re.MULTILINE)
    environment = {**os.environ, "KUBECONFIG": room.kubectl.kubeconfig, "PASSWORD": PASSWORD}
    shell = ["bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(
        shell, cwd=directory, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout


def commit(room: Space, count: int) -> None:
    shell = ("cypher-shell", "-u", "neo4j", "-p", PASSWORD, "-d", "orders", f"CALL sim.commit({count})")
    room.run("exec", SERVER, "-c", "neo4j", "--", *shell)


def test_a_standalone_is_restored_from_a_claim(room: Space, tmp_path: Path) -> None:
    # Nothing is written but what the test writes, so that contents can be compared.
    databases = [{"name": "system"}, {"name": "orders", "storeBytes": 2_000_000}]
    room.deploy(room.sample("reporting", databases=databases), standalone=True)
    spec = {
        "target": {"kind": "Cluster", "name": "reporting"},
        "storage": {"type": "pvc", "pvc": {"name": "backup-storage", "size": "1Gi"}},
    }
    saved = room.digest(SERVER, "orders")
    room.backup("production-backup", spec)
    room.wait_phase("production-backup", "Completed")
    commit(room, 7)
    assert room.digest(SERVER, "orders")["digest"] != saved["digest"]

    look, reader, copy, restore = printed("Standalone, from a claim")
    stored = dict(line.split() for line in typed(room, look, tmp_path).splitlines())
    (artifact,) = (path for path in stored if path.startswith("databases/orders/"))
    typed(room, reader, tmp_path)
    chosen = f"ARTIFACT={artifact}"
    copied = typed(room, re.sub(r"^ARTIFACT=.*", chosen, copy, flags=re.MULTILINE), tmp_path)
    assert copied.count(stored[artifact]) == 2, copied
    shown = typed(room, f"{chosen}\n{restore}", tmp_path)
    assert '"online"' in shown
    now = room.digest(SERVER, "orders")
    assert (now["lastTx"], now["digest"]) == (saved["lastTx"], saved["digest"])
