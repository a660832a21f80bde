"""The spec of the Neo4jBackup custom resource, v1alpha1: every field, default and enum of the reference.

Guarantee: a spec that parses is coherent (the rules between fields hold) and safe to put into names,
paths and argument lists. What the API server checks by CEL is checked here with the same message, for
servers before 1.25 and for objects that were stored before a rule existed.

Non-guarantee: nothing here looks at the cluster. Whether the target, the Secret or the bucket exist
is found out by the planner; whether an argument exists in this version of Neo4j, by ``neo4j``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, ValidationError

from controller.api import syntax
from controller.api.model import InvalidObject, Model, Rule, problems_of, text_rule
from controller.api.storage import (
    CLOUDS_AGREE,
    PROVIDER_MATCHES,
    PROVIDER_MESSAGE,
    PROVIDER_OF,
    CloudBlock,
    StorageLocation,
    clouds_agree,
)

GROUP = "neo4j.neo4j.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "Neo4jBackup"
PLURAL = "neo4jbackups"
SINGULAR = "neo4jbackup"
SHORT_NAMES = ("n4jb",)
CATEGORIES = ("neo4j", "all")

ALLOW_FROM_ANNOTATION = "backup.neo4j.com/allow-from"
"""On a target: the namespaces whose Neo4jBackups may back it up, separated by commas."""
FINALIZER = "backup.neo4j.com/cleanup"

MAX_CHAIN_LENGTH = 14
"""A restore reads the whole chain; two weeks of daily backups are still quick to restore."""


class BackupTarget(Model):
    """What to back up: a whole deployment with all its databases, or one database."""

    kind: Literal["Cluster", "Database"]
    """Cluster: all databases of a deployment, system included. Database: one database."""
    name: str = Field(min_length=1, max_length=253)
    """Name of the cluster or standalone deployment, of the Neo4jDatabase, or of a database of clusterRef."""
    namespace: str | None = Field(default=None, max_length=63)
    """Namespace of the target; default is the namespace of this backup. Another namespace must allow it
    with the annotation backup.neo4j.com/allow-from on the target."""
    cluster_ref: str | None = Field(default=None, min_length=1, max_length=253)
    """For kind Database: the deployment that hosts it. Needed when name is no Neo4jDatabase resource and
    several deployments live in the namespace."""

    rules: ClassVar[tuple[Rule[BackupTarget], ...]] = (
        Rule(
            f"self.name.matches('{syntax.whole(syntax.DATABASE_NAME)}') && (self.kind != 'Cluster' || "
            f"self.name.matches('{syntax.whole(syntax.DNS_SUBDOMAIN)}'))",
            "name must be the name of a Kubernetes resource (kind Cluster) or of a database (kind Database)",
            lambda it: syntax.matches(
                syntax.DNS_SUBDOMAIN if it.kind == "Cluster" else syntax.DATABASE_NAME, it.name
            ),
        ),
        # CEL reserves the word namespace; Kubernetes spells such fields with underscores.
        text_rule(
            "__namespace__", "namespace", syntax.DNS_LABEL, "namespace must be the name of a namespace"
        ),
        text_rule(
            "clusterRef", "cluster_ref", syntax.DNS_SUBDOMAIN, "clusterRef must be the name of a deployment"
        ),
        Rule(
            "!has(self.clusterRef) || self.kind == 'Database'",
            "clusterRef is for kind Database only; kind Cluster names the deployment in name",
            lambda it: it.cluster_ref is None or it.kind == "Database",
        ),
    )


class RetentionPolicy(Model):
    """Which backups are kept. The newest good one is always kept, and whatever a kept one needs."""

    max_age: str | None = Field(default=None, min_length=1, max_length=35)
    """How long backups are kept, e.g. 30d, 720h or 1h30m (units w, d, h, m, s)."""
    max_count: int | None = Field(default=None, ge=1, le=2147483647, json_schema_extra={"format": "int32"})
    """How many backups are kept."""
    delete_policy: Literal["Delete", "Archive"] = "Delete"
    """What happens to the others: Delete removes them, Archive moves them to archive/ in the repository."""
    archive_storage_class: str | None = Field(default=None, min_length=1, max_length=64)
    """For Archive in storage type s3: storage class of the archived artifacts, e.g. GLACIER_IR or
    DEEP_ARCHIVE. Without it the bucket's own default."""

    rules: ClassVar[tuple[Rule[RetentionPolicy], ...]] = (
        Rule(
            f"!has(self.maxAge) || (self.maxAge.matches('{syntax.whole(syntax.DURATION)}')"
            " && self.maxAge.matches('[1-9]'))",
            "maxAge must be a duration such as 30d, 720h or 1h30m",
            lambda it: it.max_age is None or _is_duration(it.max_age),
        ),
        Rule(
            "!has(self.archiveStorageClass) || (has(self.deletePolicy) && self.deletePolicy == 'Archive')",
            "archiveStorageClass is for deletePolicy Archive only",
            lambda it: it.archive_storage_class is None or it.delete_policy == "Archive",
        ),
        text_rule(
            "archiveStorageClass",
            "archive_storage_class",
            "[A-Z][A-Z0-9_]*",
            "archiveStorageClass must be the name of a storage class such as GLACIER_IR",
        ),
    )

    @property
    def max_age_duration(self) -> timedelta | None:
        """``maxAge`` exactly as written."""
        return None if self.max_age is None else syntax.parse_duration(self.max_age)


