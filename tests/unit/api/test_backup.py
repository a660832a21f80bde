"""The spec as the reference documents it: fields, defaults, names with two spellings, examples."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from pydantic import ValidationError

from controller.api.backup import BackupSpec, parse_spec
from tests.unit.api.cases import CLOUD, Spec, options, pvc, s3, spec


def parsed(value: Spec) -> BackupSpec:
    return parse_spec(json.dumps(value).encode())


def test_the_defaults_of_the_reference() -> None:
    value = parsed(spec(options={"encryption": {}}, retention={}))
    assert value.suspend is False
    assert value.options.backup_type == "AUTO"
    assert value.options.compress is True
    assert value.options.verifies is False
    assert value.options.additional_args == ()
    assert value.options.encryption is not None
    assert value.options.encryption.enabled is False
    assert value.options.encryption.algorithm == "AES256"
    assert value.retention is not None
    assert value.retention.delete_policy == "Delete"


def test_a_spec_without_options_has_their_defaults() -> None:
    assert parsed(spec()).options == parsed(spec(options={})).options


def test_a_claim_is_read_write_once_by_default() -> None:
    claim = parsed(pvc(size="1Gi")).storage.pvc
    assert claim is not None
    assert claim.access_modes == ("ReadWriteOnce",)


@pytest.mark.parametrize("name", ["verify", "verifyBackup"])
def test_verify_and_verify_backup_mean_the_same(name: str) -> None:
    assert parsed(options(**{name: True})).options.verifies
    assert not parsed(options(**{name: False})).options.verifies


def test_compression_can_be_turned_off() -> None:
    assert parsed(options(compress=False)).options.compress is False


@pytest.mark.parametrize("value", [spec(), s3() | {"cloud": CLOUD}, spec(cloud=CLOUD)])
def test_the_cloud_may_be_given_in_either_place(value: Spec) -> None:
    cloud = parsed(value).effective_cloud
    assert cloud is not None
    assert (cloud.provider, cloud.region) == ("aws", "us-east-1")


def test_two_cloud_blocks_complete_one_another() -> None:
    value = s3(cloud=CLOUD | {"credentialsSecret": "keys"}) | {
        "cloud": CLOUD | {"endpoint": "http://minio:9000"}
    }
    cloud = parsed(value).effective_cloud
    assert cloud is not None
    assert (cloud.credentials_secret, cloud.endpoint) == ("keys", "http://minio:9000")


def test_no_cloud_block_is_none() -> None:
    assert parsed(pvc(size="1Gi")).effective_cloud is None


def test_the_maximum_age_is_exact() -> None:
    retention = parsed(spec(retention={"maxAge": "1h30m"})).retention
    assert retention is not None
    assert retention.max_age_duration == timedelta(minutes=90)


def test_an_age_that_is_not_given_is_none() -> None:
    retention = parsed(spec(retention={"maxCount": 7})).retention
    assert retention is not None
    assert retention.max_age_duration is None


@pytest.mark.parametrize(("schedule", "scheduled"), [("0 2 * * *", True), ("", False), (None, False)])
def test_an_empty_schedule_is_none(schedule: str | None, scheduled: bool) -> None:
    assert parsed(spec(schedule=schedule)).is_scheduled is scheduled


def test_a_field_of_a_later_version_is_ignored() -> None:
    assert parsed(spec(later={"a": 1})) == parsed(spec())


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        parsed(spec()).suspend = True
