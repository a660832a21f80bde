"""Where backups go: ``spec.storage`` and the cloud block, which may stand in two places.

Guarantee: that of :mod:`controller.api.backup`, of which this is a part.
Non-guarantee: nothing here knows whether a place exists, or who may write there.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel

from controller.api import syntax
from controller.api.model import Model, Rule, text_rule

StorageType = Literal["s3", "gcs", "azure", "pvc"]
Provider = Literal["aws", "gcp", "azure"]
AccessMode = Literal["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany", "ReadWriteOncePod"]

PROVIDER_OF: dict[str, str] = {"s3": "aws", "gcs": "gcp", "azure": "azure"}
PROVIDER_MATCHES = (
    "({type} == 's3' && {cloud}.provider == 'aws') || ({type} == 'gcs' && {cloud}.provider == 'gcp')"
    " || ({type} == 'azure' && {cloud}.provider == 'azure')"
)
PROVIDER_MESSAGE = (
    "cloud.provider must fit the storage type: aws for s3, gcp for gcs, azure for azure; pvc takes no cloud"
)
_PROVIDER_OF_FIELD = {
    "aws_role_arn": "aws",
    "force_path_style": "aws",
    "checksum_algorithm": "aws",
    "gcp_service_account": "gcp",
    "azure_client_id": "azure",
    "azure_tenant_id": "azure",
}
_UUID = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"


class CloudBlock(Model):
    """How to reach the cloud storage."""

    provider: Provider
    """Cloud provider: aws for s3, gcp for gcs, azure for azure."""
    region: str = Field(min_length=1, max_length=63)
    """Region of the bucket; any value for S3-compatible servers that have none."""
    credentials_secret: str | None = Field(default=None, min_length=1, max_length=253)
    """Secret with the credentials, in the namespace of this backup. Without credentials in it the backup
    pod's own identity is used: awsRoleArn, gcpServiceAccount, azureClientId, or EKS Pod Identity."""
    endpoint: str | None = Field(default=None, min_length=1, max_length=512)
    """Base URL of an S3-compatible server or emulator, e.g. https://minio.storage:9000; path-style
    addressing is used. Without it the provider's own endpoint."""
    force_path_style: bool | None = None
    """For aws: whether the bucket is named in the path of a URL instead of in its host name. Default true
    with an endpoint, else false."""
    checksum_algorithm: Literal["SHA256"] | None = None
    """For aws: have the server check each upload against this checksum. Older S3-compatible servers refuse
    it; the hashes that verifyBackup reads back against are there in any case."""
    aws_role_arn: str | None = Field(default=None, max_length=2048)
    """For aws: IAM role of the backup pod (IRSA), set on its ServiceAccount as eks.amazonaws.com/role-arn."""
    gcp_service_account: str | None = Field(default=None, max_length=255)
    """For gcp: Google service account that the backup pod acts as, set on its ServiceAccount as
    iam.gke.io/gcp-service-account."""
    azure_client_id: str | None = Field(default=None, max_length=36)
    """For azure: client id of the managed identity or application that the backup pod acts as, set on its
    ServiceAccount as azure.workload.identity/client-id."""
    azure_tenant_id: str | None = Field(default=None, max_length=36)
    """For azure: tenant of azureClientId, when it is not the cluster's own."""

    rules: ClassVar[tuple[Rule[CloudBlock], ...]] = (
        Rule(
            "(self.provider == 'aws' || (!has(self.awsRoleArn) && !has(self.forcePathStyle)"
            " && !has(self.checksumAlgorithm))) && (self.provider == 'gcp' || !has(self.gcpServiceAccount))"
            " && (self.provider == 'azure' || (!has(self.azureClientId) && !has(self.azureTenantId)))",
            "awsRoleArn, forcePathStyle and checksumAlgorithm are for provider aws, gcpServiceAccount for "
            "gcp, azureClientId and azureTenantId for azure",
            lambda it: all(
                provider == it.provider or getattr(it, name) is None
                for name, provider in _PROVIDER_OF_FIELD.items()
            ),
        ),
        text_rule(
            "awsRoleArn",
            "aws_role_arn",
            "arn:[a-z0-9-]+:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+",
            "awsRoleArn must be the ARN of a role, such as arn:aws:iam::123456789012:role/neo4j-backup",
        ),
        text_rule(
            "gcpServiceAccount",
            "gcp_service_account",
            "[a-z0-9-]+@[a-z0-9.-]+[.]gserviceaccount[.]com",
            "gcpServiceAccount must be an address such as backup@project.iam.gserviceaccount.com",
        ),
        text_rule(
            "azureClientId", "azure_client_id", _UUID, "azureClientId must be the id of a client, a UUID"
        ),
        text_rule(
            "azureTenantId", "azure_tenant_id", _UUID, "azureTenantId must be the id of a tenant, a UUID"
        ),
        text_rule("region", "region", "[A-Za-z0-9-]+", "region must consist of letters, digits and dashes"),
        text_rule(
            "credentialsSecret",
            "credentials_secret",
            syntax.DNS_SUBDOMAIN,
            "credentialsSecret must be the name of a Secret",
        ),
        text_rule(
            "endpoint",
            "endpoint",
            syntax.ENDPOINT,
            "endpoint must be a URL such as https://minio.storage:9000",
        ),
    )


