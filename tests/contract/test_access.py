"""Who may do what: RBAC, and that nobody hands out more than they hold."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import MERGE, Api, Json, connected
from tests.contract.conftest import eventually
from tests.contract.widgets import widget
from tests.support.control_plane import ControlPlane

pytestmark = pytest.mark.asyncio

RBAC = "/apis/rbac.authorization.k8s.io/v1"


def _role(name: str, *rules: Json) -> Json:
    return {"metadata": {"name": name}, "rules": list(rules)}


def _rule(group: str, resources: str, verbs: str, *names: str) -> Json:
    rule: Json = {"apiGroups": [group], "resources": resources.split(), "verbs": verbs.split()}
    return rule | ({"resourceNames": list(names)} if names else {})


def _binding(name: str, role: str, namespace: str, kind: str = "Role") -> Json:
    return {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": "worker", "namespace": namespace}],
    }


async def _worker(api: Api, namespace: str, *rules: Json) -> Api:
    """The same server as the service account ``worker``, which has ``rules`` in its namespace."""
    await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "worker"}})
    within = f"{RBAC}/namespaces/{namespace}"
    worker = api.acting_as(f"system:serviceaccount:{namespace}:worker")
    if rules:
        await api.create(f"{within}/roles", _role("worker", *rules))
        await api.create(f"{within}/rolebindings", _binding("worker", "worker", namespace))
        marker = rules[0]
        asked = {
            "verb": marker["verbs"][0],
            "group": marker["apiGroups"][0],
            "resource": marker["resources"][0].partition("/")[0],
            "subresource": marker["resources"][0].partition("/")[2],
            "namespace": namespace,
            "name": marker.get("resourceNames", [""])[0],
        }

        async def is_in_force() -> bool:
            return await _may(worker, **asked)

        await eventually(is_in_force, "the role is in force")
    return worker


async def _may(api: Api, **attributes: str) -> bool:
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
    allowed: bool = answer["status"]["allowed"]
    return allowed


async def test_nobody_gets_in_with_a_wrong_token(control_plane: ControlPlane, widgets: str) -> None:
    async with connected(control_plane.kubeconfig, token="nonsense") as nobody:
        answer = await nobody.request("GET", widgets)
    assert (answer.status, answer.reason) == (401, "Unauthorized")


async def test_a_service_account_may_nothing_at_first(
    api: Api, widgets: str, namespace: str, group: str
) -> None:
    worker = await _worker(api, namespace)
    answer = await worker.request("GET", widgets)
    assert (answer.status, answer.reason) == (403, "Forbidden")
    assert f'User "system:serviceaccount:{namespace}:worker" cannot list resource "widgets"' in answer.message
    assert f'in API group "{group}" in the namespace "{namespace}"' in answer.message
    assert (await worker.request("GET", "/apis")).status == 200


async def test_verbs_are_told_apart(api: Api, widgets: str, group: str, namespace: str) -> None:
    worker = await _worker(api, namespace, _rule(group, "widgets", "get list patch"))
    await api.create(widgets, widget(group, "a"))
    assert (await worker.request("GET", f"{widgets}/a")).status == 200
    assert (await worker.request("GET", widgets)).status == 200
    assert (await worker.request("GET", widgets, watch="1", timeoutSeconds="1")).status == 403
    assert (await worker.request("POST", widgets, widget(group, "b"))).status == 403
    assert (await worker.request("DELETE", f"{widgets}/a")).status == 403
    patch = {"spec": {"size": 2}}
    assert (await worker.request("PATCH", f"{widgets}/a", patch, content_type=MERGE)).status == 200
    assert (await worker.request("PATCH", f"{widgets}/a/status", patch, content_type=MERGE)).status == 403
    assert (await worker.request("GET", f"/apis/{group}/v1/widgets")).status == 403


async def test_subresources_are_told_apart(api: Api, widgets: str, group: str, namespace: str) -> None:
    worker = await _worker(api, namespace, _rule(group, "widgets/status", "patch get"))
    await api.create(widgets, widget(group, "a"))
    patch = {"status": {"phase": "On"}}
    assert (await worker.request("PATCH", f"{widgets}/a/status", patch, content_type=MERGE)).status == 200
    assert (await worker.request("PATCH", f"{widgets}/a", patch, content_type=MERGE)).status == 403


async def test_names_are_told_apart(api: Api, namespace: str) -> None:
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    for name in ("mine", "other"):
        await api.create(secrets, {"metadata": {"name": name}})
    worker = await _worker(api, namespace, _rule("", "secrets", "get list watch", "mine"))
    assert (await worker.request("GET", f"{secrets}/mine")).status == 200
    assert (await worker.request("GET", f"{secrets}/other")).status == 403
    assert (await worker.request("GET", secrets)).status == 403
    assert (await worker.request("GET", secrets, fieldSelector="metadata.name=mine")).status == 200


async def test_making_by_apply_needs_create_too(api: Api, widgets: str, group: str, namespace: str) -> None:
    worker = await _worker(api, namespace, _rule(group, "widgets", "patch get"))
    query: dict[str, Any] = {"content_type": "application/apply-patch+yaml", "fieldManager": "worker"}
    obj = widget(group, "a")
    assert (await worker.request("PATCH", f"{widgets}/a", obj, **query)).status == 403
    await api.create(widgets, obj)
    assert (await worker.request("PATCH", f"{widgets}/a", obj, **query)).status == 200


async def test_nobody_grants_what_they_do_not_hold(api: Api, namespace: str) -> None:
    worker = await _worker(
        api,
        namespace,
        _rule("rbac.authorization.k8s.io", "roles rolebindings", "create patch get"),
        _rule("", "pods/log", "get"),
        _rule("", "pods", "get list"),
    )
    roles = f"{RBAC}/namespaces/{namespace}/roles"
    refused = await worker.request("POST", roles, _role("more", _rule("", "secrets", "get")))
    assert (refused.status, refused.reason) == (403, "Forbidden")
    assert "is attempting to grant RBAC permissions not currently held" in refused.message
    wider = await worker.request("POST", roles, _role("more", _rule("", "pods", "get delete")))
    assert wider.status == 403
    held = _role("held", _rule("", "pods", "get", "one-pod"), _rule("", "pods/log", "get"))
    assert (await worker.request("POST", roles, held)).status == 201
    grown = {"rules": [_rule("", "pods", "*")]}
    assert (await worker.request("PATCH", f"{roles}/held", grown, content_type=MERGE)).status == 403


async def test_nobody_binds_a_role_that_they_do_not_hold(api: Api, namespace: str) -> None:
    within = f"{RBAC}/namespaces/{namespace}"
    worker = await _worker(
        api,
        namespace,
        _rule("rbac.authorization.k8s.io", "rolebindings", "create"),
        _rule("", "pods", "get"),
        _rule("rbac.authorization.k8s.io", "roles", "bind", "bindable"),
    )
    for name, rule in {
        "held": _rule("", "pods", "get"),
        "too-much": _rule("", "secrets", "get"),
        "bindable": _rule("", "nodes", "get"),
    }.items():
        await api.create(f"{within}/roles", _role(name, rule))
    bindings = f"{within}/rolebindings"
    for name, status in {"held": 201, "too-much": 403, "bindable": 201}.items():
        answer = await worker.request("POST", bindings, _binding(name, name, namespace))
        assert answer.status == status, (name, answer.body)


async def test_a_binding_keeps_its_role(api: Api, namespace: str) -> None:
    await _worker(api, namespace, _rule("", "pods", "get"))
    change = {"roleRef": {"kind": "Role", "name": "other", "apiGroup": "rbac.authorization.k8s.io"}}
    path = f"{RBAC}/namespaces/{namespace}/rolebindings/worker"
    answer = await api.request("PATCH", path, change, content_type=MERGE)
    assert (answer.status, answer.fields) == (422, {"roleRef"})


async def test_a_cluster_role_can_be_bound_in_one_namespace(api: Api, namespace: str, group: str) -> None:
    role = f"reader.{group}"
    await api.create(f"{RBAC}/clusterroles", _role(role, _rule("", "configmaps", "list")))
    try:
        worker = await _worker(api, namespace)
        bindings = f"{RBAC}/namespaces/{namespace}/rolebindings"
        await api.create(bindings, _binding("reader", role, namespace, "ClusterRole"))

        async def is_in_force() -> bool:
            return (await worker.request("GET", f"/api/v1/namespaces/{namespace}/configmaps")).status == 200

        await eventually(is_in_force, "the binding is in force")
        assert (await worker.request("GET", "/api/v1/namespaces/default/configmaps")).status == 403
        assert (await worker.request("GET", "/api/v1/configmaps")).status == 403
    finally:
        await api.request("DELETE", f"{RBAC}/clusterroles/{role}")


async def test_the_server_says_what_one_may(api: Api, namespace: str, group: str) -> None:
    worker = await _worker(api, namespace, _rule(group, "widgets", "get"))
    assert await _may(worker, verb="get", group=group, resource="widgets", namespace=namespace)
    assert not await _may(worker, verb="delete", group=group, resource="widgets", namespace=namespace)
    assert not await _may(worker, verb="get", group=group, resource="widgets")
    assert await _may(api, verb="delete", resource="nodes")


async def test_a_role_must_grant_something(api: Api, namespace: str) -> None:
    empty: Json = {"apiGroups": [""], "resources": ["pods"], "verbs": []}
    answer = await api.request("POST", f"{RBAC}/namespaces/{namespace}/roles", _role("empty", empty))
    assert (answer.status, answer.fields) == (422, {"rules[0].verbs"})
