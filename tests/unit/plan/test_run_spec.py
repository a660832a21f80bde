"""What the runner is told of encryption, verification and retention."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.property.plan.world import World
from tests.unit.plan.test_status import SPEC, a_world

UUID = "0123abcd-0000-4000-8000-0123456789ab"
ROLE = "arn:aws:iam::123456789012:role/neo4j-backup"
ADDRESS = "backup@my-project.iam.gserviceaccount.com"
ENCRYPTION = {"enabled": True, "keySecret": "keys", "algorithm": "ChaCha20"}


def job_of(world: World) -> dict[str, Any]:
    world.run_to_rest()
    [job] = world.all("jobs")
    found: dict[str, Any] = job["spec"]["template"]["spec"]
    return found


def told(change: dict[str, Any]) -> dict[str, Any]:
    env = job_of(a_world(SPEC | change))["containers"][0]["env"]
    found: dict[str, Any] = json.loads(next(one["value"] for one in env if one["name"] == "BACKUP_RUN"))
    return found


@pytest.mark.parametrize(
    ("retention", "expected"),
    [
        ({"maxAge": "1h30m"}, {"maxAgeSeconds": 5400}),
        ({"maxAge": "30d", "maxCount": 7}, {"maxAgeSeconds": 2_592_000, "maxCount": 7}),
        ({"maxCount": 3, "deletePolicy": "Archive"}, {"maxCount": 3, "archive": True}),
    ],
)
def test_the_policy_reaches_the_runner_exactly(retention: dict[str, Any], expected: dict[str, Any]) -> None:
    assert told({"retention": retention})["retention"] == expected


def test_the_class_of_what_is_archived_reaches_the_runner() -> None:
    retention = {"maxCount": 3, "deletePolicy": "Archive", "archiveStorageClass": "GLACIER_IR"}
    storage = {"type": "s3", "bucket": "b", "cloud": {"provider": "aws", "region": "eu-west-1"}}
    assert told({"retention": retention, "storage": storage})["retention"] == {
        "maxCount": 3,
        "archive": True,
        "archiveStorageClass": "GLACIER_IR",
    }


def test_a_policy_without_limits_is_none() -> None:
    assert "retention" not in told({"retention": {"deletePolicy": "Archive"}})
    assert "retention" not in told({})


def test_encryption_reaches_the_runner_with_its_keys_and_only_when_it_is_on() -> None:
    world = a_world(SPEC | {"options": {"encryption": ENCRYPTION}})
    pod = job_of(world)
    assert told({"options": {"encryption": ENCRYPTION}})["encryption"] == "ChaCha20"
    assert {one["secret"]["secretName"] for one in pod["volumes"] if "secret" in one} == {"keys"}
    off = {"options": {"encryption": ENCRYPTION | {"enabled": False}}}
    assert "encryption" not in told(off)
    assert not [one for one in job_of(a_world(SPEC | off))["volumes"] if "secret" in one]


def test_an_identity_of_the_cloud_is_tied_to_the_service_account() -> None:
    cloud = {"provider": "azure", "region": "eastus", "azureClientId": UUID, "azureTenantId": UUID}
    world = a_world(SPEC | {"storage": {"type": "azure", "bucket": "b", "cloud": cloud}})
    world.run_to_rest()
    [account] = world.all("serviceaccounts")
    annotations = account["metadata"]["annotations"]
    assert annotations["azure.workload.identity/client-id"] == UUID
    assert annotations["azure.workload.identity/tenant-id"] == UUID
    [job] = world.all("jobs")
    assert job["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] == "true"


@pytest.mark.parametrize(
    ("type_", "cloud", "annotation"),
    [
        ("s3", {"provider": "aws", "awsRoleArn": ROLE}, ("eks.amazonaws.com/role-arn", ROLE)),
        (
            "gcs",
            {"provider": "gcp", "gcpServiceAccount": ADDRESS},
            ("iam.gke.io/gcp-service-account", ADDRESS),
        ),
    ],
)
def test_other_clouds_need_the_annotation_alone(
    type_: str, cloud: dict[str, str], annotation: tuple[str, str]
) -> None:
    world = a_world(SPEC | {"storage": {"type": type_, "bucket": "b", "cloud": cloud | {"region": "x"}}})
    world.run_to_rest()
    [account] = world.all("serviceaccounts")
    assert annotation in account["metadata"]["annotations"].items()
    [job] = world.all("jobs")
    assert not [name for name in job["spec"]["template"]["metadata"]["labels"] if name.startswith("azure")]


def test_the_options_of_s3_reach_the_runner() -> None:
    cloud = {"provider": "aws", "region": "x", "forcePathStyle": False, "checksumAlgorithm": "SHA256"}
    storage = told({"storage": {"type": "s3", "bucket": "b", "cloud": cloud}})["storage"]
    assert (storage["pathStyle"], storage["checksum"]) == (False, "SHA256")


def test_the_length_of_chains_reaches_the_runner() -> None:
    assert told({"options": {"maxChainLength": 5}})["maxChainLength"] == 5
    assert "maxChainLength" not in told({}), "the default is the same on both sides"
