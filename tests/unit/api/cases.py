"""Specs that are right, and specs that are wrong with what the user must read."""

from __future__ import annotations

import copy
from typing import Any

Spec = dict[str, Any]

CLOUD: Spec = {"provider": "aws", "region": "us-east-1"}
GCP: Spec = {"provider": "gcp", "region": "us-central1"}
AZURE: Spec = {"provider": "azure", "region": "eastus"}
UUID = "0123abcd-0000-4000-8000-0123456789ab"


def spec(**changes: Any) -> Spec:
    """A valid spec with top-level fields replaced."""
    base: Spec = {
        "target": {"kind": "Cluster", "name": "production"},
        "storage": {"type": "s3", "bucket": "backups", "path": "neo4j/production", "cloud": dict(CLOUD)},
    }
    return base | copy.deepcopy(changes)


def s3(**changes: Any) -> Spec:
    """A spec whose storage has these fields."""
    return spec(storage={"type": "s3", "bucket": "backups"} | changes)


def pvc(**fields: Any) -> Spec:
    """A spec that goes to a claim with these fields."""
    return spec(storage={"type": "pvc", "pvc": fields})


def options(**fields: Any) -> Spec:
    """A spec with these options."""
    return spec(options=fields)


VALID: dict[str, Spec] = {
    "plain": spec(),
    "no cloud block at all": s3(),
    "cloud beside storage": s3() | {"cloud": CLOUD},
    "clouds that agree": spec(cloud=CLOUD),
    "clouds that complete one another": s3(cloud=CLOUD | {"credentialsSecret": "keys"})
    | {"cloud": CLOUD | {"endpoint": "http://minio.minio.svc:9000"}},
    "gcs": s3(type="gcs", cloud={"provider": "gcp", "region": "us-central1"}),
    "azure": s3(type="azure", cloud={"provider": "azure", "region": "eastus"}),
    "role of AWS": s3(cloud=CLOUD | {"awsRoleArn": "arn:aws:iam::123456789012:role/a/neo4j-backup"}),
    "options of S3": s3(cloud=CLOUD | {"forcePathStyle": False, "checksumAlgorithm": "SHA256"}),
    "account of Google": s3(
        type="gcs", cloud=GCP | {"gcpServiceAccount": "backup@my-project.iam.gserviceaccount.com"}
    ),
    "client of Azure": s3(type="azure", cloud=AZURE | {"azureClientId": UUID, "azureTenantId": UUID}),
    "new claim": pvc(size="100Gi"),
    "claim of either kind": pvc(
        name="backup-storage", size="100Gi", storageClass="fast-ssd", accessModes=["ReadWriteMany"]
    ),
    "existing claim": pvc(name="backup-storage"),
    "database": spec(target={"kind": "Database", "name": "User.data-1", "clusterRef": "production"}),
    "another namespace": spec(target={"kind": "Cluster", "name": "production", "namespace": "neo4j"}),
    "path with slashes at the ends": s3(path="/a/b/"),
    "empty path": s3(path=""),
    "path with dots in names": s3(path="v1.2/..a/.b/c.."),
    "schedule": spec(schedule="0 2 * * *"),
    "schedule emptied": spec(schedule=""),
    "schedule by name": spec(schedule="@daily"),
    "age in days": spec(retention={"maxAge": "30d"}),
    "age in hours": spec(retention={"maxAge": "720h"}),
    "age in both": spec(retention={"maxAge": "1h30m", "maxCount": 1, "deletePolicy": "Archive"}),
    "archive in a class of its own": spec(
        storage={"type": "s3", "bucket": "backups"},
        retention={"maxCount": 1, "deletePolicy": "Archive", "archiveStorageClass": "GLACIER_IR"},
    ),
    "verify": options(verify=True),
    "verify twice": options(verify=True, verifyBackup=True),
    "arguments": options(additionalArgs=["--temp-path=/tmp/backup", "--parallel-recovery", "--verbose"]),
    "page cache": options(pageCache="2G"),
    "page cache as Kubernetes writes it": options(pageCache="512Mi"),
    "encryption": options(encryption={"enabled": True, "keySecret": "key", "algorithm": "ChaCha20"}),
    "encryption off": options(encryption={"enabled": False}),
    "encryption unsaid": options(encryption={"keySecret": "key"}),
}