class EncryptionSpec(Model):
    """Encryption of the stored artifacts."""

    enabled: bool = False
    """Encrypt what leaves the cluster."""
    key_secret: str | None = Field(default=None, min_length=1, max_length=253)
    """Secret with the key, in the namespace of this backup; required when enabled."""
    algorithm: Literal["AES256", "ChaCha20"] = "AES256"
    """Encryption algorithm."""

    rules: ClassVar[tuple[Rule[EncryptionSpec], ...]] = (
        Rule(
            "!has(self.enabled) || !self.enabled || has(self.keySecret)",
            "encryption.keySecret is required when encryption is enabled",
            lambda it: not it.enabled or it.key_secret is not None,
        ),
        text_rule(
            "keySecret",
            "key_secret",
            syntax.DNS_SUBDOMAIN,
            "encryption.keySecret must be the name of a Secret",
        ),
    )


class BackupOptions(Model):
    """How the backup is made."""

    backup_type: Literal["FULL", "DIFF", "AUTO"] = "AUTO"
    """FULL: everything. DIFF: what changed since the previous backup, which must exist. AUTO: DIFF when
    possible, else FULL."""
    max_chain_length: int = Field(
        default=MAX_CHAIN_LENGTH, ge=2, le=1000, json_schema_extra={"format": "int32"}
    )
    """For AUTO: how many backups a chain has, its FULL one included, before a new FULL one is made."""
    compress: bool = True
    """Compress the artifacts."""
    page_cache: str | None = Field(default=None, min_length=1, max_length=16)
    """Page cache of the backup process, e.g. 2G; default is computed from the sidecar's memory limit."""
    encryption: EncryptionSpec | None = None
    """Encryption of the stored artifacts."""
    verify_backup: bool | None = None
    """Verify each backup (default false): Neo4j's own consistency check of what a restore would give, next
    to the data, and every stored artifact read back. What does not stand it is no backup."""
    verify: bool | None = None
    """Another name of verifyBackup; when both are given they must agree."""
    additional_args: tuple[str, ...] = Field(
        default=(), max_length=32, json_schema_extra={"items": {"type": "string", "maxLength": 1024}}
    )
    """More arguments for neo4j-admin database backup, each --name or --name=value."""

    rules: ClassVar[tuple[Rule[BackupOptions], ...]] = (
        Rule(
            "!has(self.verify) || !has(self.verifyBackup) || self.verify == self.verifyBackup",
            "verify and verifyBackup mean the same and must not disagree; keep one of them",
            lambda it: it.verify is None or it.verify_backup is None or it.verify == it.verify_backup,
        ),
        text_rule(
            "pageCache", "page_cache", syntax.MEMORY, "pageCache must be a size such as 2G, 2Gi or 512M"
        ),
        Rule(
            "!has(self.additionalArgs) || self.additionalArgs.all(arg, "
            f"arg.matches('{syntax.whole(syntax.ARGUMENT)}'))",
            "additionalArgs must each be --name or --name=value, in one list entry",
            lambda it: all(syntax.matches(syntax.ARGUMENT, arg) for arg in it.additional_args),
        ),
        Rule(
            "!has(self.additionalArgs) || !self.additionalArgs.exists(arg, "
            f"arg.matches('^--({'|'.join(syntax.RESERVED_ARGUMENTS)})(=|$)'))",
            "additionalArgs must not set what the operator sets or what reads other files: "
            + ", ".join(f"--{name}" for name in syntax.RESERVED_ARGUMENTS),
            lambda it: (
                not any(syntax.argument_name(arg) in syntax.RESERVED_ARGUMENTS for arg in it.additional_args)
            ),
        ),
    )

    @property
    def verifies(self) -> bool:
        """``verifyBackup``, under either of its names."""
        return bool(self.verify_backup or self.verify)