class PVCSpec(Model):
    """A PersistentVolumeClaim for the backups. The operator never deletes it."""

    name: str | None = Field(default=None, min_length=1, max_length=253)
    """Name of the claim. An existing one is used; otherwise it is created when size is given."""
    size: str | None = Field(default=None, min_length=1, max_length=32)
    """Size of the claim to create, e.g. 100Gi."""
    storage_class: str | None = Field(default=None, max_length=253)
    """Storage class of the claim to create; default is the cluster's default class."""
    access_modes: tuple[AccessMode, ...] = Field(default=("ReadWriteOnce",), min_length=1, max_length=4)
    """Access modes of the claim to create."""

    rules: ClassVar[tuple[Rule[PVCSpec], ...]] = (
        text_rule(
            "name", "name", syntax.DNS_SUBDOMAIN, "pvc.name must be the name of a PersistentVolumeClaim"
        ),
        text_rule("size", "size", syntax.QUANTITY, "pvc.size must be a quantity such as 100Gi"),
        text_rule(
            "storageClass",
            "storage_class",
            f"({syntax.DNS_SUBDOMAIN})?",
            "pvc.storageClass must be the name of a StorageClass",
        ),
        Rule(
            "!has(self.accessModes) || self.accessModes.exists(mode, mode != 'ReadOnlyMany')",
            "pvc.accessModes must hold a mode that can be written to",
            lambda it: any(mode != "ReadOnlyMany" for mode in it.access_modes),
        ),
    )


class StorageLocation(Model):
    """Where the backups go."""

    type: StorageType
    """Kind of storage: s3 (and compatible servers), gcs, azure (Blob Storage) or pvc."""
    bucket: str | None = Field(default=None, max_length=255)
    """Name of the bucket or container; required for s3, gcs and azure. It must exist."""
    path: str | None = Field(default=None, max_length=512)
    """Path within the bucket or volume; the backup's namespace and name are added to it."""
    cloud: CloudBlock | None = None
    """How to reach the cloud storage; the same as spec.cloud."""
    pvc: PVCSpec | None = None
    """The claim, for type pvc."""

    rules: ClassVar[tuple[Rule[StorageLocation], ...]] = (
        Rule(
            "self.type == 'pvc' || (has(self.bucket) && size(self.bucket) > 0)",
            "bucket is required for storage types s3, gcs and azure",
            lambda it: it.type == "pvc" or bool(it.bucket),
        ),
        Rule(
            "self.type != 'pvc' || (has(self.pvc) && (has(self.pvc.name) || has(self.pvc.size)))",
            "storage type pvc needs pvc.name of an existing claim, or pvc.size for a claim to be created",
            lambda it: it.type != "pvc" or (it.pvc is not None and bool(it.pvc.name or it.pvc.size)),
        ),
        Rule(
            "self.type == 'pvc' || !has(self.pvc)",
            "pvc is for storage type pvc only",
            lambda it: it.type == "pvc" or it.pvc is None,
        ),
        Rule(
            "!has(self.cloud) || " + PROVIDER_MATCHES.format(type="self.type", cloud="self.cloud"),
            PROVIDER_MESSAGE,
            lambda it: it.cloud is None or it.cloud.provider == PROVIDER_OF.get(it.type),
        ),
        text_rule(
            "bucket",
            "bucket",
            f"({syntax.BUCKET})?",
            "bucket must be the name of a bucket, without scheme or path",
        ),
        text_rule(
            "path",
            "path",
            syntax.PATH,
            "path must be segments of letters, digits and ._=+@,!~- separated by single slashes, "
            "without . or .. segments",
        ),
    )


_SHARED_CLOUD_FIELDS = (
    ("credentialsSecret", "credentials_secret"),
    ("endpoint", "endpoint"),
    *((to_camel(name), name) for name in _PROVIDER_OF_FIELD),
)
CLOUDS_AGREE = (
    "!has(self.cloud) || !has(self.storage.cloud) || (self.cloud.provider == self.storage.cloud.provider"
    " && self.cloud.region == self.storage.cloud.region"
    + "".join(
        f" && (!has(self.cloud.{name}) || !has(self.storage.cloud.{name})"
        f" || self.cloud.{name} == self.storage.cloud.{name})"
        for name, _ in _SHARED_CLOUD_FIELDS
    )
    + ")"
)


def clouds_agree(one: CloudBlock | None, other: CloudBlock | None) -> bool:
    """What :data:`CLOUDS_AGREE` says in CEL."""
    if one is None or other is None:
        return True
    pairs = [(getattr(one, name), getattr(other, name)) for _, name in _SHARED_CLOUD_FIELDS]
    return (one.provider, one.region) == (other.provider, other.region) and all(
        a is None or b is None or a == b for a, b in pairs
    )
