"""What S3, GCS and Azure have in common through obstore, their differences evened out.

Guarantee: that of :class:`~controller.repository.store.Store`. Large objects go up in parts, at most
about 64 MiB of which are in memory up to 280 GiB; a failing source aborts the upload. Deleting what is
not there succeeds on all of them, a range behind the end is empty on all of them, and every refusal has
the same name whoever it came from.

Non-guarantee: beyond that a part is the size over 9,000, and two of them are in memory, because nobody takes
more than 10,000. A killed process leaves an unfinished upload on the server, invisible but paid for, until
``abandon`` (S3), the provider (Azure: a week) or the bucket's lifecycle rule removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import obstore
from cryptography import x509
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)

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
from controller.repository.stores import words
from controller.repository.stores.ahead import ahead
from controller.repository.stores.guarded import Guarded

if TYPE_CHECKING:
    from obstore import Attributes
    from obstore.store import AzureStore, ClientConfig, GCSStore, RetryConfig, S3Store

    Bucket = AzureStore | GCSStore | S3Store

_MIB = 1024 * 1024
_READ = 8 * _MIB
_MAX_PARTS = 9_000
"""Below the 10,000 of S3 and GCS, because the size is an estimate."""
_IN_FLIGHT = 32 * _MIB
"""Beside the part that fills: several artifacts may be on their way at once."""
_CONNECTIONS = 4

_FULL = {"QuotaExceeded", "XMinioStorageFull", "EntityTooLarge", "InsufficientStorage"}
_METADATA_SERVICES = ("169.254.169.254", "169.254.170.2", "metadata.google.internal")


@dataclass(frozen=True, slots=True)
class Place:
    """Where it is, in words, and what this provider calls things."""

    location: str
    """``s3://bucket/path``."""
    bucket: str
    """With what the provider calls it: ``bucket 'x'``, ``container 'x'``."""
    where: str
    """The server or region."""
    no_bucket: frozenset[str]
    denied: frozenset[str]


class CloudStore:
    """Objects in an obstore bucket. Use one of the providers' own classes."""

    def __init__(self, bucket: Bucket, place: Place, storage_class: str = "") -> None:
        self._bucket = bucket
        self._place = place
        self._attributes: Attributes | None = {"Storage-Class": storage_class} if storage_class else None

    @property
    def location(self) -> str:
        return self._place.location

    def put(self, key: str, chunks: Iterable[bytes], *, size_hint: int = 0) -> None:
        part = part_size(size_hint)
        guarded = Guarded(chunks)
        with self._translated(key, guarded):
            obstore.put(
                self._bucket,
                check_key(key),
                guarded,
                attributes=self._attributes,
                chunk_size=part,
                max_concurrency=max(1, min(_CONNECTIONS, _IN_FLIGHT // part)),
            )

    def put_if_absent(self, key: str, data: bytes) -> None:
        with self._translated(key):
            obstore.put(self._bucket, check_key(key), data, mode="create")

    def get(self, key: str) -> Iterator[bytes]:
        return ahead(self._ranges(key))

    def _ranges(self, key: str) -> Iterator[bytes]:
        # Ranges instead of one response: the client's time limit is for a whole request, body included.
        size = self.head(key).size
        for start in range(0, size, _READ):
            yield self.get_range(key, start, min(_READ, size - start))

    def get_range(self, key: str, start: int, length: int) -> bytes:
        with self._translated(key):
            try:
                return bytes(obstore.get_range(self._bucket, check_key(key), start=start, length=length))
            except BaseError as error:
                # Some servers refuse such a range, others answer it in a way that obstore refuses.
                if words.status_of(error) == "416" or "StartTooLarge" in str(error):
                    return b""
                raise

    def head(self, key: str) -> ObjectInfo:
        try:
            with self._translated(key):
                found = obstore.head(self._bucket, check_key(key))
        except NotFound:
            # The answer to HEAD has no body, so no code: a missing bucket looks like a missing object.
            self.get_range(key, 0, 1)
            raise
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
                if words.code_of(error) in self._place.no_bucket:
                    raise

    def abandon(self, key: str) -> None:
        """Azure drops what was not committed by itself; what S3 adds to that is its own business."""
        check_key(key)

    @contextmanager
    def _translated(self, key: str, source: Guarded | None = None) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            if source and source.error:
                raise source.error from None
            if isinstance(error, BaseError | OSError | ValueError):
                raise self._meaning(key, error) from error
            # A panic of the library is no Exception: let through, it would end the run without a word.
            if type(error).__name__ == "PanicException":
                raise StoreError(f"{self._place.location}/{key}: the library failed: {error}") from None
            raise

    def _meaning(self, key: str, error: Exception) -> StoreError:
        place, code, status = self._place, words.code_of(error), words.status_of(error)
        at, said = f"{place.location}/{key}", words.said(error)
        if code in place.no_bucket:
            return NoSuchBucket(f"{place.bucket} does not exist at {place.where}")
        if code in _FULL or status == "507":
            return NoSpaceLeft(f"{place.location}: {said}")
        if isinstance(error, AlreadyExistsError):
            return AlreadyExists(f"{at} is there already")
        if isinstance(error, FileNotFoundError):
            return NotFound(f"there is no {at}")
        if code in place.denied or _is_denied(error, status):
            return AccessDenied(f"{at}: {said}; check the credentials and what they may do there")
        return Unavailable(f"{at} at {place.where}: {said}")


B = TypeVar("B")


def connected(connect: Callable[[], B]) -> B:
    """What ``connect`` makes; settings that the library does not take are the credentials' fault."""
    try:
        return connect()
    except (BaseError, ValueError) as error:
        raise AccessDenied(f"the storage's credentials cannot be used: {words.first_line(error)}") from None


def part_size(size_hint: int) -> int:
    """Bytes of one part, so that an object of about ``size_hint`` bytes fits every provider's count of parts.

    Without an estimate the part is 16 MiB: room for 140 GiB.
    """
    if size_hint <= 0:
        return 16 * _MIB
    needed = -(-size_hint // _MAX_PARTS)
    return max(8 * _MIB, -(-needed // _MIB) * _MIB)


def retry_config(timeout: timedelta) -> RetryConfig:
    """obstore's own default would try for three minutes, also what can never work."""
    return {"max_retries": 5, "retry_timeout": timeout}


def client_options(endpoint: str, ca_certificate: bytes = b"") -> ClientConfig:
    """Time limits for everything; plain HTTP only where the user wrote ``http://``."""
    options: ClientConfig = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=10),
        "read_timeout": timedelta(seconds=60),
        "timeout": timedelta(minutes=10),
    }
    if ca_certificate:
        _check_pem(ca_certificate)
        options["root_certificate"] = ca_certificate
    return options


def _check_pem(ca_certificate: bytes) -> None:
    try:
        x509.load_pem_x509_certificates(ca_certificate)
    except ValueError:
        raise AccessDenied("ca.crt of the credentials Secret is no certificate in PEM format") from None


def location(scheme: str, *parts: str) -> str:
    """``scheme://a/b`` of whatever is not empty."""
    return f"{scheme}://{'/'.join(part for part in parts if part)}"


def _is_denied(error: Exception, status: str) -> bool:
    refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
    # Asking the machine's metadata service means that neither the Secret nor the pod had credentials.
    asked = any(service in str(error) for service in _METADATA_SERVICES)
    return refused or asked or status in {"401", "403"}
