"""Pod specs, in pods and in the templates of whatever makes pods: defaults and validation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hack.devcluster.errors import Cause, forbidden_field, invalid_field, required
from hack.devcluster.kinds import Kind
from hack.devcluster.metadata import LABEL
from hack.devcluster.objects import Obj, copy, dig
from hack.devcluster.quantities import is_quantity
from hack.devcluster.quantities import value as amount

_TEMPLATES: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): ("spec",),
    ("apps", "statefulsets"): ("spec", "template", "spec"),
    ("apps", "deployments"): ("spec", "template", "spec"),
    ("apps", "replicasets"): ("spec", "template", "spec"),
    ("batch", "jobs"): ("spec", "template", "spec"),
    ("batch", "cronjobs"): ("spec", "jobTemplate", "spec", "template", "spec"),
}
_ENV_NAME = re.compile(r"[^=\x00-\x1f]+")


def template_of(kind: Kind, obj: Obj) -> tuple[str, Obj] | None:
    """The pod spec in an object of this type, and its path."""
    path = _TEMPLATES.get(kind.gr)
    spec = dig(obj, *path) if path else None
    return (".".join(path), spec) if path and spec is not None else None


def containers(spec: Obj) -> list[Obj]:
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def fill(spec: Obj) -> None:
    """Defaults that depend on other fields, in place."""
    if "serviceAccountName" in spec:
        spec["serviceAccount"] = spec["serviceAccountName"]
    elif "serviceAccount" in spec:
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in containers(spec):
        if "imagePullPolicy" not in container:
            tail = container.get("image", "").rpartition("/")[2]
            latest = "@" not in tail and (":" not in tail or tail.endswith(":latest"))
            container["imagePullPolicy"] = "Always" if latest else "IfNotPresent"
        limits = dig(container, "resources", "limits", default={})
        if limits:
            requests = container["resources"].setdefault("requests", {})
            for name, limit in limits.items():
                requests.setdefault(name, limit)
    for volume in spec.get("volumes") or ():
        if set(volume) == {"name"}:
            volume["emptyDir"] = {}


def quality(spec: Obj) -> str:
    """The pod's quality of service class."""
    resources = [container.get("resources") or {} for container in containers(spec)]
    if not any(each.get("limits") or each.get("requests") for each in resources):
        return "BestEffort"
    guaranteed = all(
        {"cpu", "memory"} <= set(each.get("limits") or {}) and each.get("limits") == each.get("requests")
        for each in resources
    )
    return "Guaranteed" if guaranteed else "Burstable"


def frozen_part(pod: Obj) -> Obj:
    """What an update of a pod may not change."""
    spec: Obj = copy(pod.get("spec") or {})
    for name in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "nodeName"):
        spec.pop(name, None)
    for container in containers(spec):
        container.pop("image", None)
    return spec


def faults(spec: Obj, path: str) -> Iterator[Cause]:
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes") or ()):
        yield from _volume_faults(volume, volumes, f"{path}.volumes[{index}]")
        volumes.add(volume.get("name", ""))
    names: set[str] = set()
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or ()):
            yield from _container_faults(container, names, volumes, f"{path}.{field}[{index}]")
            names.add(container.get("name", ""))


def _volume_faults(volume: Obj, taken: set[str], path: str) -> Iterator[Cause]:
    yield from _name_faults(volume.get("name", ""), taken, path)
    if len(volume) > 2:
        extra = sorted(set(volume) - {"name"})[1]
        yield forbidden_field(f"{path}.{extra}", "may not specify more than 1 volume type")


def _name_faults(name: str, taken: set[str], path: str) -> Iterator[Cause]:
    if not name:
        yield required(f"{path}.name")
    elif not LABEL.fullmatch(name) or len(name) > 63:
        why = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
            "start and end with an alphanumeric character"
        )
        yield invalid_field(f"{path}.name", name, why)
    elif name in taken:
        yield Cause(f"{path}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"')


def _container_faults(container: Obj, names: set[str], volumes: set[str], path: str) -> Iterator[Cause]:
    yield from _name_faults(container.get("name", ""), names, path)
    if not container.get("image"):
        yield required(f"{path}.image")
    for index, variable in enumerate(container.get("env") or ()):
        yield from _variable_faults(variable, f"{path}.env[{index}]")
    yield from _mount_faults(container.get("volumeMounts") or [], volumes, path)
    yield from _resource_faults(container.get("resources") or {}, f"{path}.resources")
    for name in ("livenessProbe", "startupProbe"):
        if dig(container, name, "successThreshold", default=1) != 1:
            yield invalid_field(
                f"{path}.{name}.successThreshold", container[name]["successThreshold"], "must be 1"
            )


def _variable_faults(variable: Obj, path: str) -> Iterator[Cause]:
    if not _ENV_NAME.fullmatch(variable.get("name", "")):
        yield invalid_field(
            f"{path}.name",
            variable.get("name", ""),
            "a valid environment variable name must not be empty or contain '='",
        )
    if variable.get("value") and variable.get("valueFrom"):
        yield invalid_field(f"{path}.valueFrom", "", "may not be specified when `value` is not empty")


def _mount_faults(mounts: list[Any], volumes: set[str], path: str) -> Iterator[Cause]:
    taken: set[str] = set()
    for index, mount in enumerate(mounts):
        where = f"{path}.volumeMounts[{index}]"
        name, target = mount.get("name", ""), mount.get("mountPath", "")
        if name not in volumes:
            yield Cause(f"{where}.name", "FieldValueNotFound", f'Not found: "{name}"')
        if not target:
            yield required(f"{where}.mountPath")
        elif target in taken:
            yield invalid_field(f"{where}.mountPath", target, "must be unique")
        taken.add(target)


def _resource_faults(resources: Obj, path: str) -> Iterator[Cause]:
    limits = resources.get("limits") or {}
    for field in ("limits", "requests"):
        for name, quantity in (resources.get(field) or {}).items():
            if not is_quantity(str(quantity)):
                yield invalid_field(
                    f"{path}.{field}[{name}]",
                    quantity,
                    "quantities must match '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                )
    for name, quantity in (resources.get("requests") or {}).items():
        if name in limits and is_quantity(str(quantity)) and amount(quantity) > amount(limits[name]):
            why = f"must be less than or equal to {name} limit of {limits[name]}"
            yield invalid_field(f"{path}.requests", quantity, why)