class BackupSpec(Model):
    """What to back up, where to, how, and when."""

    target: BackupTarget
    """What to back up: a whole deployment with all its databases, or one database."""
    storage: StorageLocation
    """Where the backups go."""
    schedule: str | None = Field(default=None, max_length=120)
    """Cron expression in UTC, e.g. "0 2 * * *". Without it the backup is made once for each change of
    the spec. The annotation backup.neo4j.com/run-now asks for one more run in either case."""
    cloud: CloudBlock | None = None
    """How to reach the cloud storage. storage.cloud means the same: give either; when both are given,
    what both set must be equal."""
    retention: RetentionPolicy | None = None
    """Which backups are kept; without it all are."""
    options: BackupOptions = BackupOptions()
    """How the backup is made."""
    suspend: bool = False
    """Stop making scheduled backups until this is false again."""

    rules: ClassVar[tuple[Rule[BackupSpec], ...]] = (
        Rule(
            "!has(self.schedule) || self.schedule == ''"
            f" || self.schedule.matches('{syntax.whole(syntax.CRON)}')",
            f"schedule {syntax.CRON_HELP}",
            lambda it: not it.schedule or syntax.matches(syntax.CRON, it.schedule),
        ),
        Rule(
            "!has(self.cloud) || " + PROVIDER_MATCHES.format(type="self.storage.type", cloud="self.cloud"),
            PROVIDER_MESSAGE,
            lambda it: it.cloud is None or it.cloud.provider == PROVIDER_OF.get(it.storage.type),
        ),
        Rule(
            CLOUDS_AGREE,
            "cloud and storage.cloud disagree; keep one of them, or make what both set equal",
            lambda it: clouds_agree(it.cloud, it.storage.cloud),
        ),
        Rule(
            "!has(self.retention) || !has(self.retention.archiveStorageClass) || self.storage.type == 's3'",
            "retention.archiveStorageClass is for storage type s3 only",
            lambda it: (
                it.storage.type == "s3" or it.retention is None or it.retention.archive_storage_class is None
            ),
        ),
    )

    @property
    def effective_cloud(self) -> CloudBlock | None:
        """``storage.cloud`` completed by ``spec.cloud``; they agree wherever both speak."""
        if self.cloud is None or self.storage.cloud is None:
            return self.storage.cloud or self.cloud
        return CloudBlock.model_validate(self.cloud.as_dict() | self.storage.cloud.as_dict())

    @property
    def effective_encryption(self) -> EncryptionSpec | None:
        """``options.encryption``, when it is switched on."""
        encryption = self.options.encryption
        return encryption if encryption and encryption.enabled else None

    @property
    def is_scheduled(self) -> bool:
        """True when a CronJob makes the runs."""
        return bool(self.schedule)


def parse_spec(raw: bytes) -> BackupSpec:
    """The spec as stored; raises InvalidObject with one line for each problem."""
    try:
        spec = BackupSpec.model_validate_json(raw)
    except ValidationError as error:
        raise InvalidObject(problems_of(error, "spec")) from None
    problem = syntax.cron_problem(spec.schedule) if spec.schedule else ""
    if problem:
        raise InvalidObject((f"spec.schedule: {problem}",))
    return spec


def _is_duration(text: str) -> bool:
    try:
        return bool(syntax.parse_duration(text))
    except ValueError:
        return False
