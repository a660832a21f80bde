"""What the runner may do, who owns what, and what outlives the backup."""

from __future__ import annotations

import msgspec
import pytest

from controller.api.model import JsonObject
from controller.api.objects import Object
from controller.api.storage import PVCSpec
from controller.resources import labels
from controller.resources.hashing import is_current
from controller.resources.ownership import refusal
from controller.resources.pvc import build_claim, claim_name
from controller.resources.rbac import build_role, build_role_binding, build_service_account
from tests.unit.resources.builders import a_backup


def test_the_runner_may_exec_into_and_read_the_logs_of_these_pods_and_nothing_else() -> None:
    assert build_role(a_backup(), "neo4j", ["p-1", "p-0"])["rules"] == [
        {
            "apiGroups": [""],
            "resources": ["pods/exec"],
            "verbs": ["create", "get"],
            "resourceNames": ["p-0", "p-1"],
        },
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"], "resourceNames": ["p-0", "p-1"]},
    ]


def test_the_role_does_not_depend_on_the_order_of_the_pods() -> None:
    assert build_role(a_backup(), "neo4j", ["a", "b"]) == build_role(a_backup(), "neo4j", ["b", "a"])


@pytest.mark.parametrize("target", ["neo4j", "prod"])
def test_the_binding_joins_the_account_here_with_the_role_there(target: str) -> None:
    account, role = build_service_account(a_backup()), build_role(a_backup(), target, ["p-0"])
    binding = build_role_binding(a_backup(), target)
    assert binding["metadata"]["namespace"] == role["metadata"]["namespace"] == target
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    (subject,) = binding["subjects"]
    assert (subject["name"], subject["namespace"]) == (account["metadata"]["name"], "neo4j")


def test_only_objects_of_the_same_namespace_are_owned() -> None:
    assert "ownerReferences" in build_role(a_backup(), "neo4j", [])["metadata"]
    elsewhere = build_role(a_backup(), "prod", [])["metadata"]
    assert "ownerReferences" not in elsewhere
    assert elsewhere["labels"][labels.BACKUP_UID] == "uid-1"


def test_a_role_for_other_pods_is_another_role() -> None:
    role = build_role(a_backup(), "neo4j", ["p-0"])
    existing = msgspec.convert(role, type=Object)
    assert is_current(existing, role)
    assert not is_current(existing, build_role(a_backup(), "neo4j", ["p-0", "p-1"]))


def test_deleting_the_backup_keeps_the_claim() -> None:
    claim = build_claim(a_backup(), PVCSpec(size="100Gi", storage_class="fast-ssd"))
    assert claim is not None
    assert "ownerReferences" not in claim["metadata"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "100Gi"}},
        "storageClassName": "fast-ssd",
    }


def test_the_cluster_chooses_the_storage_class_when_the_user_does_not() -> None:
    claim = build_claim(a_backup(), PVCSpec(size="1Gi"))
    assert claim is not None
    assert "storageClassName" not in claim["spec"]
    assert claim["metadata"]["name"] == "nightly-backup"


def test_a_claim_without_a_size_is_the_users_to_make() -> None:
    assert build_claim(a_backup(), PVCSpec(name="mine")) is None
    assert claim_name(a_backup(), PVCSpec(name="mine")) == "mine"


def existing(uid: str | None = None, marked: str | None = None) -> Object:
    meta: JsonObject = {"name": "x"}
    if uid is not None:
        owner = {"kind": "Neo4jBackup", "name": "other", "uid": uid, "controller": True}
        meta["ownerReferences"] = [owner]
    if marked is not None:
        meta["labels"] = {labels.BACKUP_UID: marked}
    return msgspec.convert({"metadata": meta}, type=Object)


@pytest.mark.parametrize("item", [existing(uid="uid-1"), existing(marked="uid-1")])
def test_what_is_ours_is_used(item: Object) -> None:
    assert refusal(item, a_backup()) == ""


def test_what_somebody_else_controls_is_not_adopted() -> None:
    assert "already belongs to Neo4jBackup other" in refusal(existing(uid="uid-2"), a_backup())
    assert "already belongs" in refusal(existing(uid="uid-2", marked="uid-1"), a_backup())


def test_what_merely_has_the_name_is_not_adopted() -> None:
    assert "was not made for this backup" in refusal(existing(), a_backup())
    assert "was not made for this backup" in refusal(existing(marked="uid-2"), a_backup())
