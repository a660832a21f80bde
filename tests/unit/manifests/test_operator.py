"""The installation: rights that suffice and no more, a restricted pod, and one base for all versions."""

from __future__ import annotations

from typing import Any

import pytest

from controller.api import crds
from controller.api.model import JsonObject
from controller.app.settings import read_settings
from controller.resources.rbac import build_role
from tests.unit.manifests.documents import ROOT, built, documents, only
from tests.unit.resources.builders import a_backup

BASE = list(built(ROOT / "operator"))
CURRENT = list(built(ROOT / "overlays" / "current"))
BEFORE_1_21 = list(built(ROOT / "overlays" / "before-1.21"))
RULES: list[JsonObject] = only(BASE, "ClusterRole")["rules"]
DEPLOYMENT = only(BASE, "Deployment")
POD: JsonObject = DEPLOYMENT["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def verbs(group: str, resource: str) -> set[str]:
    found = (rule["verbs"] for rule in RULES if group in rule["apiGroups"] and resource in rule["resources"])
    return {verb for one in found for verb in one}


def test_the_operator_holds_what_it_grants() -> None:
    for rule in build_role(a_backup(), "neo4j", ["p-0"])["rules"]:
        for resource in rule["resources"]:
            assert set(rule["verbs"]) <= verbs("", resource)


def test_nothing_is_granted_wholesale_and_secrets_not_at_all() -> None:
    for rule in RULES:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert "secrets" not in rule["resources"]
        assert not {"escalate", "bind", "impersonate", "deletecollection"} & set(rule["verbs"])


@pytest.mark.parametrize(
    ("group", "resource", "needed"),
    [
        ("neo4j.neo4j.com", "neo4jbackups", "get list watch patch"),
        ("neo4j.neo4j.com", "neo4jbackups/status", "patch"),
        ("neo4j.neo4j.com", "neo4jbackups/finalizers", "update"),
        ("neo4j.neo4j.com", "neo4jenterpriseclusters", "list watch"),
        ("neo4j.neo4j.com", "neo4jenterprisestandalones", "list watch"),
        ("neo4j.neo4j.com", "neo4jdatabases", "list watch"),
        ("apps", "statefulsets", "list watch patch"),
        ("", "pods", "list watch"),
        ("batch", "jobs", "list watch create delete"),
        ("batch", "cronjobs", "list watch create patch delete"),
        ("", "serviceaccounts", "list watch create patch delete"),
        ("rbac.authorization.k8s.io", "roles", "list watch create patch delete"),
        ("rbac.authorization.k8s.io", "rolebindings", "list watch create patch delete"),
        ("", "persistentvolumeclaims", "list watch create"),
        ("", "events", "list create patch"),
    ],
)
def test_what_the_operator_does_it_may_do(group: str, resource: str, needed: str) -> None:
    assert set(needed.split()) <= verbs(group, resource)


def test_what_holds_backups_or_data_cannot_be_deleted() -> None:
    for group, resource in (("", "persistentvolumeclaims"), ("apps", "statefulsets"), ("", "pods")):
        assert "delete" not in verbs(group, resource)


def test_leases_are_of_its_own_namespace_only_and_but_for_creating_one_of_its_own_name() -> None:
    assert not verbs("coordination.k8s.io", "leases")
    create, rest = only(BASE, "Role")["rules"]
    assert create["resources"] == rest["resources"] == ["leases"]
    assert create["verbs"] == ["create"]
    name = read_settings([], {"OPERATOR_IMAGE": "i"}).lease_name
    assert rest["resourceNames"] == [name]
    assert {"get", "update", "list", "watch"} == set(rest["verbs"])


@pytest.mark.parametrize("kind", ["RoleBinding", "ClusterRoleBinding"])
def test_the_rights_reach_the_account_that_the_pods_use(kind: str) -> None:
    (subject,) = only(BASE, kind)["subjects"]
    assert subject["name"] == POD["serviceAccountName"] == only(BASE, "ServiceAccount")["metadata"]["name"]
    assert subject["namespace"] == only(BASE, "Namespace")["metadata"]["name"]


def test_two_replicas_with_probes_and_what_they_are_told() -> None:
    assert DEPLOYMENT["spec"]["replicas"] == 2
    assert CONTAINER["args"] == ["operator"]
    assert CONTAINER["ports"] == [{"name": "http", "containerPort": 8080}]
    assert CONTAINER["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "http"}
    assert CONTAINER["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "http"}
    env: dict[str, Any] = {entry["name"]: entry for entry in CONTAINER["env"]}
    assert env["OPERATOR_IMAGE"]["value"] == CONTAINER["image"]
    assert env["POD_NAME"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.name"
    assert env["POD_NAMESPACE"]["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"


def test_the_pods_fit_the_restricted_profile() -> None:
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = only(BASE, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_selector_finds_the_pods() -> None:
    worn = DEPLOYMENT["spec"]["template"]["metadata"]["labels"]
    assert DEPLOYMENT["spec"]["selector"]["matchLabels"].items() <= worn.items()
    for objects in (CURRENT, BEFORE_1_21):
        budget = only(objects, "PodDisruptionBudget")
        assert budget["spec"]["selector"]["matchLabels"].items() <= worn.items()


def test_the_base_holds_only_what_every_version_knows() -> None:
    assert only(BASE, "CustomResourceDefinition") == crds.backup_crd(cel=False)
    assert "PodDisruptionBudget" not in {item["kind"] for item in BASE}


def test_the_definition_says_whose_it_is() -> None:
    """The install page has people look for this before they apply ours over another operator's."""
    for objects in (BASE, CURRENT, BEFORE_1_21):
        worn = only(objects, "CustomResourceDefinition")["metadata"]["labels"]
        assert worn == {"app.kubernetes.io/name": "neo4j-backup-operator"}


def test_the_overlays_add_what_their_versions_know() -> None:
    assert only(CURRENT, "CustomResourceDefinition") == crds.backup_crd(cel=True)
    assert only(CURRENT, "PodDisruptionBudget")["apiVersion"] == "policy/v1"
    assert only(BEFORE_1_21, "CustomResourceDefinition") == crds.backup_crd(cel=False)
    assert only(BEFORE_1_21, "PodDisruptionBudget")["apiVersion"] == "policy/v1beta1"
    both = [
        item for item in CURRENT if item["kind"] not in ("CustomResourceDefinition", "PodDisruptionBudget")
    ]
    assert both == [item for item in BASE if item["kind"] != "CustomResourceDefinition"]


def test_every_file_of_the_installation_is_used() -> None:
    used = BASE + CURRENT + BEFORE_1_21
    for folder in ("operator", "overlays", "crds"):
        for path in (ROOT / folder).rglob("*.yaml"):
            if path.name != "kustomization.yaml":
                assert all(item in used for item in documents(path)), path


@pytest.mark.parametrize("directory", ["operator", "overlays/current", "overlays/before-1.21"])
def test_an_image_that_is_set_there_is_the_one_the_operator_is_told(directory: str) -> None:
    (kustomization,) = documents(ROOT / directory / "kustomization.yaml")
    (image,) = kustomization["images"]
    assert f"{image['name']}:{image['newTag']}" == CONTAINER["image"]
    (replacement,) = kustomization["replacements"]
    assert replacement["source"]["fieldPath"].endswith(".image")
    (target,) = replacement["targets"]
    assert target["fieldPaths"] == [
        "spec.template.spec.containers.[name=operator].env.[name=OPERATOR_IMAGE].value"
    ]
