"""A repository in a Google Cloud Storage bucket.

Guarantee: that of :class:`~controller.repository.stores.cloud.CloudStore`.

Non-guarantee: of credential files only keys of service accounts are understood; other identities come
from the pod itself (workload identity for GKE), never from a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from obstore.store import GCSStore as Bucket

from controller.repository.stores.cloud import (
    CloudStore,
    Place,
    client_options,
    connected,
    location,
    retry_config,
)

if TYPE_CHECKING:
    from obstore.store import GCSConfig

_NO_BUCKET = frozenset({"NoSuchBucket"})
_DENIED = frozenset({
    "AccessDenied", "AuthenticationRequired", "ExpiredToken", "InvalidSecurity", "SignatureDoesNotMatch",
    "UserProjectAccountProblem", "AccountProblem",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class GCSSettings:
    """Where the bucket is and who asks. Without a key the pod's own identity is used."""

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    service_account_key: str = ""
    """The JSON document."""
    ca_certificate: bytes = b""
    retry_timeout: timedelta = timedelta(seconds=60)

    def __repr__(self) -> str:
        return f"GCSSettings(bucket={self.bucket!r}, prefix={self.prefix!r}, endpoint={self.endpoint!r})"


class GCSStore(CloudStore):
    """Objects in ``bucket`` below ``prefix``."""

    def __init__(self, settings: GCSSettings) -> None:
        place = Place(
            location=location("gs", settings.bucket, settings.prefix),
            bucket=f"bucket {settings.bucket!r}",
            where=settings.endpoint or "Google Cloud Storage",
            no_bucket=_NO_BUCKET,
            denied=_DENIED,
        )
        super().__init__(connected(partial(_connect, settings)), place)


def _connect(settings: GCSSettings) -> Bucket:
    config: GCSConfig = {}
    if settings.service_account_key:
        config["service_account_key"] = settings.service_account_key
    if settings.endpoint:
        config["base_url"] = settings.endpoint.rstrip("/")
    return Bucket(
        settings.bucket,
        prefix=settings.prefix or None,
        config=config,
        client_options=client_options(settings.endpoint, settings.ca_certificate),
        retry_config=retry_config(settings.retry_timeout),
    )
