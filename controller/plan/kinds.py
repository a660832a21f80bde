"""The kinds that plans are about, as places on the API server."""

from __future__ import annotations

from controller.api import backup as api
from controller.kube.resource import Resource

BACKUPS = Resource(api.GROUP, api.VERSION, api.PLURAL, api.KIND)
STATEFUL_SETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
JOBS = Resource("batch", "v1", "jobs", "Job")
CRON_JOBS = Resource("batch", "v1", "cronjobs", "CronJob")
CRON_JOBS_BETA = Resource("batch", "v1beta1", "cronjobs", "CronJob")
"""Before Kubernetes 1.21."""
CLAIMS = Resource("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
