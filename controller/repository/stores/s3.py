"""A repository in an S3 bucket, or in anything that speaks S3.

Guarantee: that of :class:`~controller.repository.stores.cloud.CloudStore`.

Non-guarantee: servers that ignore ``If-None-Match`` do not keep two ``put_if_absent`` of one key apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from obstore.store import S3Store as Bucket

from controller.repository.store import check_key
from controller.repository.stores.cloud import (
    CloudStore,
    Place,
    client_options,
    connected,
    location,
    retry_config,
)
from controller.repository.stores.s3_uploads import Keys, Uploads

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
    path_style: bool | None = None
    """Whether the bucket is in the path of a URL; None: with an endpoint of one's own, yes."""
    checksum: str = ""
    """``SHA256``: the server checks every part against it."""
    storage_class: str = ""
    """Of all objects that are written; empty: the bucket's default."""
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
        super().__init__(connected(partial(_connect, settings)), place, settings.storage_class)
        self._prefix = settings.prefix
        self._uploads = _uploads(settings)

    def abandon(self, key: str) -> None:
        if self._uploads:
            self._uploads.abort("/".join(part for part in (self._prefix, check_key(key)) if part))


def _uploads(settings: S3Settings) -> Uploads | None:
    if not settings.access_key_id:
        return None
    region = settings.region or "us-east-1"
    keys = Keys(settings.access_key_id, settings.secret_access_key, settings.session_token, region)
    in_path = f"/{settings.bucket}" if _path_style(settings) else ""
    if settings.endpoint:
        url = _endpoint(settings)
    else:
        url = f"https://{'' if in_path else f'{settings.bucket}.'}s3.{region}.amazonaws.com"
    return Uploads(url + in_path, keys, settings.ca_certificate)


def _path_style(settings: S3Settings) -> bool:
    return bool(settings.endpoint) if settings.path_style is None else settings.path_style


def _endpoint(settings: S3Settings) -> str:
    """Without the path style obstore takes the URL as it is, so the bucket's name is put before the host."""
    url = settings.endpoint.rstrip("/")
    return url if _path_style(settings) else url.replace("://", f"://{settings.bucket}.", 1)


def _connect(settings: S3Settings) -> Bucket:
    config: S3Config = {"region": settings.region or "us-east-1"}
    config["virtual_hosted_style_request"] = not _path_style(settings)
    # TLS authenticates every byte already; hashing the body once more for its signature would be a
    # third of all the CPU that an upload takes. Without TLS nothing else would notice a changed bit.
    config["unsigned_payload"] = not settings.endpoint.startswith("http://")
    if settings.checksum:
        config["checksum_algorithm"] = settings.checksum
    if settings.endpoint:
        config["endpoint"] = _endpoint(settings)
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
