"""The cloud identity of the runner's pod, without a key in a Secret.

Guarantee: only the annotations that the clouds' own webhooks read, and only where the user named an
identity. EKS Pod Identity and GKE's direct federation need none: the cloud is told of the ServiceAccount.

Non-guarantee: that the cloud trusts this ServiceAccount is set up there, and found out by using it.
"""

from __future__ import annotations

from controller.api.storage import CloudBlock

_ANNOTATIONS = {
    "eks.amazonaws.com/role-arn": "aws_role_arn",
    "iam.gke.io/gcp-service-account": "gcp_service_account",
    "azure.workload.identity/client-id": "azure_client_id",
    "azure.workload.identity/tenant-id": "azure_tenant_id",
}
_AZURE_LABEL = "azure.workload.identity/use"


def account_annotations(cloud: CloudBlock | None) -> dict[str, str]:
    """Of the ServiceAccount."""
    found = {name: getattr(cloud, field, None) for name, field in _ANNOTATIONS.items()}
    return {name: value for name, value in found.items() if value}


def pod_labels(cloud: CloudBlock | None) -> dict[str, str]:
    """Azure's webhook looks at pods with this label only."""
    return {_AZURE_LABEL: "true"} if cloud and cloud.azure_client_id else {}
