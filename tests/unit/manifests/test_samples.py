"""Every sample is what the API takes, and every example of the reference is among them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.api import backup, targets
from controller.api.model import JsonObject
from controller.api.schema import schema_of
from tests.unit.manifests.documents import ROOT, documents

SAMPLES = sorted((ROOT / "samples").glob("*.yaml"))
BACKUPS = {
    item["metadata"]["name"]: item
    for path in SAMPLES
    for item in documents(path)
    if item["kind"] == backup.KIND
}
SCHEMA = schema_of(backup.BackupSpec, cel=True)


def unknown_fields(schema: JsonObject, value: object, path: str = "spec") -> list[str]:
    if isinstance(value, list):
        return [found for item in value for found in unknown_fields(schema["items"], item, path)]
    if not isinstance(value, dict):
        return []
    known = schema["properties"]
    found = [f"{path}.{name}" for name in value if name not in known]
    for name in value.keys() & known.keys():
        found += unknown_fields(known[name], value[name], f"{path}.{name}")
    return found


@pytest.mark.parametrize("name", BACKUPS)
def test_a_sample_is_valid(name: str) -> None:
    sample = BACKUPS[name]
    assert sample["apiVersion"] == backup.API_VERSION
    assert unknown_fields(SCHEMA, sample["spec"]) == []
    backup.parse_spec(json.dumps(sample["spec"]).encode())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_says_what_it_is_for_and_has_the_name_of_its_file(path: Path) -> None:
    assert path.read_text().startswith("# ")
    for item in documents(path):
        assert item["metadata"]["name"] in (path.stem, "backup-s3-credentials", "backup-encryption-key")


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("target-cluster", "target", {"kind": "Cluster", "name": "production-cluster"}),
        ("target-database", "target", {"kind": "Database", "name": "user-data"}),
        (
            "storage-s3",
            "storage",
            {
                "type": "s3",
                "bucket": "my-backup-bucket",
                "path": "neo4j-backups/production",
                "cloud": {"provider": "aws", "region": "us-east-1"},
            },
        ),
        (
            "storage-gcs",
            "storage",
            {
                "type": "gcs",
                "bucket": "my-gcs-bucket",
                "path": "backups/neo4j",
                "cloud": {"provider": "gcp", "region": "us-central1"},
            },
        ),
        (
            "storage-azure",
            "storage",
            {
                "type": "azure",
                "bucket": "backup-container",
                "path": "neo4j/production",
                "cloud": {"provider": "azure", "region": "eastus"},
            },
        ),
        (
            "storage-pvc",
            "storage",
            {"type": "pvc", "pvc": {"name": "backup-storage", "size": "100Gi", "storageClass": "fast-ssd"}},
        ),
        ("retention-count", "retention", {"maxCount": 7, "deletePolicy": "Delete"}),
        ("retention-age", "retention", {"maxAge": "30d", "deletePolicy": "Delete"}),
        ("retention-archive", "retention", {"maxAge": "90d", "maxCount": 12, "deletePolicy": "Archive"}),
        (
            "options-encryption",
            "options",
            {
                "compress": True,
                "verify": True,
                "encryption": {"enabled": True, "keySecret": "backup-encryption-key", "algorithm": "AES256"},
                "additionalArgs": ["--parallel-recovery", "--verbose"],
            },
        ),
        ("production-backup", "schedule", "0 2 * * *"),
    ],
)
def test_the_examples_of_the_reference_are_here_word_for_word(name: str, field: str, value: object) -> None:
    assert BACKUPS[name]["spec"][field] == value


def test_the_secrets_that_samples_name_are_shown_too() -> None:
    secrets = {
        item["metadata"]["name"] for path in SAMPLES for item in documents(path) if item["kind"] == "Secret"
    }
    for sample in BACKUPS.values():
        cloud = sample["spec"]["storage"].get("cloud", {})
        key = sample["spec"].get("options", {}).get("encryption", {}).get("keySecret")
        assert {cloud.get("credentialsSecret"), key} - {None} <= secrets


def test_the_targets_that_samples_name_are_shown_too() -> None:
    shown = {
        (item["kind"], item["metadata"]["name"])
        for path in (ROOT / "samples" / "targets").glob("*.yaml")
        for item in documents(path)
    }
    for sample in BACKUPS.values():
        target = sample["spec"]["target"]
        kind = targets.CLUSTER.kind if target["kind"] == "Cluster" else targets.DATABASE.kind
        assert (kind, target["name"]) in shown
