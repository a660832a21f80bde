"""A repository in an S3 bucket, or in anything that speaks S3.

Guarantee: that of :class:`~controller.repository.store.Store`. Large objects go up in parts, at most
about 50 MiB of which are in memory; a failing source aborts the multipart upload.

Non-guarantee: a killed process leaves an unfinished multipart upload on the server, invisible but paid
for, until the bucket's lifecycle rule removes it. Servers that ignore ``If-None-Match`` do not keep two
``put_if_absent`` of one key apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store as Bucket

from controller.repository.errors import (
    AccessDenied,
    AlreadyExists,
    NoSpaceLeft,
    NoSuchBucket,
    NotFound,
    StoreError,
    Unavailable,
)
from controller.repository.store import ObjectInfo, check_key
from controller.repository.stores.guarded import Guarded

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Config

_MIB = 1024 * 1024
_READ = 8 * _MIB
_MAX_PARTS = 9_000
"""Below S3's 10,000, because the size is an estimate."""
_IN_FLIGHT = 32 * _MIB

_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_NO_BUCKET = {"NoSuchBucket"}
_DENIED = {
    "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken",
    "AllAccessDisabled", "AccountProblem", "InvalidClientTokenId", "TokenRefreshRequired",
}  # fmt: skip
_FULL = {"QuotaExceeded", "XMinioStorageFull", "EntityTooLarge", "InsufficientStorage"}


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


class S3Store:
    """Objects in ``bucket`` below ``prefix``."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._bucket = _connect(settings)

    @property
    def location(self) -> str:
        return f"s3://{'/'.join(part for part in (self._settings.bucket, self._settings.prefix) if part)}"

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        part = part_size(size_hint)
        guarded = Guarded(chunks)
        with self._translated(key, guarded):
            obstore.put(
                self._bucket,
                check_key(key),
                guarded,
                chunk_size=part,
                max_concurrency=max(2, min(8, _IN_FLIGHT // part)),
            )

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._translated(key):
            obstore.put(self._bucket, check_key(key), data, mode="create")

    def get(self, key: str) -> Iterator[bytes]:
        # Ranges instead of one response: the client's time limit is for a whole request, body included.
        size = self.head(key).size
        for start in range(0, size, _READ):
            yield self.get_range(key, start, min(_READ, size - start))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._translated(key):
            try:
                return bytes(obstore.get_range(self._bucket, check_key(key), start=start, length=length))
            except BaseError as error:
                if _status(error) == "416":
                    return b""
                raise

    def head(self, key: str) -> ObjectInfo:
        with self._translated(key):
            found = obstore.head(self._bucket, check_key(key))
            return ObjectInfo(key, found["size"], found["last_modified"])

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        with self._translated(prefix):
            for batch in obstore.list(self._bucket, check_key(prefix) if prefix else None):
                for found in batch:
                    yield ObjectInfo(found["path"], found["size"], found["last_modified"])

    def delete(self, key: str) -> None:
        with self._translated(key):
            try:
                obstore.delete(self._bucket, check_key(key))
            except FileNotFoundError as error:
                if _code(error) in _NO_BUCKET:
                    raise

    @contextmanager
    def _translated(self, key: str, source: Guarded | None = None) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            if source and source.error:
                raise source.error from None
            raise self._meaning(key, error) from error

    def _meaning(self, key: str, error: Exception) -> StoreError:
        code, status, at = _code(error), _status(error), f"{self.location}/{key}"
        said = code or (f"HTTP {status}" if status else _first_line(error))
        if code in _NO_BUCKET:
            return NoSuchBucket(f"bucket {self._settings.bucket!r} does not exist at {self._where}")
        if code in _FULL or status == "507":
            return NoSpaceLeft(f"{self.location}: {said}")
        if isinstance(error, AlreadyExistsError):
            return AlreadyExists(f"{at} is there already")
        if isinstance(error, FileNotFoundError):
            return NotFound(f"there is no {at}")
        if _is_denied(error, code, status):
            return AccessDenied(f"{at}: {said}; check the credentials and what they may do in the bucket")
        return Unavailable(f"{at} at {self._where}: {said}")

    @property
    def _where(self) -> str:
        return self._settings.endpoint or f"AWS region {self._settings.region or 'us-east-1'}"


def part_size(size_hint: int) -> int:
    """Bytes of one part, so that an object of about ``size_hint`` bytes fits S3's count of parts.

    Without an estimate the part is 16 MiB: room for 140 GiB.
    """
    if size_hint <= 0:
        return 16 * _MIB
    needed = -(-size_hint // _MAX_PARTS)
    return max(8 * _MIB, -(-needed // _MIB) * _MIB)


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
    retry: RetryConfig = {"max_retries": 5, "retry_timeout": settings.retry_timeout}
    return Bucket(
        settings.bucket,
        prefix=settings.prefix or None,
        config=config,
        client_options=_client_options(settings),
        retry_config=retry,
    )


def _client_options(settings: S3Settings) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=60),
        "timeout": timedelta(minutes=10),
    }
    if settings.ca_certificate:
        options["root_certificate"] = settings.ca_certificate
    return options


def _is_denied(error: Exception, code: str, status: str) -> bool:
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    # Asking the machine's metadata service means that neither the Secret nor the pod had credentials.
    return refused or code in _DENIED or status in {"401", "403"} or "169.254.169.254" in str(error)


def _code(error: Exception) -> str:
    match = _CODE.search(str(error))
    return match.group(1) if match else ""


def _status(error: Exception) -> str:
    match = _STATUS.search(str(error))
    return match.group(1) if match else ""


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
