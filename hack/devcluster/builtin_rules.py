"""What the API server fills in and refuses for built-in types, where an operator's correctness hangs on it.

Guarantee: whatever is refused here, a real server refuses too.
Non-guarantee: the reverse. A real server checks far more; the contract and end-to-end suites on a real
one are what finds that.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator

from hack.devcluster import pod_rules
from hack.devcluster.errors import (
    Cause,
    bad_request,
    forbidden,
    forbidden_field,
    invalid_field,
    required,
)
from hack.devcluster.kinds import Kind
from hack.devcluster.lifecycle import CRD_FINALIZER
from hack.devcluster.metadata import label_value_faults
from hack.devcluster.objects import GroupResource, Obj, copy, dig
from hack.devcluster.schema import validate
from hack.devcluster.selectors import from_object, matches

Lookup = Callable[[GroupResource, str, str], Obj | None]
Prepare = Callable[[Obj, Obj | None, Lookup], None]
Faults = Callable[[Obj, Obj | None], Iterator[Cause]]


def check_types(kind: Kind, obj: Obj) -> None:
    """A value of the wrong type never gets as far as validation. Raises ApiStatus(400)."""
    wrong = [cause for cause in validate(kind.storage.schema, obj) if cause.reason == "FieldValueTypeInvalid"]
    if wrong:
        version = kind.storage.name
        told = f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: '
        raise bad_request(f"{told}json: cannot unmarshal {wrong[0].field}: {wrong[0].message}")


def default(kind: Kind, new: Obj) -> None:
    """Defaults that depend on other fields, in place."""
    template = pod_rules.template_of(kind, new)
    if template is not None:
        pod_rules.fill(template[1])
    if kind.gr == ("", "secrets"):
        _secret_defaults(new)


def prepare(kind: Kind, new: Obj, old: Obj | None, lookup: Lookup) -> None:
    """What the server itself decides, in place. Raises ApiStatus for what admission refuses."""
    if kind.gr in _PREPARE:
        _PREPARE[kind.gr](new, old, lookup)


def faults(kind: Kind, new: Obj, old: Obj | None) -> Iterator[Cause]:
    said = {name: value for name, value in new.items() if name not in ("status", "metadata")}
    yield from (cause for cause in validate(kind.storage.schema, said) if cause.field != "metadata")
    template = pod_rules.template_of(kind, new)
    if template is not None and kind.plural != "statefulsets":
        # The template of a StatefulSet is taken as it is: its pods are what is refused, with an Event.
        path, spec = template
        yield from pod_rules.faults(spec, path)
    if kind.gr in _FAULTS:
        yield from _FAULTS[kind.gr](new, old)


# --- preparation ------------------------------------------------------------------------------------


def _namespace(new: Obj, old: Obj | None, _: Lookup) -> None:
    new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = new["metadata"].get("name", "")
    if old is None:
        new["spec"] = {"finalizers": ["kubernetes"]}
        new["status"] = {"phase": "Active"}


def _pod(new: Obj, old: Obj | None, lookup: Lookup) -> None:
    if old is not None:
        return
    spec = new.setdefault("spec", {})
    namespace = new["metadata"].get("namespace", "")
    name = spec.setdefault("serviceAccountName", "default")
    spec["serviceAccount"] = name
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")
    spec.setdefault("priority", 0)
    new["status"] = {"phase": "Pending", "qosClass": pod_rules.quality(spec)}
    if lookup(("", "serviceaccounts"), namespace, name) is None:
        why = f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(("", "pods"), new["metadata"].get("name", ""), why)


def _secret_defaults(new: Obj) -> None:
    new.setdefault("type", "Opaque")
    for name, text in (new.pop("stringData", None) or {}).items():
        new.setdefault("data", {})[name] = base64.b64encode(text.encode()).decode()


def _service(new: Obj, old: Obj | None, _: Lookup) -> None:
    spec = new.setdefault("spec", {})
    for port in spec.get("ports") or ():
        port.setdefault("targetPort", port.get("port"))
    if spec.get("type") != "ExternalName":
        number = int(new["metadata"]["uid"][:4], 16)
        held = dig(old, "spec", "clusterIP") or spec.get("clusterIP") or f"10.96.{number >> 8}.{number & 255}"
        spec["clusterIP"] = held
        spec["clusterIPs"] = [held]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")
    new.setdefault("status", {"loadBalancer": {}})


def _claim(new: Obj, old: Obj | None, lookup: Lookup) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}
        if "storageClassName" not in new.get("spec", {}) and lookup(
            ("storage.k8s.io", "storageclasses"), "", "standard"
        ):
            new["spec"]["storageClassName"] = "standard"


def _stateful_set(new: Obj, old: Obj | None, _: Lookup) -> None:
    spec = new.get("spec") or {}
    for claim in spec.get("volumeClaimTemplates") or ():
        claim.setdefault("apiVersion", "v1")
        claim.setdefault("kind", "PersistentVolumeClaim")
        claim.setdefault("status", {"phase": "Pending"})
    if old is None:
        new.setdefault("status", {"replicas": 0, "availableReplicas": 0})
    if dig(spec, "updateStrategy", "type") == "RollingUpdate":
        spec["updateStrategy"].setdefault("rollingUpdate", {"partition": 0})


def _deployment(new: Obj, _: Obj | None, __: Lookup) -> None:
    strategy = dig(new, "spec", "strategy", default={})
    if strategy.get("type") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")
    new.setdefault("status", {})


def _job(new: Obj, old: Obj | None, _: Lookup) -> None:
    spec = new.setdefault("spec", {})
    if "completions" not in spec and "parallelism" not in spec:
        spec["completions"] = 1
    spec.setdefault("parallelism", 1)
    new.setdefault("status", {})
    if old is not None or spec.get("manualSelector"):
        return
    uid, name = new["metadata"]["uid"], new["metadata"].get("name", "")
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template = spec.setdefault("template", {}).setdefault("metadata", {})
    template["labels"] = {**(template.get("labels") or {}), **labels}
    spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _definition(new: Obj, old: Obj | None, _: Lookup) -> None:
    names = dig(new, "spec", "names", default={})
    kind = names.get("kind", "")
    names.setdefault("singular", kind.lower())
    names.setdefault("listKind", f"{kind}List")
    if old is None:
        new["metadata"].setdefault("finalizers", []).append(CRD_FINALIZER)


def _binding(new: Obj, _: Obj | None, __: Lookup) -> None:
    for subject in new.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            subject.setdefault("apiGroup", "rbac.authorization.k8s.io")


def _volume(new: Obj, old: Obj | None, _: Lookup) -> None:
    if old is None:
        new["status"] = {"phase": "Pending"}


# --- faults -----------------------------------------------------------------------------------------


def _selects_its_template(new: Obj) -> Iterator[Cause]:
    selector = dig(new, "spec", "selector")
    if not selector:
        yield required("spec.selector")
    elif not matches(
        from_object(selector), {"metadata": dig(new, "spec", "template", "metadata", default={})}
    ):
        labels = dig(new, "spec", "template", "metadata", "labels", default={})
        yield invalid_field(
            "spec.template.metadata.labels", labels, "`selector` does not match template `labels`"
        )


def _changed_fields(new: Obj, old: Obj, mutable: frozenset[str]) -> bool:
    rest = [{k: v for k, v in each.get("spec", {}).items() if k not in mutable} for each in (new, old)]
    return rest[0] != rest[1]


_STATEFUL_SET_MUTABLE = frozenset(
    {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit"}
    | {"persistentVolumeClaimRetentionPolicy", "minReadySeconds"}
)


def _stateful_set_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    yield from _selects_its_template(new)
    yield from _always_restarts(new)
    if old is not None and _changed_fields(new, old, _STATEFUL_SET_MUTABLE):
        why = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
            "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
            "'minReadySeconds' are forbidden"
        )
        yield forbidden_field("spec", why)


def _always_restarts(new: Obj) -> Iterator[Cause]:
    policy = dig(new, "spec", "template", "spec", "restartPolicy")
    if policy not in (None, "Always"):
        message = f'Unsupported value: "{policy}": supported values: "Always"'
        yield Cause("spec.template.spec.restartPolicy", "FieldValueNotSupported", message)


def _replicated_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    yield from _selects_its_template(new)
    yield from _always_restarts(new)
    yield from _immutable(new, old, "selector")


def _immutable(new: Obj, old: Obj | None, *names: str) -> Iterator[Cause]:
    for name in names if old is not None else ():
        if dig(new, "spec", name) != dig(old, "spec", name):
            yield invalid_field(f"spec.{name}", dig(new, "spec", name), "field is immutable")


def _job_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    name = new["metadata"].get("name", "")
    yield from label_value_faults("metadata.name", name)
    yield from _job_template_faults(dig(new, "spec", "template", default={}), "spec.template")
    yield from _immutable(new, old, "completions", "selector", "completionMode")
    suspended = dig(old, "spec", "suspend") and not dig(old, "status", "startTime")
    if not suspended:
        yield from _immutable(new, old, "template")


def _job_template_faults(template: Obj, path: str) -> Iterator[Cause]:
    policy = dig(template, "spec", "restartPolicy")
    if policy not in ("OnFailure", "Never"):
        message = f'Unsupported value: "{policy}": supported values: "OnFailure", "Never"'
        yield Cause(f"{path}.spec.restartPolicy", "FieldValueNotSupported", message)


def _cron_job_faults(new: Obj, _: Obj | None) -> Iterator[Cause]:
    from croniter import croniter

    if len(new["metadata"].get("name", "")) > 52:
        yield invalid_field("metadata.name", new["metadata"]["name"], "must be no more than 52 characters")
    schedule = dig(new, "spec", "schedule", default="")
    if not schedule:
        yield required("spec.schedule")
    elif len(schedule.split()) not in (1, 5) or not croniter.is_valid(schedule):
        yield invalid_field("spec.schedule", schedule, "expected exactly 5 fields")
    policy = dig(new, "spec", "concurrencyPolicy")
    if policy not in ("Allow", "Forbid", "Replace"):
        message = f'Unsupported value: "{policy}": supported values: "Allow", "Forbid", "Replace"'
        yield Cause("spec.concurrencyPolicy", "FieldValueNotSupported", message)
    yield from _time_zone_faults(dig(new, "spec", "timeZone"))
    yield from _job_template_faults(
        dig(new, "spec", "jobTemplate", "spec", "template", default={}), "spec.jobTemplate.spec.template"
    )


def _time_zone_faults(name: str | None) -> Iterator[Cause]:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if name is None:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        yield invalid_field("spec.timeZone", name, f"unknown time zone {name}")


def _pod_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    if old is not None and pod_rules.frozen_part(new) != pod_rules.frozen_part(old):
        why = (
            "pod updates may not change fields other than `spec.containers[*].image`,"
            "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` "
            "(only additions to existing tolerations),`spec.terminationGracePeriodSeconds` "
            "(allow it to be set to 1 if it was previously negative)"
        )
        yield forbidden_field("spec", why)


def _secret_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    for name, text in (new.get("data") or {}).items():
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            yield invalid_field(f"data[{name}]", "<secret contents redacted>", "illegal base64 data")
    yield from _frozen_data(new, old)
    if old is not None and new.get("type") != old.get("type"):
        yield invalid_field("type", new.get("type"), "field is immutable")


def _frozen_data(new: Obj, old: Obj | None) -> Iterator[Cause]:
    if (
        old is not None
        and old.get("immutable")
        and (new.get("data") != old.get("data") or not new.get("immutable"))
    ):
        yield forbidden_field("data", "field is immutable when `immutable` is set")


def _claim_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    if not spec.get("accessModes"):
        yield required("spec.accessModes", "at least 1 access mode is required")
    if not dig(spec, "resources", "requests", "storage"):
        yield required("spec.resources[storage]")
    if old is not None:
        rest = [copy(each.get("spec") or {}) for each in (new, old)]
        for each in rest:
            each.pop("resources", None)
        if not rest[1].get("volumeName"):
            rest[1]["volumeName"] = rest[0].get("volumeName")
            rest[0].setdefault("volumeName", None)
        if rest[0] != rest[1]:
            why = "spec is immutable after creation except resources.requests for bound claims"
            yield forbidden_field("spec", why)


def _service_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    if not spec.get("ports") and spec.get("clusterIP") != "None" and spec.get("type") != "ExternalName":
        yield required("spec.ports")
    if old is not None and dig(old, "spec", "clusterIP") != spec.get("clusterIP"):
        yield invalid_field("spec.clusterIP", spec.get("clusterIP"), "field is immutable")


def _event_faults(new: Obj, _: Obj | None) -> Iterator[Cause]:
    about = dig(new, "involvedObject", "namespace", default="") or "default"
    if about != new["metadata"].get("namespace"):
        yield invalid_field("involvedObject.namespace", about, "does not match event.namespace")


def _binding_faults(new: Obj, old: Obj | None) -> Iterator[Cause]:
    if old is not None and new.get("roleRef") != old.get("roleRef"):
        yield invalid_field("roleRef", new.get("roleRef"), "cannot change roleRef")


def _role_faults(new: Obj, _: Obj | None) -> Iterator[Cause]:
    for index, rule in enumerate(new.get("rules") or ()):
        path = f"rules[{index}]"
        if not rule.get("verbs"):
            yield required(f"{path}.verbs", "verbs must contain at least one value")
        if not rule.get("nonResourceURLs"):
            if not rule.get("apiGroups"):
                yield required(f"{path}.apiGroups", "resource rules must supply at least one api group")
            if not rule.get("resources"):
                yield required(f"{path}.resources", "resource rules must supply at least one resource")


_RBAC = "rbac.authorization.k8s.io"
_PREPARE: dict[GroupResource, Prepare] = {
    ("", "namespaces"): _namespace,
    ("", "pods"): _pod,
    ("", "services"): _service,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("apps", "statefulsets"): _stateful_set,
    ("apps", "deployments"): _deployment,
    ("batch", "jobs"): _job,
    (_RBAC, "rolebindings"): _binding,
    (_RBAC, "clusterrolebindings"): _binding,
    ("apiextensions.k8s.io", "customresourcedefinitions"): _definition,
}
_FAULTS: dict[GroupResource, Faults] = {
    ("", "pods"): _pod_faults,
    ("", "secrets"): _secret_faults,
    ("", "configmaps"): _frozen_data,
    ("", "persistentvolumeclaims"): _claim_faults,
    ("", "services"): _service_faults,
    ("", "events"): _event_faults,
    ("apps", "statefulsets"): _stateful_set_faults,
    ("apps", "deployments"): _replicated_faults,
    ("apps", "replicasets"): _replicated_faults,
    ("batch", "jobs"): _job_faults,
    ("batch", "cronjobs"): _cron_job_faults,
    (_RBAC, "rolebindings"): _binding_faults,
    (_RBAC, "clusterrolebindings"): _binding_faults,
    (_RBAC, "roles"): _role_faults,
    (_RBAC, "clusterroles"): _role_faults,
}
