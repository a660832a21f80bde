"""A namespace of its own for a test, with Neo4j, object storage and backups in it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from hack.devcluster.neo4j_sim import manifests
from hack.devcluster.neo4j_sim.manifests import Sample
from tests.e2e.world import Images, Json, Kubectl, KubectlFailed, eventually

API_VERSION = "neo4j.neo4j.com/v1alpha1"
S3_PORT = 5000
S3_CREDENTIALS = "s3-credentials"


@dataclass(frozen=True, slots=True)
class Space:
    """``name`` is the namespace; every method waits for what it asked for."""

    kubectl: Kubectl
    images: Images
    name: str

    def run(self, *args: str, stdin: str | None = None) -> str:
        return self.kubectl("-n", self.name, *args, stdin=stdin)

    def get(self, *args: str) -> Json:
        return self.kubectl.get("-n", self.name, *args)

    def find(self, *args: str) -> Json | None:
        return self.kubectl.find("-n", self.name, *args)

    def apply(self, *objects: Json) -> None:
        self.kubectl("-n", self.name, "apply", "-f", "-", stdin=manifests.to_yaml(objects))

    # --- Neo4j ---

    def sample(self, name: str, **more: Any) -> Sample:
        return Sample(name=name, namespace=self.name, image=self.images.neo4j, **more)

    def deploy(self, sample: Sample, *, standalone: bool = False) -> Sample:
        """Apply the deployment and wait until every server is ready."""
        objects = manifests.standalone(sample) if standalone else manifests.cluster(sample)
        self.apply(*objects)
        sets = [(sample.name, 1)] if standalone else [(name, count) for name, count, _ in sample.sets()]
        for name, count in sets:
            eventually(partial(self._has_ready, name, count), f"{name} is ready")
        return sample

    def _has_ready(self, stateful_set: str, count: int) -> bool:
        return self._ready(stateful_set) == count

    def _ready(self, stateful_set: str) -> int:
        return int(self.get("statefulset", stateful_set).get("status", {}).get("readyReplicas", 0))

    def digest(self, pod: str, database: str) -> Json:
        """What the simulated server holds: last transaction and a digest of the content."""
        answer: Json = json.loads(
            self.run("exec", pod, "-c", "neo4j", "--", "neo4j-admin", "sim-digest", database)
        )
        return answer

    def digest_after_restore(self, pod: str, database: str, artifact: bytes) -> Json:
        """Restore ``artifact`` beside the running databases, under another name, and digest that."""
        return self.digest_after_restoring(
            pod, database, {f"{database}-2026-01-01T00-00-00.backup": artifact}
        )

    def digest_after_restoring(self, pod: str, database: str, chain: dict[str, bytes]) -> Json:
        """The same with a chain: file names, oldest first, and what is in them."""
        for name, content in chain.items():
            there = f"/data/restore/{name}"
            write = [
                "sh",
                "-c",
                'mkdir -p /data/restore && cat > "$1" && sync && sha256sum "$1"',
                "sh",
                there,
            ]
            command = [self.kubectl.path, f"--kubeconfig={self.kubectl.kubeconfig}", "-n", self.name]
            command += ["exec", "-i", pod, "-c", "neo4j", "--", *write]
            answer = subprocess.run(command, input=content, capture_output=True, check=True, timeout=120)
            assert answer.stdout.split()[0].decode() == hashlib.sha256(content).hexdigest()
        restored = f"{database}restored"
        admin = ("exec", pod, "-c", "neo4j", "--", "neo4j-admin")
        restore = ("database", "restore", "--overwrite-destination=true", f"--from-path={there}", restored)
        self.run(*admin, *restore)
        answer_digest: Json = json.loads(self.run(*admin, "sim-digest", restored))
        return answer_digest

    # --- backups ---

    def backup(self, name: str, spec: Json, **metadata: Any) -> None:
        self.apply(
            {
                "apiVersion": API_VERSION,
                "kind": "Neo4jBackup",
                "metadata": {"name": name, **metadata},
                "spec": spec,
            }
        )

    def status(self, name: str) -> Json:
        status: Json = self.get("neo4jbackup", name).get("status", {})
        return status

    def condition(self, name: str, kind: str) -> Json:
        """The condition, or one with status Missing."""
        for condition in self.status(name).get("conditions", []):
            if condition["type"] == kind:
                found: Json = condition
                return found
        return {"type": kind, "status": "Missing", "reason": "", "message": ""}

    def wait_phase(self, name: str, *phases: str) -> Json:
        """The status once its phase is one of ``phases``; a Failed that was not asked for ends the wait."""

        def look() -> Json | None:
            status = self.status(name)
            phase = status.get("phase")
            if phase == "Failed" and "Failed" not in phases:
                raise AssertionError(f"{name} failed: {json.dumps(status, indent=1)}")
            return status if phase in phases else None

        try:
            return eventually(look, f"{name} is {' or '.join(phases)}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.diagnosis(name)}") from None

    def diagnosis(self, name: str) -> str:
        """What a person would look at next."""
        looks = (
            ("describe", "neo4jbackup", name),
            ("get", "pods,jobs,statefulsets,pvc", "-o", "wide"),
            ("get", "events", "--sort-by=.metadata.creationTimestamp"),
            ("logs", f"job/{name}-backup", "--tail=50"),
        )
        results = [self.kubectl.run("-n", self.name, *look) for look in looks]
        return "\n".join(result.stdout + result.stderr for result in results)

    # --- object storage ---

    def start_s3(self) -> str:
        """An S3 server in this namespace; its URL. Buckets are made with :meth:`s3`."""
        return self.start_server("s3", S3_PORT)

    def start_server(self, name: str, port: int, *command: str) -> str:
        """A server of the image for object storage, as pod ``<name>-0``; its URL."""
        self.apply(*_server_objects(name, self.images.s3, port, command))
        eventually(lambda: self._ready(name) == 1, f"the server {name} is ready")
        return f"http://{name}-0.{name}.{self.name}.svc.cluster.local:{port}"

    def s3(self, *args: str) -> str:
        return self.run("exec", "s3-0", "--", "s3ctl", *args)

    def s3_object(self, bucket: str, key: str) -> bytes:
        return self.bytes_of("s3-0", "s3ctl", "cat", bucket, key)

    def bytes_of(self, pod: str, *command: str) -> bytes:
        """What a command in a pod prints, which need not be text."""
        kubectl = [self.kubectl.path, f"--kubeconfig={self.kubectl.kubeconfig}", "-n", self.name]
        run = [*kubectl, "exec", pod, "--", *command]
        return subprocess.run(run, capture_output=True, check=True, timeout=120).stdout

    def s3_storage(self, endpoint: str, bucket: str, path: str = "backups") -> Json:
        cloud = {"provider": "aws", "region": "us-east-1"}
        cloud |= {"credentialsSecret": S3_CREDENTIALS, "endpoint": endpoint}
        return {"type": "s3", "bucket": bucket, "path": path, "cloud": cloud}

    def s3_credentials(self) -> None:
        data = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        self.apply(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": S3_CREDENTIALS}, "stringData": data}
        )


@contextmanager
def space(kubectl: Kubectl, images: Images, name: str) -> Iterator[Space]:
    """A namespace that is gone afterwards; deletion is not waited for."""
    kubectl("create", "namespace", name)
    try:
        yield Space(kubectl, images, name)
    finally:
        try:
            kubectl("delete", "namespace", name, "--wait=false")
        except KubectlFailed as error:
            if "NotFound" not in str(error):
                raise


def _server_objects(name: str, image: str, port: int, command: tuple[str, ...]) -> list[Json]:
    labels = {"app": name}
    address = {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    container = {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "env": [address],
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
    }
    if command:
        container["command"] = list(command)
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"clusterIP": "None", "selector": labels, "ports": [{"port": port}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {
                "serviceName": name,
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [container], "terminationGracePeriodSeconds": 1},
                },
            },
        },
    ]
