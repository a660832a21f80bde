"""Every kind of storage, running, with a way to take a backup's repository out of it again."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.repository.stores.azure import AzureSettings, AzureStore
from hack.images.gcs_server import PORT as GCS_PORT
from tests.e2e.space import Space
from tests.e2e.world import Json, eventually
from tests.support import azurite

BUCKET = "graphs"
CLAIM = "backups"
READER = "reader"
Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Place:
    """``storage`` for a spec; ``fetch(backup)`` gives the repository of that backup, by key."""

    storage: Json
    fetch: Callable[[str], Files]


def secret(room: Space, name: str, data: dict[str, str]) -> str:
    room.apply({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data})
    return name


def claim(room: Space) -> Place:
    """A volume, read through a pod that mounts it."""
    room.apply(_claim(), _reader(room.images.s3))

    def fetch(backup: str) -> Files:
        # Not before a backup used the claim: some classes bind it where its first pod runs.
        eventually(lambda: room.get("pod", READER)["status"].get("phase") == "Running", "the reader runs")
        at = f"/backup/{room.name}/{backup}"
        return _unpacked(room.bytes_of(READER, "tar", "-C", at, "-cf", "-", "."))

    return Place({"type": "pvc", "pvc": {"name": CLAIM}}, fetch)


def s3(room: Space, keys: dict[str, str]) -> Place:
    endpoint = room.start_s3()
    room.s3("create-bucket", BUCKET)
    cloud = {"provider": "aws", "region": "us-east-1", "endpoint": endpoint}
    cloud["credentialsSecret"] = secret(room, "s3", keys)
    return _in_pod(room, {"type": "s3", "bucket": BUCKET, "cloud": cloud}, "s3-0", "s3ctl")


def gcs(room: Space, key: dict[str, object]) -> Place:
    endpoint = room.start_server("gcs", GCS_PORT, "gcs_server.py", "serve", str(GCS_PORT))
    room.run("exec", "gcs-0", "--", "gcs_server.py", "create-bucket", BUCKET)
    cloud = {"provider": "gcp", "region": "us-central1", "endpoint": endpoint}
    cloud["credentialsSecret"] = secret(room, "gcs", {"key.json": json.dumps(key)})
    return _in_pod(room, {"type": "gcs", "bucket": BUCKET, "cloud": cloud}, "gcs-0", "gcs_server.py")


def azure(room: Space, server: azurite.Azurite, keys: dict[str, str]) -> Place:
    """In a process beside the tests, where the pods of the embedded control plane reach it."""
    container = server.make_container()
    cloud = {"provider": "azure", "region": "westeurope", "endpoint": server.endpoint}
    cloud["credentialsSecret"] = secret(room, "azure", keys | {"AZURE_STORAGE_ACCOUNT": azurite.ACCOUNT})

    def fetch(backup: str) -> Files:
        settings = AzureSettings(
            container=container,
            account=azurite.ACCOUNT,
            prefix=f"{room.name}/{backup}",
            endpoint=server.endpoint,
            account_key=azurite.KEY,
        )
        store = AzureStore(settings)
        return {info.key: b"".join(store.get(info.key)) for info in store.list("")}

    return Place({"type": "azure", "bucket": container, "cloud": cloud}, fetch)


def write(files: Files, directory: Path) -> Path:
    """The repository as files, as a person would copy it out of a bucket."""
    for key, data in files.items():
        path = directory / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


def _in_pod(room: Space, storage: Json, pod: str, program: str) -> Place:
    def fetch(backup: str) -> Files:
        return _unpacked(room.bytes_of(pod, program, "tar", BUCKET, f"{room.name}/{backup}"))

    return Place(storage, fetch)


def _unpacked(archive: bytes) -> Files:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [(member.name.removeprefix("./"), tar.extractfile(member)) for member in tar]
        return {name: file.read() for name, file in files if file}


def _claim() -> Json:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }


def _reader(image: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": READER},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsUser": 7474, "runAsGroup": 7474, "fsGroup": 7474},
            "containers": [
                {
                    "name": "reader",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "3600"],
                    "volumeMounts": [{"name": "repository", "mountPath": "/backup", "readOnly": True}],
                }
            ],
            "volumes": [{"name": "repository", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    }
