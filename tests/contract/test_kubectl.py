"""What a person types, with whatever kubectl is at hand."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from hack import kubectl as kubectl_binary
from tests.contract.api import Json
from tests.contract.widgets import stateful_set, widget
from tests.support.control_plane import ControlPlane

Kubectl = Callable[..., str]


@pytest.fixture
def kubectl(control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Kubectl:
    """Runs in the test's namespace, with a cache of its own, and answers standard output."""
    program = kubectl_binary.find()
    environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig), "KUBECACHEDIR": str(tmp_path)}

    def run(*arguments: str, given: Json | None = None, code: int = 0) -> str:
        text = None if given is None else yaml.safe_dump(given)
        command = [program, "-n", namespace, *arguments]
        result = subprocess.run(
            command, input=text, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == code, f"{command}\n{result.stdout}{result.stderr}"
        return result.stdout

    return run


def test_apply_again_and_again(kubectl: Kubectl, group: str) -> None:
    resource = f"widget.{group}/a"
    assert kubectl("apply", "-f", "-", given=widget(group, "a")) == f"{resource} created\n"
    assert kubectl("apply", "-f", "-", given=widget(group, "a")) == f"{resource} unchanged\n"
    assert kubectl("apply", "-f", "-", given=widget(group, "a", size=2)) == f"{resource} configured\n"
    assert "-  size: 2\n+  size: 3\n" in kubectl("diff", "-f", "-", given=widget(group, "a", size=3), code=1)
    assert kubectl("diff", "-f", "-", given=widget(group, "a", size=2)) == ""


def test_client_side_apply_becomes_server_side_apply(kubectl: Kubectl, namespace: str) -> None:
    obj = stateful_set("s")
    kubectl("apply", "-f", "-", given=obj)
    obj["spec"]["template"]["spec"]["containers"].append({"name": "side", "image": "example.com/side:1"})
    assert kubectl("apply", "-f", "-", given=obj) == "statefulset.apps/s configured\n"
    obj["spec"]["template"]["spec"]["containers"].pop()
    told = kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", given=obj)
    assert told == "statefulset.apps/s serverside-applied\n"
    kubectl("apply", "--server-side", "-f", "-", given=obj)
    stored = json.loads(kubectl("get", "sts", "s", "-o", "json"))
    names = [each["name"] for each in stored["spec"]["template"]["spec"]["containers"]]
    assert "main" in names


def test_get_prints_the_columns(kubectl: Kubectl, group: str) -> None:
    kubectl("apply", "-f", "-", given=widget(group, "a"))
    patch = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    kubectl("patch", f"widgets.{group}", "a", "--subresource=status", "--type=merge", "-p", patch)
    lines = [line.split() for line in kubectl("get", f"widgets.{group}").splitlines()]
    assert lines[0] == ["NAME", "SIZE", "READY", "AGE"]
    assert lines[1][:3] == ["a", "1", "True"]
    wide = kubectl("get", f"widgets.{group}", "a", "-o", "wide").splitlines()
    assert wide[0].split() == ["NAME", "SIZE", "READY", "COLOR", "AGE"]
    waiting = ("wait", f"widget.{group}/a", "--timeout=10s")
    kubectl(*waiting, "--for=condition=Ready")
    kubectl(*waiting, "--for=jsonpath={.spec.size}=1")


def test_describe_and_explain(kubectl: Kubectl, group: str) -> None:
    kubectl("apply", "-f", "-", given=widget(group, "a"))
    described = kubectl("describe", f"widget.{group}", "a")
    assert "Size:   1" in described
    explained = kubectl(
        "explain", f"widgets.{group}.spec.parts" if _is_new(kubectl) else f"widgets.{group}.spec"
    )
    assert "parts" in explained or "name" in explained
    assert "terminationMessagePath" in kubectl("explain", "statefulsets.spec.template.spec.containers")


def test_explain_describes_what_every_object_has_and_only_that(kubectl: Kubectl, group: str) -> None:
    """Where nothing is described, nothing of the next field's is shown."""
    explained = kubectl("explain", f"widgets.{group}")
    assert "APIVersion defines the versioned schema" in explained
    assert "Standard object's metadata" in explained
    assert ":r" not in kubectl("explain", "pod")


def _is_new(kubectl: Kubectl) -> bool:
    minor: str = json.loads(kubectl("version", "-o", "json"))["serverVersion"]["minor"]
    return int(minor.rstrip("+")) >= 27


def test_a_manifest_with_an_unknown_field_is_refused(kubectl: Kubectl, group: str) -> None:
    kubectl("apply", "-f", "-", given=widget(group, "a", bogus=1), code=1)
    kubectl("apply", "--validate=false", "-f", "-", given=widget(group, "a", bogus=1))


def test_what_create_makes(kubectl: Kubectl) -> None:
    """Newer ones send protobuf for these."""
    kubectl("create", "configmap", "c", "--from-literal=key=value")
    kubectl("create", "secret", "generic", "s", "--from-literal=key=value")
    kubectl("create", "serviceaccount", "worker")
    kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods,pods/log")
    kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:worker")
    kubectl("create", "deployment", "d", "--image=example.com/main:1", "--replicas=0", "--port=80")
    kubectl("create", "service", "clusterip", "svc", "--tcp=80:8080")
    assert kubectl("get", "configmap", "c", "-o", "jsonpath={.data.key}") == "value"
    assert kubectl("get", "secret", "s", "-o", "jsonpath={.data.key}") == "dmFsdWU="
    rules = json.loads(kubectl("get", "role", "reader", "-o", "jsonpath={.rules}"))
    assert rules == [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}]
    deployment = json.loads(kubectl("get", "deployment", "d", "-o", "json"))
    assert deployment["spec"]["replicas"] == 0
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    service = json.loads(kubectl("get", "service", "svc", "-o", "json"))
    (port,) = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (80, 8080)


def test_may_i(kubectl: Kubectl, namespace: str) -> None:
    assert kubectl("auth", "can-i", "delete", "pods") == "yes\n"
    somebody = f"--as=system:serviceaccount:{namespace}:default"
    assert kubectl("auth", "can-i", "delete", "pods", somebody, code=1) == "no\n"


def test_change_scale_and_delete(kubectl: Kubectl) -> None:
    kubectl("apply", "-f", "-", given=stateful_set("s"))
    kubectl("label", "sts", "s", "a=b")
    kubectl("annotate", "sts", "s", "a=b")
    kubectl(
        "patch", "sts", "s", "--type=json", "-p", '[{"op":"add","path":"/metadata/labels/c","value":"d"}]'
    )
    kubectl("scale", "sts", "s", "--replicas=0")
    kubectl("set", "image", "sts/s", "main=example.com/main:2")
    stored = json.loads(kubectl("get", "sts", "-l", "a=b,c", "-o", "json"))["items"]
    assert stored[0]["spec"]["template"]["spec"]["containers"][0]["image"] == "example.com/main:2"
    assert "statefulset.apps/s" in kubectl("get", "all", "-o", "name")
    kubectl("delete", "sts", "s", "--timeout=30s")
    assert kubectl("get", "sts", "--ignore-not-found") == ""


def test_a_namespace_is_made(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "namespace", f"{namespace}-b")
    kubectl("delete", "namespace", f"{namespace}-b", "--wait=false")