PATH_MESSAGE = "path must be segments"
ARGUMENT_MESSAGE = "additionalArgs must each be --name or --name=value"
RESERVED_MESSAGE = "additionalArgs must not set"
CLOUDS_MESSAGE = "cloud and storage.cloud disagree"
ROLE = "arn:aws:iam::123456789012:role/neo4j-backup"
IDENTITY_MESSAGE = "awsRoleArn, forcePathStyle and checksumAlgorithm are for provider aws"
PROVIDER_MESSAGE = "cloud.provider must fit the storage type"

BROKEN: dict[str, tuple[Spec, str]] = {
    "no bucket": (spec(storage={"type": "s3"}), "bucket is required for storage types s3, gcs and azure"),
    "empty bucket": (s3(bucket=""), "bucket is required"),
    "bucket as a URL": (s3(bucket="s3://backups"), "bucket must be the name of a bucket"),
    "claim without anything": (pvc(), "needs pvc.name of an existing claim, or pvc.size"),
    "pvc without pvc": (spec(storage={"type": "pvc"}), "needs pvc.name of an existing claim, or pvc.size"),
    "pvc on s3": (s3(pvc={"size": "1Gi"}), "pvc is for storage type pvc only"),
    "provider of another type": (s3(cloud={"provider": "gcp", "region": "x"}), PROVIDER_MESSAGE),
    "provider of another type above": (
        s3() | {"cloud": {"provider": "azure", "region": "x"}},
        PROVIDER_MESSAGE,
    ),
    "cloud for a claim": (pvc(size="1Gi") | {"cloud": CLOUD}, PROVIDER_MESSAGE),
    "regions disagree": (spec(cloud=CLOUD | {"region": "eu-west-1"}), CLOUDS_MESSAGE),
    "secrets disagree": (
        s3(cloud=CLOUD | {"credentialsSecret": "a"}) | {"cloud": CLOUD | {"credentialsSecret": "b"}},
        CLOUDS_MESSAGE,
    ),
    "endpoints disagree": (
        s3(cloud=CLOUD | {"endpoint": "http://a"}) | {"cloud": CLOUD | {"endpoint": "http://b"}},
        CLOUDS_MESSAGE,
    ),
    "endpoint without scheme": (s3(cloud=CLOUD | {"endpoint": "minio:9000"}), "endpoint must be a URL"),
    "region with a space": (s3(cloud=CLOUD | {"region": "us east"}), "region must consist of"),
    "secret that is a path": (
        s3(cloud=CLOUD | {"credentialsSecret": "../x"}),
        "credentialsSecret must be the name of a Secret",
    ),
    "role of AWS elsewhere": (s3(type="gcs", cloud=GCP | {"awsRoleArn": ROLE}), IDENTITY_MESSAGE),
    "path style elsewhere": (s3(type="gcs", cloud=GCP | {"forcePathStyle": True}), IDENTITY_MESSAGE),
    "account of Google elsewhere": (
        s3(cloud=CLOUD | {"gcpServiceAccount": "a@p.iam.gserviceaccount.com"}),
        IDENTITY_MESSAGE,
    ),
    "client of Azure elsewhere": (s3(cloud=CLOUD | {"azureClientId": UUID}), IDENTITY_MESSAGE),
    "role that is a name": (s3(cloud=CLOUD | {"awsRoleArn": "neo4j-backup"}), "awsRoleArn must be the ARN"),
    "account that is a name": (
        s3(type="gcs", cloud=GCP | {"gcpServiceAccount": "backup"}),
        "gcpServiceAccount must be an address",
    ),
    "client that is a name": (
        s3(type="azure", cloud=AZURE | {"azureClientId": "backup"}),
        "azureClientId must be the id",
    ),
    "tenant that is a name": (
        s3(type="azure", cloud=AZURE | {"azureTenantId": "contoso"}),
        "azureTenantId must be the id",
    ),
    "roles disagree": (
        s3(cloud=CLOUD | {"awsRoleArn": ROLE}) | {"cloud": CLOUD | {"awsRoleArn": ROLE + "2"}},
        CLOUDS_MESSAGE,
    ),
    "path upwards": (s3(path="a/../b"), PATH_MESSAGE),
    "path of dots": (s3(path=".."), PATH_MESSAGE),
    "path of one dot": (s3(path="./a"), PATH_MESSAGE),
    "path with an empty segment": (s3(path="a//b"), PATH_MESSAGE),
    "path with a space": (s3(path="a b"), PATH_MESSAGE),
    "path with a newline": (s3(path="a\n"), PATH_MESSAGE),
    "path for a shell": (s3(path="$(id)"), PATH_MESSAGE),
    "size in words": (pvc(size="big"), "pvc.size must be a quantity"),
    "claim name in capitals": (pvc(name="Backup"), "pvc.name must be the name of a PersistentVolumeClaim"),
    "storage class with a slash": (pvc(size="1Gi", storageClass="a/b"), "pvc.storageClass must be"),
    "claim that cannot be written": (
        pvc(size="1Gi", accessModes=["ReadOnlyMany"]),
        "pvc.accessModes must hold a mode that can be written to",
    ),
    "cluster name in capitals": (spec(target={"kind": "Cluster", "name": "Production"}), "name must be"),
    "name for a shell": (spec(target={"kind": "Database", "name": "a;id"}), "name must be"),
    "name with a glob": (spec(target={"kind": "Database", "name": "a*"}), "name must be"),
    "namespace with a dot": (
        spec(target={"kind": "Cluster", "name": "a", "namespace": "a.b"}),
        "namespace must be the name of a namespace",
    ),
    "clusterRef on a cluster": (
        spec(target={"kind": "Cluster", "name": "a", "clusterRef": "b"}),
        "clusterRef is for kind Database only",
    ),
    "clusterRef that is no name": (
        spec(target={"kind": "Database", "name": "a", "clusterRef": "B!"}),
        "clusterRef must be the name of a deployment",
    ),
    "age without a unit": (spec(retention={"maxAge": "30"}), "maxAge must be a duration such as 30d"),
    "age in months": (spec(retention={"maxAge": "3M"}), "maxAge must be a duration"),
    "age with a fraction": (spec(retention={"maxAge": "1.5h"}), "maxAge must be a duration"),
    "age the wrong way round": (spec(retention={"maxAge": "30m1h"}), "maxAge must be a duration"),
    "age of nothing": (spec(retention={"maxAge": "0d"}), "maxAge must be a duration"),
    "a class for what is deleted": (
        spec(retention={"maxCount": 1, "archiveStorageClass": "GLACIER"}),
        "archiveStorageClass is for deletePolicy Archive only",
    ),
    "a class that is none": (
        spec(retention={"deletePolicy": "Archive", "archiveStorageClass": "cold, please"}),
        "archiveStorageClass must be the name of a storage class",
    ),
    "a class for a volume": (
        spec(
            storage={"type": "pvc", "pvc": {"name": "a"}},
            retention={"deletePolicy": "Archive", "archiveStorageClass": "GLACIER"},
        ),
        "retention.archiveStorageClass is for storage type s3 only",
    ),
    "verify against itself": (
        options(verify=True, verifyBackup=False),
        "verify and verifyBackup mean the same",
    ),
    "page cache in words": (options(pageCache="lots"), "pageCache must be a size"),
    "encryption without a key": (
        options(encryption={"enabled": True}),
        "encryption.keySecret is required when encryption is enabled",
    ),
    "key that is no name": (
        options(encryption={"keySecret": "a b"}),
        "encryption.keySecret must be the name",
    ),
    "argument in two entries": (options(additionalArgs=["--temp-path", "/tmp/x"]), ARGUMENT_MESSAGE),
    "argument that is a file": (options(additionalArgs=["@/etc/passwd"]), ARGUMENT_MESSAGE),
    "short argument": (options(additionalArgs=["-h"]), ARGUMENT_MESSAGE),
    "argument with a newline": (options(additionalArgs=["--temp-path=/tmp\n--from=x"]), ARGUMENT_MESSAGE),
    "argument of the operator": (options(additionalArgs=["--to-path=/x"]), RESERVED_MESSAGE),
    "argument that runs commands": (options(additionalArgs=["--expand-commands"]), RESERVED_MESSAGE),
    "schedule in words": (spec(schedule="every day"), "schedule must be five cron fields"),
    "schedule with a zone": (spec(schedule="TZ=Europe/Rome 0 2 * * *"), "schedule must be five cron fields"),
    "schedule with seconds": (spec(schedule="0 0 2 * * *"), "schedule must be five cron fields"),
}
