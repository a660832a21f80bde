"""A repository in an S3 bucket, or in anything that speaks S3.

Guarantee: that of :class:`~controller.repository.stores.cloud.CloudStore`.

Non-guarantee: servers that ignore ``If-None-Match`` do not keep two ``put_if_absent`` of one key apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import S3Store as Bucket

from controller.repository.stores.cloud import (
    CloudStore,
    Place,
    client_options,
    location,
    retry_config,
)

if TYPE_CHECKING:
    from obstore.store import S3Config

__all__ = ["S3Settings", "S3Store"]

_NO_BUCKET = frozenset({"NoSuchBucket"})
_DENIED = frozenset({
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "AllAccessDisabled", "AccountProblem", "InvalidClientTokenId", "TokenRefreshRequired",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where the bucket is and who asks. Without keys the pod's own identity is used."""

    bucket: str
    prefix: str = ""
    region: str = ""
    endpoint: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""
    session_token: str = ""
    ca_certificate: bytes = b""
    retry_timeout: timedelta = timedelta(seconds=60)

    def __repr__(self) -> str:
        return f"S3Settings(bucket={self.bucket!r}, prefix={self.prefix!r}, endpoint={self.endpoint!r})"


class S3Store(CloudStore):
    """Objects in ``bucket`` below ``prefix``."""

    def __init__(self, settings: S3Settings) -> None:
        place = Place(
            location=location("s3", settings.bucket, settings.prefix),
            bucket=f"bucket {settings.bucket!r}",
            where=settings.endpoint or f"AWS region {settings.region or 'us-east-1'}",
            no_bucket=_NO_BUCKET,
            denied=_DENIED,
        )
        super().__init__(_connect(settings), place)


def _connect(settings: S3Settings) -> Bucket:
    config: S3Config = {"region": settings.region or "us-east-1"}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint.rstrip("/")
        config["virtual_hosted_style_request"] = False
    if settings.access_key_id:
        config["access_key_id"] = settings.access_key_id
        config["secret_access_key"] = settings.secret_access_key
    if settings.session_token:
        config["session_token"] = settings.session_token
    return Bucket(
        settings.bucket,
        prefix=settings.prefix or None,
        config=config,
        client_options=client_options(settings.endpoint, settings.ca_certificate),
        retry_config=retry_config(settings.retry_timeout),
    )
