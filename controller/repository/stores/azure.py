"""A repository in a container of Azure Blob Storage.

Guarantee: that of :class:`~controller.repository.stores.cloud.CloudStore`.

Non-guarantee: accounts with hierarchical namespaces were not tried.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from obstore.store import AzureStore as Bucket

from controller.repository.stores.cloud import (
    CloudStore,
    Place,
    client_options,
    connected,
    location,
    retry_config,
)

if TYPE_CHECKING:
    from obstore.store import AzureConfig

_NO_BUCKET = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"})
_DENIED = frozenset({
    "AuthenticationFailed", "AuthorizationFailure", "AuthorizationPermissionMismatch", "AccountIsDisabled",
    "InvalidAuthenticationInfo", "InsufficientAccountPermissions", "NoAuthenticationInformation",
    "PublicAccessNotPermitted", "AuthorizationResourceTypeMismatch", "AuthorizationServiceMismatch",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """Which container of which account, and who asks.

    With neither key nor SAS nor client secret the pod's own identity is used, which the environment
    describes (workload identity) or the node has (managed identity).
    """

    container: str
    account: str
    prefix: str = ""
    endpoint: str = ""
    """Of the account, e.g. ``https://<account>.blob.core.usgovcloudapi.net``; empty for the public cloud."""
    account_key: str = ""
    sas_token: str = ""
    tenant_id: str = ""
    client_id: str = ""
    client_secret: str = ""
    ca_certificate: bytes = b""
    retry_timeout: timedelta = timedelta(seconds=60)

    def __repr__(self) -> str:
        return (
            f"AzureSettings(container={self.container!r}, account={self.account!r}, prefix={self.prefix!r})"
        )


class AzureStore(CloudStore):
    """Objects in ``container`` below ``prefix``."""

    def __init__(self, settings: AzureSettings) -> None:
        place = Place(
            location=location("azure", settings.account, settings.container, settings.prefix),
            bucket=f"container {settings.container!r}",
            where=settings.endpoint or f"storage account {settings.account}",
            no_bucket=_NO_BUCKET,
            denied=_DENIED,
        )
        super().__init__(connected(partial(_connect, settings)), place)


def _connect(settings: AzureSettings) -> Bucket:
    return Bucket(
        settings.container,
        prefix=settings.prefix or None,
        config=_config(settings),
        client_options=client_options(settings.endpoint, settings.ca_certificate),
        retry_config=retry_config(settings.retry_timeout),
    )


def _config(settings: AzureSettings) -> AzureConfig:
    # Tags would need a right of their own that nothing here uses.
    config: AzureConfig = {"account_name": settings.account, "disable_tagging": True}
    if settings.endpoint:
        config["endpoint"] = settings.endpoint.rstrip("/")
    if settings.account_key:
        config["account_key"] = settings.account_key
    if settings.sas_token:
        config["sas_key"] = settings.sas_token.removeprefix("?")
    if settings.tenant_id:
        config["tenant_id"] = settings.tenant_id
    if settings.client_id:
        config["client_id"] = settings.client_id
    if settings.client_secret:
        config["client_secret"] = settings.client_secret
    return config
