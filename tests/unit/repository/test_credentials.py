"""Secrets as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.repository.credentials import read_files, s3_settings
from controller.repository.errors import AccessDenied
from controller.wire.messages import StorageTarget

TARGET = StorageTarget(type="s3", bucket="bucket")


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("aws_access_key_id", "aws_secret_access_key"),
        ("accessKeyId", "secretAccessKey"),
        ("access-key-id", "secret-access-key"),
        ("accesskey", "secretkey"),
    ],
)
def test_the_usual_spellings_work(key: str, secret: str) -> None:
    settings = s3_settings(TARGET, "p", {key: b"id\n", secret: b" value "})
    assert (settings.access_key_id, settings.secret_access_key) == ("id", "value")
    assert (settings.bucket, settings.prefix) == ("bucket", "p")


def test_region_endpoint_token_and_ca_come_along() -> None:
    files = {
        "AWS_ACCESS_KEY_ID": b"id",
        "AWS_SECRET_ACCESS_KEY": b"value",
        "AWS_SESSION_TOKEN": b"token",
        "AWS_REGION": b"eu-west-1",
        "AWS_ENDPOINT_URL_S3": b"https://minio:9000",
        "ca.crt": b"PEM",
    }
    settings = s3_settings(TARGET, "", files)
    assert settings.session_token == "token"
    assert settings.region == "eu-west-1"
    assert settings.endpoint == "https://minio:9000"
    assert settings.ca_certificate == b"PEM"


def test_the_spec_wins_over_the_secret() -> None:
    target = StorageTarget(type="s3", bucket="b", region="us-west-2", endpoint="http://mine")
    files = {"accessKeyId": b"i", "secretAccessKey": b"s", "region": b"other", "endpoint": b"http://other"}
    settings = s3_settings(target, "", files)
    assert (settings.region, settings.endpoint) == ("us-west-2", "http://mine")


def test_without_a_secret_the_pods_identity_is_used() -> None:
    assert s3_settings(TARGET, "", {}).access_key_id == ""


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(AccessDenied):
        s3_settings(TARGET, "", {"AWS_ACCESS_KEY_ID": b"", "AWS_SECRET_ACCESS_KEY": b"x"})


def test_a_mounted_secret_is_read_as_the_kubelet_lays_it_out(tmp_path: Path) -> None:
    data = tmp_path / "..2026_01_01"
    data.mkdir()
    (data / "accessKeyId").write_text("id")
    (tmp_path / "..data").symlink_to(data.name)
    (tmp_path / "accessKeyId").symlink_to("..data/accessKeyId")
    assert read_files(tmp_path) == {"accessKeyId": b"id"}
    assert read_files(tmp_path / "not-mounted") == {}
